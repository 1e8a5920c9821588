"""Block `train_recipe`: defaults by method, size, data and machine, each with a reason; what cannot fit is not started."""

from __future__ import annotations

import argparse
import json
from typing import Any

import pytest

from jobshelf import blocks

recipe_block, data, fit, flavors, options, exits, preflight = (
    blocks.load(name)
    for name in ("train_recipe", "train_data", "fit", "flavors", "train_options", "exits", "preflight")
)
RATES = {"lora": 2e-4, "full": 2e-5}
CPU = flavors.Flavor(name="here", vcpus=2, ram_gb=16, disk_gb=0, usd_per_hour=0)


def gpu(name: str, vram: float, processes: int = 1) -> Any:
    flavor = flavors.Flavor(name="here", vcpus=8, ram_gb=64, disk_gb=0, usd_per_hour=0, gpus=1, vram_gb=vram, gpu=name)
    return recipe_block.TrainMachine(flavor=flavor, processes=processes)


def cpu(processes: int = 1) -> Any:
    return recipe_block.TrainMachine(flavor=CPU, processes=processes)


def model(billions: float, context: int = 32768) -> Any:
    shape = fit.typical_architecture(billions * 1e9)
    return fit.model_of(blocks_replace(shape, context=context), parameters=round(billions * 1e9))


def blocks_replace(value: Any, **changes: Any) -> Any:
    from dataclasses import replace

    return replace(value, **changes)


def lengths(most: int = 700, rows: int = 10_000) -> Any:
    return data.TrainLengths(rows=rows, measured=1000, mean=300.0, middle=250, most=most, longest=2 * most)


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.add_training_options(parser)
    parser.add_argument("--packing", nargs="?", const=True, type=options.yes_or_no)
    return options.parse_training(parser, ["d/s", "u/m", "--model", "m", *words])


def choose(machine: Any, *words: str, billions: float = 0.5, context: int = 32768, **more: Any) -> Any:
    told = {"method": "sft", "rates": RATES, "lengths": lengths(), "packs": True} | more
    return recipe_block.choose_recipe(parse(*words), model=model(billions, context), machine=machine, **told)


def test_a_small_machine_without_a_gpu() -> None:
    found = choose(cpu())
    assert (found["dtype"], found["bf16"], found["fp16"], found["attention"]) == ("float32", False, False, "sdpa")
    assert (found["tuning"], found["learning_rate"], found["packing"], found["grouped"]) == ("lora", 2e-4, False, True)
    assert found["max_length"] == 704
    assert found["batch"] * found["accumulation"] == 16
    assert found["steps"] == 625


@pytest.mark.parametrize(
    ("name", "dtype", "bf16", "fp16"),
    [
        ("NVIDIA A10G", "bfloat16", True, False),
        ("Tesla T4", "float16", False, True),
        ("NVIDIA H200", "bfloat16", True, False),
    ],
)
def test_types_follow_the_gpu(name: str, dtype: str, bf16: bool, fp16: bool) -> None:
    found = choose(gpu(name, 24))
    assert (found["dtype"], found["bf16"], found["fp16"]) == (dtype, bf16, fp16)
    assert choose(gpu(name, 80), "--full")["dtype"] == "float32"


def test_all_weights_have_their_own_learning_rate() -> None:
    assert choose(gpu("NVIDIA A100", 80), "--full")["learning_rate"] == 2e-5
    assert choose(cpu(), "--learning-rate", "3e-4")["learning_rate"] == 3e-4


def test_checkpointing_only_where_memory_asks_for_it() -> None:
    assert not choose(gpu("NVIDIA H200", 141))["checkpointing"]
    small = choose(gpu("NVIDIA A10G", 24), billions=7, lengths=lengths(2000))
    assert small["checkpointing"]
    assert small["batch"] >= 1


def test_a_step_has_16_rows_however_many_processes() -> None:
    for processes in (1, 2, 4, 8):
        found = choose(gpu("NVIDIA H200", 141, processes))
        assert found["batch"] * found["accumulation"] * processes == 16


def test_the_context_is_the_limit() -> None:
    assert choose(cpu(), context=512)["max_length"] == 512
    assert choose(cpu(), "--max-length", "128")["max_length"] == 128
    assert choose(cpu(), lengths=lengths(50_000))["max_length"] == recipe_block.TRAIN_LONGEST
    with pytest.raises(exits.Stop) as stop:
        choose(cpu(), "--max-length", "1024", context=512)
    assert stop.value.code == 2
    assert "write --max-length 512" in str(stop.value)


def test_rows_that_are_cut_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    choose(cpu(), "--max-length", "128")
    assert "rows of more than 128 tokens are cut" in capsys.readouterr().err


def test_everything_that_was_asked_for_is_taken() -> None:
    words = "--batch-size 3 --gradient-accumulation-steps 5 --max-steps 7 --save-steps 2 --logging-steps 1 --epochs 2"
    found = choose(cpu(), *words.split(), "--gradient-checkpointing", "--packing", "--attn-implementation", "eager")
    names = ("batch", "accumulation", "steps", "save_steps", "logging_steps", "epochs", "checkpointing", "packing")
    assert [found[name] for name in names] == [3, 5, 7, 2, 1, 2, True, True]
    assert found["attention"] == "eager"
    assert found.settings["batch"].reason == "asked for"


def test_every_setting_is_printed_with_a_reason() -> None:
    found = choose(cpu(), evaluates=True)
    lines = found.lines()
    assert len(lines) == len(found.settings) >= 15
    assert all(one.reason for one in found.settings.values())
    assert found["eval_steps"] == found["save_steps"]
    assert any("99 of 100 rows have at most 700 tokens" in line for line in lines)


def test_it_survives_a_file() -> None:
    found = choose(cpu())
    again = recipe_block.TrainRecipe.from_json(json.loads(json.dumps(found.to_json())))
    assert again.settings == found.settings


def check(machine: Any, *words: str, billions: float = 0.5, force: bool = False) -> list[str]:
    found = choose(machine, *words, billions=billions)
    return recipe_block.check_fit(found, model(billions), lengths(), machine, method="sft", force=force)


def test_memory_time_and_money_are_told() -> None:
    memory, time, cost = check(gpu("NVIDIA A10G", 24))
    assert "GB on a device" in memory
    assert "NVIDIA A10G" in memory
    assert time.startswith("time: about ")
    assert "$" in cost
    assert flavors.FLAVORS_DATE in cost


def test_what_cannot_fit_is_not_started(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(exits.Stop) as stop:
        check(gpu("Tesla T4", 16), billions=30)
    assert stop.value.code == 5
    said = str(stop.value)
    assert all(word in said for word in ("--per-device-train-batch-size", "--max-length", "--load-in-4bit", "--flavor"))
    assert check(gpu("Tesla T4", 16), billions=30, force=True)
    assert "--force" in capsys.readouterr().err


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    one = preflight.Gpu(name="NVIDIA L4", memory=24 * 10**9)
    monkeypatch.setattr(recipe_block, "list_gpus", lambda: (one, one))
    machine = recipe_block.this_machine(None)
    assert (machine.processes, machine.flavor.gpus, machine.on_cpu) == (2, 1, False)
    with pytest.raises(exits.Stop) as stop:
        recipe_block.this_machine(3)
    assert stop.value.code == 2


def test_processes_share_a_machine_without_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_block, "list_gpus", tuple)
    alone, four = recipe_block.this_machine(None), recipe_block.this_machine(4)
    assert (alone.processes, four.processes, four.on_cpu) == (1, 4, True)
    assert four.flavor.ram_gb < alone.flavor.ram_gb / 3


def choose_grpo(machine: Any, *words: str, **more: Any) -> Any:
    args = parse(*words)
    args.num_generations, args.max_completion_length = more.pop("asked", None), None
    told = {"method": "grpo", "rates": RATES, "lengths": lengths(), "generations": 8, "answer": 512} | more
    return recipe_block.choose_recipe(args, model=model(0.5), machine=machine, **told)


@pytest.mark.parametrize(
    ("processes", "answers"), [(1, 8), (2, 8), (3, 8), (4, 8), (8, 8), (1, 6), (3, 6), (1, 16), (1, 5)]
)
def test_a_step_of_grpo_has_whole_groups(processes: int, answers: int) -> None:
    found = choose_grpo(gpu("NVIDIA H200", 141, processes), asked=answers)
    step = found["batch"] * found["accumulation"] * processes
    assert step % answers == 0
    assert step >= 12
    assert found["num_generations"] == answers
    assert found["steps"] == -(-10_000 * answers // step)


def test_answers_take_memory_and_time() -> None:
    """The answers count as tokens of a row; what was asked for is named in the advice."""
    machine, rows = gpu("NVIDIA H200", 141), lengths()
    told = {
        answer: recipe_block.check_fit(
            choose_grpo(machine, "--batch-size", "8", answer=answer),
            model(0.5),
            rows,
            machine,
            method="grpo",
            force=False,
        )
        for answer in (512, 4096)
    }
    gigabytes = {answer: float(lines[0].split()[2]) for answer, lines in told.items()}
    assert gigabytes[4096] > 1.5 * gigabytes[512]
    assert "--max-completion-length 256" in recipe_block.memory_advice(choose_grpo(machine))
    assert "--max-length" in recipe_block.memory_advice(choose(machine))
