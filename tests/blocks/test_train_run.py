"""Block `train_run`: what happens between steps, what is said when resources end, what the card and the plot show."""

from __future__ import annotations

import argparse
import errno
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from jobshelf import blocks

run, exits, recipe_block, options, checkpoints, persist_file, card, fit, flavors, source = (
    blocks.load(name)
    for name in (
        *("train_run", "exits", "train_recipe", "train_options", "checkpoints", "persist_file", "card", "fit"),
        *("flavors", "source"),
    )
)
SETTINGS = {
    "tuning": "lora",
    "learning_rate": 2e-4,
    "batch": 8,
    "accumulation": 2,
    "max_length": 512,
    "checkpointing": False,
    "grouped": False,
    "steps": 4,
    "dtype": "float32",
}
LOG = [
    {"step": 1, "loss": 3.0, "mean_token_accuracy": 0.1, "epoch": 0.5, "num_tokens": 10.0},
    {"step": 2, "loss": 2.0, "mean_token_accuracy": 0.2, "epoch": 1.0, "num_tokens": 20.0},
    {"step": 2, "eval_loss": 2.5, "eval_runtime": 1.2, "eval_samples_per_second": 3.0},
    {"step": 2, "train_runtime": 9.0, "train_loss": 2.5},
]


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.add_training_options(parser)
    return options.parse_training(parser, ["d/s", "alice/out", "--model", "m/b", *words])


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    settings = {name: recipe_block.TrainSetting(value=value, reason="a reason") for name, value in SETTINGS.items()}
    return run.TrainPlan(
        method="SFT",
        model="m/b",
        revision="c" * 40,
        label="d/s@abc",
        folder=str(tmp_path),
        checkpoint=None,
        repo_id="alice/out",
        run={"script": "train_sft.py", "request": {"n": 1}, "source": "a" * 40, "dataset_commit": "a" * 40},
        recipe=recipe_block.TrainRecipe(settings).to_json(),
        options=vars(arguments()),
        run_name="m-1",
        space=None,
        private=False,
        processes=1,
        on_cpu=True,
    )


class Pusher:
    """Notes what it is given to push."""

    def __init__(self) -> None:
        self.pushed: list[Path] = []

    def push(self, folder: Path) -> None:
        self.pushed.append(folder)


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in ("optimizer.pt", "training_args.bin", "trainer_state.json"):
        (path / name).write_text("{}")
    return path


def test_the_plan_survives_a_file(plan: Any) -> None:
    assert run.TrainPlan.read(plan.write()) == plan


def test_a_checkpoint_is_sealed_with_what_the_next_attempt_needs(plan: Any, tmp_path: Path) -> None:
    pusher = Pusher()
    watcher = run.TrainWatcher(plan, pusher, None)
    path = checkpoint(tmp_path, 3)
    watcher.save(tmp_path, 3, last=False)
    found = checkpoints.newest_here(tmp_path)
    assert (found.step, found.facts["run_name"], found.facts["model_commit"]) == (3, "m-1", "c" * 40)
    assert recipe_block.TrainRecipe.from_json(found.facts["recipe"])["batch"] == 8
    assert not (path / "training_args.bin").exists()
    assert pusher.pushed == [tmp_path]


def test_the_last_checkpoint_is_not_pushed_unless_it_is_to_be_gone_on_from(plan: Any, tmp_path: Path) -> None:
    pusher = Pusher()
    watcher = run.TrainWatcher(plan, pusher, None)
    checkpoint(tmp_path, 4)
    watcher.save(tmp_path, 4, last=True)
    assert pusher.pushed == []
    watcher.stopping = True
    watcher.save(tmp_path, 4, last=True)
    assert pusher.pushed == [tmp_path]


def test_a_sigterm_saves_and_stops_after_the_step(plan: Any) -> None:
    watcher = run.TrainWatcher(plan, None, None)
    control = SimpleNamespace(should_save=False, should_log=False, should_training_stop=False)
    watcher.end_step(control)
    assert not (control.should_save or control.should_log or control.should_training_stop)
    watcher.stopping = True
    watcher.end_step(control)
    assert control.should_save
    assert control.should_log
    assert control.should_training_stop


def test_the_loss_is_looked_at_before_it_is_saved(plan: Any) -> None:
    control = SimpleNamespace(should_save=True, should_log=False, should_training_stop=False)
    run.TrainWatcher(plan, None, None).end_step(control)
    assert control.should_log


@pytest.mark.parametrize("figures", [{"loss": float("nan")}, {"loss": float("inf")}, {"eval_loss": float("nan")}])
def test_a_loss_that_is_no_number(plan: Any, figures: dict[str, float]) -> None:
    with pytest.raises(exits.Stop) as stop:
        run.TrainWatcher(plan, None, None).log(figures, 7, first=True)
    assert stop.value.code == 4
    assert "at step 7" in str(stop.value)
    assert "--learning-rate 2e-05" in str(stop.value)


def test_figures_are_told(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logged = []
    trackio = SimpleNamespace(log=lambda figures, step: logged.append((figures, step)))
    run.TrainWatcher(plan, None, trackio).log(
        {"loss": 2.0, "learning_rate": 1e-4, "eval_loss": 3.0, "x": "no"}, 5, first=True
    )
    assert "step 5: loss 2, eval_loss 3, learning_rate 0.0001" in capsys.readouterr().err
    assert logged == [({"train/loss": 2.0, "train/learning_rate": 1e-4, "eval/loss": 3.0}, 5)]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
            "out of memory",
        ),
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "is full"),
    ],
)
def test_what_ran_out_and_what_to_change(plan: Any, error: Exception, said: str, tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoints", 3)
    checkpoints.seal_checkpoint(tmp_path / "checkpoints" / "checkpoint-3", {})
    with pytest.raises(exits.Stop) as stop, run._explained(plan):
        raise error
    assert stop.value.code == 5
    assert said in str(stop.value)
    assert "the checkpoint of step 3 stays" in str(stop.value)
    if said == "out of memory":
        advice = ("--per-device-train-batch-size 4", "--max-length 256", "--gradient-checkpointing")
        assert all(word in str(stop.value) for word in advice)


def test_any_other_error_passes(plan: Any) -> None:
    with pytest.raises(RuntimeError, match="shapes"), run._explained(plan):
        raise RuntimeError("shapes do not fit")


def test_the_log_has_nothing_that_differs_by_nature() -> None:
    assert list(run._steady_log(LOG)) == [*LOG[:2], {"step": 2, "eval_loss": 2.5}]


def test_the_plot_is_the_same_each_time() -> None:
    first = run.plot_training(LOG[:3])
    assert first.startswith(b"\x89PNG")
    assert run.plot_training(LOG[:3]) == first != run.plot_training(LOG[:2])
    assert run.plot_training([]).startswith(b"\x89PNG")


def test_where_there_are_rewards_they_are_what_is_shown() -> None:
    log = [{"step": n, "loss": 0.0, "reward": reward} for n, reward in ((1, 0.25), (2, None), (3, 1.0))]
    plot = run.plot_training(log)
    assert plot == run.plot_training([entry | {"loss": 5.0} for entry in log])
    assert plot != run.plot_training([*log[:2], log[2] | {"reward": 0.5}])
    figures = {"first_loss": 0.0, "last_loss": 0.0, "first_reward": 0.25, "last_reward": 1.0}
    assert run._last_figures(log) == figures


def job(target: Any, tmp_path: Path) -> Any:
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n')
    described = source.resolve_source(str(tmp_path / "rows.jsonl"))
    machine = recipe_block.TrainMachine(
        flavor=flavors.Flavor(name="here", vcpus=2, ram_gb=8, disk_gb=0, usd_per_hour=0), processes=1
    )
    return run.TrainJob(
        target=target,
        source=replace(described, repo_id="d/s_x", commit="d" * 40, identity="d" * 40),
        base=run.TrainBase(
            name="m/b",
            commit="c" * 40,
            model=fit.model_of(fit.typical_architecture(5e8)),
            config={},
            licence="apache-2.0",
        ),
        machine=machine,
        run=persist_file.Run(script="train_sft.py", request={"n": 1}, source="d" * 40),
        resume=None,
        done=False,
        token=None,
        private=False,
        run_name="m-1",
        space="alice/trackio",
    )


@pytest.mark.parametrize(
    ("words", "library", "loads"),
    [
        ((), "peft", "PeftModel.from_pretrained"),
        (("--full",), "transformers", "AutoModelForCausalLM.from_pretrained('alice/out')"),
    ],
)
def test_the_card(
    plan: Any, tmp_path: Path, words: tuple[str, ...], library: str, loads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = options.TrainTarget(repo_id="alice/out", folder=None)
    args = arguments(*words)
    stamp = card.ScriptStamp(name="train_sft.py", url="https://example.org/train_sft.py", version="1.0.0")

    monkeypatch.setattr(run, "provenance", lambda *_, **facts: f"at {facts['identity']}, {' '.join(facts['packages'])}")
    made = run.training_card(
        "---\nlicense: mit\n---\nMine.\n",
        job(target, tmp_path),
        plan,
        LOG[:3],
        args,
        stamp=stamp,
        title="Supervised fine-tuning",
        rows=1234,
        kind="AutoModelForCausalLM",
    )
    front, text = card.split_card(made)
    assert (front["base_model"], front["library_name"], front["license"]) == ("m/b", library, "mit")
    assert front["datasets"] == ["d/s_x"]
    assert {"uv-script", "jobshelf", "trl", "sft"} <= set(front["tags"])
    assert all(word in text for word in ("1,234 rows", "c" * 40, "licence: apache-2.0", "training.png", loads, "2.5"))
    assert "Mine." in text


@pytest.mark.parametrize("held", [{}, {"thesis.tex": "mine"}])
def test_a_folder_is_its_own_or_nobodys(held: dict[str, str], tmp_path: Path) -> None:
    ours = persist_file.Run(script="train_sft.py", request={"n": 1}, source="a" * 40)
    for name, text in held.items():
        (tmp_path / name).write_text(text)
    if held:
        with pytest.raises(exits.Stop) as stop:
            run._open_folder(tmp_path, ours, overwrite=False)
        assert stop.value.code == 4
        assert "thesis.tex" in str(stop.value)
    assert run._open_folder(tmp_path, ours, overwrite=True) is False
    manifest = {"script": "train_sft.py", "request": {"n": 1}, "source": "a" * 40}
    (tmp_path / "jobshelf.json").write_text(json.dumps(manifest))
    assert run._open_folder(tmp_path, ours, overwrite=False) is True
    with pytest.raises(exits.Stop):
        run._open_folder(tmp_path, replace(ours, request={"n": 2}), overwrite=False)
