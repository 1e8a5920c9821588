"""Block `train_options`: what TRL's command line takes is taken, what is gone is answered, one output comes of three ways."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from jobshelf import blocks

options, exits = blocks.load("train_options"), blocks.load("exits")


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="train.py")
    options.add_training_options(parser)
    return options.parse_training(parser, words)


TRL = (
    "--model_name_or_path Qwen/Qwen2-0.5B --dataset_name trl-lib/Capybara --learning_rate 2.0e-4 --num_train_epochs 1 "
    "--per_device_train_batch_size 2 --gradient_accumulation_steps 8 --eval_strategy steps --eval_steps 100 --use_peft "
    "--lora_r 32 --lora_alpha 16 --output_dir Qwen2-0.5B-SFT --push_to_hub --hub_model_id user/qwen --warmup_steps 0.1 "
    "--dataset_train_split train --dataset_test_split test --gradient_checkpointing false --torch_dtype bfloat16 "
    "--attn_implementation sdpa --save_steps 20 --save_total_limit 3 --logging_steps 5 --seed 1 --load_in_4bit true"
)


@pytest.mark.parametrize("words", [TRL, TRL.replace("_", "-").replace("Qwen2-0.5B-SFT", "Qwen2-0.5B-SFT")])
def test_trls_own_command_line(words: str) -> None:
    args = parse(*words.split())
    assert (args.model, args.dataset) == ("Qwen/Qwen2-0.5B", "trl-lib/Capybara")
    assert (args.learning_rate, args.num_train_epochs, args.warmup_steps) == (2e-4, 1.0, 0.1)
    assert (args.per_device_train_batch_size, args.gradient_accumulation_steps) == (2, 8)
    assert (args.eval_strategy, args.eval_steps, args.eval_split, args.split) == ("steps", 100, "test", "train")
    assert (args.lora_r, args.lora_alpha, args.dtype, args.seed) == (32, 16, "bfloat16", 1)
    assert (args.gradient_checkpointing, args.load_in_4bit, args.push_to_hub) == (False, True, True)
    target = options.train_target(args)
    assert (target.repo_id, target.folder) == ("user/qwen", Path("Qwen2-0.5B-SFT"))


@pytest.mark.parametrize("name", ["--model", "--model_name", "--model-name", "--model_name_or_path"])
def test_the_model_by_any_of_its_names(name: str) -> None:
    assert parse("d/s", "u/m", name, "a_b/c_d").model == "a_b/c_d"


def test_values_keep_their_underscores() -> None:
    args = parse(
        "d/s",
        "u/m",
        "--model",
        "m",
        "--eos_token=<|im_end|>",
        "--map",
        "my_text=text",
        "--lora_target_modules",
        "q_proj",
    )
    assert (args.eos_token, args.map, args.lora_target_modules) == ("<|im_end|>", ["my_text=text"], ["q_proj"])


@pytest.mark.parametrize(
    ("gone", "instead"),
    [
        ("--max_seq_length", "write --max-length"),
        ("--max-seq-length=1024", "write --max-length"),
        ("--warmup_ratio", "--warmup-steps 0.1"),
        ("--evaluation_strategy", "--eval-strategy"),
        ("--trust_remote_code", "runs no code"),
    ],
)
def test_what_is_gone_is_answered(gone: str, instead: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("d/s", "u/m", "--model", "m", gone, "1024")
    assert stop.value.code == 2
    assert instead in capsys.readouterr().err


def test_a_trainer_may_keep_one_as_its_own() -> None:
    parser = argparse.ArgumentParser(prog="train.py")
    options.add_training_options(parser)
    parser.add_argument("--max-completion-length", type=int)
    words = ["d/s", "u/m", "--model", "m", "--max_completion_length", "9"]
    assert options.parse_training(parser, words, kept=["--max-completion-length"]).max_completion_length == 9


@pytest.mark.parametrize(
    ("words", "repo_id", "folder"),
    [
        (("user/name",), "user/name", None),
        (("./out",), None, Path("out")),
        (("/abs/out",), None, Path("/abs/out")),
        (("--output-dir", "out"), None, Path("out")),
        (("user/name", "--output-dir", "out"), "user/name", Path("out")),
        (("user/name", "--hub-model-id", "user/name"), "user/name", None),
    ],
)
def test_one_target(words: tuple[str, ...], repo_id: str | None, folder: Path | None) -> None:
    target = options.train_target(parse("d/s", *words, "--model", "m"))
    assert (target.repo_id, target.folder) == (repo_id, folder)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "nothing says where the model goes"),
        (("out",), "write ./out for a folder, or user/out"),
        (("user/one", "--hub-model-id", "user/two"), "two outputs are named"),
        (("--push-to-hub", "--output-dir", "out"), "does not say where"),
        (("user/name--x",), "is no model repository"),
    ],
)
def test_no_target(words: tuple[str, ...], said: str) -> None:
    with pytest.raises(exits.Stop) as stop:
        options.train_target(parse("d/s", *words, "--model", "m"))
    assert stop.value.code == 2
    assert said in str(stop.value)


@pytest.mark.parametrize(
    "words",
    [
        ("--learning-rate", "0"),
        ("--learning-rate", "nan"),
        ("--batch-size", "0"),
        ("--epochs", "-1"),
        ("--warmup-steps", "-0.1"),
        ("--use-peft", "maybe"),
        ("--private", "--public"),
    ],
)
def test_numbers_that_are_none(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse("d/s", "u/m", "--model", "m", *words)
    assert stop.value.code == 2


@pytest.mark.parametrize("words", [("--model", "m"), ("d/s", "u/m")])
def test_no_dataset_or_no_model(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(*words)
    assert stop.value.code == 2
    assert "name the" in capsys.readouterr().err
