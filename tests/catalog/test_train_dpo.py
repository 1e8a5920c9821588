"""train_dpo.py where it needs no TRL: its command line, the adapter it begins with, and what it says about tokenised rows."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi

from blocks.conftest import here  # noqa: F401 -- a fixture
from blocks.shared import Stopped
from catalog.conftest import module
from catalog.pair_rows import END, trainer

NAME = "train_dpo.py"


@pytest.fixture
def stopped(capsys: pytest.CaptureFixture[str]) -> Stopped:
    return Stopped(capsys)


def pair(prompt: int, chosen: list[int], rejected: list[int]) -> dict[str, list[int]]:
    return {"prompt_ids": [1] * prompt, "chosen_ids": chosen, "rejected_ids": rejected}


def settings(max_length: int | None = 1024, truncation_mode: str = "keep_start") -> Any:
    return SimpleNamespace(max_length=max_length, truncation_mode=truncation_mode)


def check(rows: list[dict[str, list[int]]], config: Any, **model: int) -> list[int]:
    return module(NAME).check_rows(trainer(rows, **model), config)


SHORT, LONG = pair(2, [3, 4], [3, 5]), pair(9, [3, 4, 6], [3, 5])


def test_the_step_is_on_the_longest_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert check([SHORT, LONG, SHORT, SHORT], settings()) == [1, 2]
    said = capsys.readouterr().out
    assert said == "24 tokens, at most 12 in a row (1); 0 rows are cut\n"


def test_rows_that_are_cut_or_left_out_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    check([SHORT, LONG, pair(3, [3, 4], [3, 4]), pair(2, [7] * 9, [8])], settings(9))
    said = capsys.readouterr().out
    assert "1 rows are cut" in said
    assert "2 pairs teach nothing: 1 prompts leave no room for an answer" in said


def test_answers_without_the_end_of_the_tokenizer(capsys: pytest.CaptureFixture[str]) -> None:
    check([pair(2, [4, 5, 6], [7])] * 2, settings())
    said = capsys.readouterr().out
    assert "no answer has the end '</s>' of the tokenizer; they end with 'tokens [5, 6]'" in said
    check([pair(2, [4, 5, END], [7]), SHORT], settings())
    assert "end" not in capsys.readouterr().out


def test_rows_with_images_are_stepped_on_as_they_are() -> None:
    assert check([{"prompt": [1], "chosen": [2], "rejected": [4]}] * 6, settings()) == [0, 3]


@pytest.mark.parametrize("limit", [2, 1])
def test_no_room_for_any_answer(limit: int, stopped: Stopped) -> None:
    said = stopped(lambda: check([SHORT, LONG], settings(limit)), 4)
    assert f"each prompt has {limit} tokens or more, row 0 has 2: no row is left" in said
    assert "--max_length 12" in said


def test_a_tokenizer_that_knows_more_than_the_model(stopped: Stopped) -> None:
    said = stopped(lambda: check([SHORT, pair(1, [3], [64])], settings(), tokens=64), 4)
    assert "row 1 has token 64, the model has 64 tokens" in said
    assert check([SHORT, pair(1, [3], [63])], settings(), tokens=64) == [0, 1]


@pytest.mark.parametrize("config", [settings(), settings(None), settings(3), settings(1024, "keep_end")])
def test_answers_that_do_not_differ(config: Any, stopped: Stopped) -> None:
    rows = [pair(2, [3, 4], [3, 4]), pair(2, [5, 6, 7], [5, 6, 7])]
    assert "the same in each row" in stopped(lambda: check(rows, config), 4)


def test_answers_that_differ_behind_the_cut(stopped: Stopped) -> None:
    said = stopped(lambda: check([pair(2, [3, 4], [3, 5])], settings(3)), 4)
    assert "in its first 3 tokens" in said
    assert "a row has up to 4 tokens: --max_length" in said
    assert check([pair(2, [3, 4], [3, 5])], settings(4)) == [0, 0]


@pytest.mark.usefixtures("here")
def test_an_adapter_brings_its_base_model(client: HfApi, capsys: pytest.CaptureFixture[str]) -> None:
    for repo, name, text in (("base", "config.json", "{}"), ("adapter", "adapter_config.json", ADAPTER)):
        client.create_repo(f"alice/{repo}")
        client.upload_file(path_or_fileobj=text.encode(), path_in_repo=name, repo_id=f"alice/{repo}")
    commits = {repo: client.model_info(f"alice/{repo}").sha for repo in ("base", "adapter")}
    args = options("alice/adapter", commits["adapter"])
    folder = module(NAME).find_adapter(args)
    assert (Path(folder) / "adapter_config.json").read_text() == ADAPTER
    assert vars(args.model) == {
        "model_name_or_path": "alice/base",
        "model_revision": commits["base"],
        "use_peft": False,
    }
    assert "alice/adapter is an adapter for alice/base" in capsys.readouterr().out
    args = options("alice/base", commits["base"])
    assert module(NAME).find_adapter(args) is None
    assert args.model.model_name_or_path == "alice/base"
    assert args.model.use_peft


def test_an_adapter_is_not_trained_in_full(tmp_path: Path, stopped: Stopped) -> None:
    (tmp_path / "adapter_config.json").write_text(ADAPTER)
    args = options(str(tmp_path), "main", full=True)
    assert "is an adapter, and --full trains all weights" in stopped(lambda: module(NAME).find_adapter(args), 2)


ADAPTER = json.dumps({"base_model_name_or_path": "alice/base"})


def options(model: str, revision: str, *, full: bool = False) -> argparse.Namespace:
    chosen = SimpleNamespace(model_name_or_path=model, model_revision=revision, use_peft=True)
    return argparse.Namespace(model=chosen, full=full)
