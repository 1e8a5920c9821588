"""`trainer_arguments`, `training_target` and `map_columns`: what a person writes for a training, before TRL is asked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from datasets import Dataset

from blocks.shared import Stopped, block
from jobshelf.hub import Hub

parse = block("trainer_arguments").trainer_arguments
training_target = block("training_target").training_target
map_columns = block("map_columns").map_columns
WANTED = [("messages",), ("prompt", "completion")]
LIKELY = {"question": "prompt", "answer": "completion"}


def test_places_first_then_options_of_ours_and_of_trl() -> None:
    args = parse(["user/rows", "./out", "--model_name", "m", "--learning_rate", "1", "--split=dev", "--bf16"], "Train.")
    assert (args.dataset, args.output, args.name, args.split) == ("user/rows", "./out", "m", "dev")
    assert args.words[:3] == ["--learning-rate", "1", "--bf16"]
    assert args.words[3:7] == ["--model-name-or-path", "m", "--dataset-train-split", "dev"]
    assert args.words[7:] == ["--dataset-name", "user/rows", "--output-dir", "./out"]


def test_the_form_of_trl() -> None:
    words = ["--model_name_or_path", "m", "--dataset_name", "d", "--output_dir", "o", "--push_to_hub"]
    args = parse(words, "Train.")
    assert (args.dataset, args.output) == ("", "")
    assert args.words == ["--model-name-or-path", "m", "--dataset-name", "d", "--output-dir", "o", "--push-to-hub"]


def test_values_stay_what_they_are() -> None:
    assert parse(["a_b/c_d", "./o_o", "--eos_token", "<|im_end|>", "--run_name=a_b"], "")._get_kwargs()
    assert parse(["a_b/c_d", "./o_o", "--run_name=a_b"], "").words[0] == "--run-name=a_b"
    assert parse(["a_b/c_d", "./o_o"], "").dataset == "a_b/c_d"


def test_full_is_without_an_adapter() -> None:
    assert parse(["d", "./o", "--full"], "").words[:2] == ["--use-peft", "false"]


@pytest.mark.parametrize(
    "words",
    [
        ["only-one"],
        ["d", "o", "more"],
        ["d", "o", "--commit-every", "-1"],
        ["d", "o", "--max-samples", "-1"],
        ["d", "o", "--map", "a"],
        ["d", "o", "--map", "=b"],
    ],
)
def test_what_is_no_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        parse(words, "")
    assert left.value.code == 2
    assert capsys.readouterr().err


def config(**values: Any) -> SimpleNamespace:
    return SimpleNamespace(**{"push_to_hub": False, "hub_model_id": None, "output_dir": "out", **values})


def test_output_is_in_the_words_of_trl() -> None:
    assert parse(["d", "alice/out"], "").words[:3] == ["--push-to-hub", "--hub-model-id", "alice/out"]
    assert parse(["d", "alice/out", "--push_to_hub", "false"], "").words[3:5] == ["--push-to-hub", "false"]
    for place in ("./out", "/tmp/out", "hf://buckets/alice/out"):
        assert "--push-to-hub" not in parse(["d", place], "").words


@pytest.mark.parametrize(
    ("values", "target"),
    [
        ({"output_dir": "./x"}, "./x"),
        ({"output_dir": "hf://buckets/alice/out"}, "hf://buckets/alice/out"),
        ({"output_dir": "alice/out"}, "./alice/out"),  # --push_to_hub false: nothing goes to the Hub
        ({"push_to_hub": True}, "alice/out"),
        ({"push_to_hub": True, "output_dir": "deep/out"}, "alice/out"),
        ({"push_to_hub": True, "hub_model_id": "alice/named"}, "alice/named"),
        ({"push_to_hub": True, "hub_model_id": "named"}, "alice/named"),
    ],
)
def test_where_the_model_goes(here: Hub, values: dict[str, Any], target: str) -> None:
    assert training_target(config(**values)) == target


def test_the_place_named_by_trl_must_be_writable(here: Hub, monkeypatch: pytest.MonkeyPatch, stopped: Stopped) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    assert "no Hub token" in stopped(lambda: training_target(config(push_to_hub=True)), 3)


def test_columns_are_renamed() -> None:
    rows = Dataset.from_dict({"question": ["q"], "answer": ["a"], "id": [1]})
    renamed = map_columns(rows, ["question=prompt", "answer=completion"], WANTED, LIKELY)
    assert renamed[0] == {"prompt": "q", "completion": "a", "id": 1}


@pytest.mark.parametrize(
    ("columns", "pairs", "said"),
    [
        (["question", "answer"], [], "--map question=prompt answer=completion"),
        (["prompt", "answer"], [], "--map answer=completion"),
        (["number"], [], "dataset_inspector.py"),
        (["messages"], ["chat=messages"], "no column 'chat'. Fix: choose from messages"),
        (["question", "prompt", "completion"], ["question=prompt"], "two columns 'prompt'"),
    ],
)
def test_columns_that_do_not_fit(columns: list[str], pairs: list[str], said: str, stopped: Stopped) -> None:
    rows = Dataset.from_dict({name: ["x"] for name in columns})
    assert said in stopped(lambda: map_columns(rows, pairs, WANTED, LIKELY), 4)
