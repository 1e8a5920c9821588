"""What a Job is likely to take: the questions that are put to estimate_cost and dataset_inspector, and what becomes of the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from catalog.conftest import jsonl
from jobshelf.cli import main
from jobshelf.errors import InputError, UsageError
from jobshelf.jobs.outlook import Foreseen, Outlook, estimate_words, foresee, inspect_words, read_outlook
from jobshelf.jobs.prices import Cost
from jobshelf.jobs.roles import Roles
from jobshelf.rehearse.tiny_model import tiny_model
from jobshelf.script import read_script
from support import ROOT

CATALOG = ROOT / "catalog"
HELPERS = {name: CATALOG / f"{name.replace('-', '_')}.py" for name in ("estimate-cost", "dataset-inspector")}
ROLES = Roles(inputs=("alice/chats",), outputs=("alice/out",), models=("alice/tiny",))
WORDS = ("alice/chats", "alice/out", "--model", "alice/tiny")
CHATS = [{"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}] * 40
FITS = {
    "fits": True,
    "reason": None,
    "seconds": {"low": 600.0, "likely": 1200.0, "high": 2400.0},
    "usd": {"low": 0.25, "likely": 0.5, "high": 1.0},
    "timeout": "52m",
}
REPORT = {"asked": FITS, "best": "l4x1"}


def cost(flavor: str = "a10g-large", *, timeout: int = 14_400) -> Cost:
    return Cost(flavor=flavor, usd_per_hour=1.5, timeout_seconds=timeout)


def test_estimate_cost_is_asked_in_its_own_words() -> None:
    declared = ["--job", "train", "--method", "sft"]
    given = {"model": ["alice/tiny"], "split": ["dev"], "max_samples": ["500"], "load_in_4bit": [], "seed": ["7"]}
    assert estimate_words(declared, given, ROLES, cost()) == [
        *declared, "--model", "alice/tiny", "--hardware", "a10g-large", "--dataset", "alice/chats",
        "--split", "dev", "--dataset-size", "500", "--tuning", "qlora", "--json",
    ]  # fmt: skip
    assert inspect_words(declared, given, ROLES) == ["alice/chats", "--split", "dev", "--json"]


def test_nothing_is_inspected_where_no_rows_are_trained_on() -> None:
    assert inspect_words(["--job", "convert"], {}, Roles(models=("alice/tiny",))) == []
    assert inspect_words(["--job", "generate"], {}, ROLES) == []
    assert inspect_words(["--job", "train", "--method", "sft"], {"revision": ["v1"]}, ROLES) == []


def test_rows_that_need_a_mapping_are_a_warning_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    verdict = {"method": "SFT", "status": "NEEDS MAPPING", "reason": "'q' (text)"}
    answers = {"estimate_cost": REPORT, "dataset_inspector": {"dataset": "./my rows", "methods": [verdict]}}
    monkeypatch.setattr("jobshelf.jobs.outlook._asked", lambda script, words: answers[script.stem])
    (warning,) = foresee(read_script(CATALOG / "train_sft.py"), WORDS, ROLES, cost(), HELPERS).warnings
    assert "`jobshelf run dataset_inspector -- './my rows' --require sft` prints the code" in warning


def test_an_answer_is_read_and_told() -> None:
    outlook = read_outlook(REPORT, "a10g-large")
    assert str(outlook) == "about 20m and $0.50 (10m to 40m, $0.25 to $1.00)"
    assert (outlook.short, outlook.better, outlook.timeout) == (None, "l4x1", "52m")


@pytest.mark.parametrize(
    ("asked", "timeout", "said"),
    [
        ({"fits": False, "reason": "short by 12 GB"}, 14_400, r"does not fit on t4-small: short by 12 GB.*--flavor l4x1"),
        (FITS, 599, r"takes about 20m.*and ends after 9m59s.*--timeout 52m"),
    ],
)  # fmt: skip
def test_what_cannot_succeed_is_not_started(
    monkeypatch: pytest.MonkeyPatch, asked: dict[str, Any], timeout: int, said: str
) -> None:
    monkeypatch.setattr("jobshelf.jobs.outlook._asked", lambda script, words: REPORT | {"asked": asked})
    with pytest.raises(UsageError, match=said):
        foresee(read_script(CATALOG / "train_sft.py"), WORDS, ROLES, cost("t4-small", timeout=timeout), HELPERS)


def test_what_may_be_too_slow_or_is_not_known_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    script = read_script(CATALOG / "train_sft.py")
    monkeypatch.setattr("jobshelf.jobs.outlook._asked", lambda script, words: REPORT)
    assert foresee(script, WORDS, ROLES, cost(timeout=1800), HELPERS).warnings == (
        "it may take 40m, and is ended after 30m",
    )
    assert foresee(script, (*WORDS, "--max-steps", "5"), ROLES, cost(), HELPERS) == Foreseen(
        warnings=("time and cost of a run with --max-steps are not estimated",)
    )
    monkeypatch.setattr("jobshelf.jobs.outlook._asked", lambda script, words: "error: the Hub is away")
    found = foresee(script, WORDS, ROLES, cost(), HELPERS)
    assert found == Foreseen(warnings=("time and cost could not be estimated: error: the Hub is away",))


@pytest.mark.parametrize("name", ["finepdfs-stats", "cot-self-instruct"])
def test_a_script_that_does_not_say_what_it_does_is_not_asked_about(name: str) -> None:
    assert foresee(read_script(CATALOG / f"{name}.py"), WORDS, ROLES, cost(), HELPERS) == Foreseen()


@pytest.mark.heavy
@pytest.mark.jobs
def test_the_scripts_of_the_shelf_answer(client: HfApi, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    client.create_repo("alice/tiny")
    files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in tiny_model().items()]
    client.create_commit("alice/tiny", files, commit_message="model")
    for name, rows in (("chats", CHATS), ("numbers", [{"n": 1}] * 40)):
        client.create_repo(f"alice/{name}", repo_type="dataset")
        kind = {"repo_id": f"alice/{name}", "repo_type": "dataset"}
        client.upload_file(path_or_fileobj=jsonl(rows), path_in_repo="train.jsonl", **kind)
    assert main(["submit", str(CATALOG / "train_sft.py"), "--dry-run", "--", *WORDS]) == 0
    told = capsys.readouterr()
    assert "\nexpected  about " in told.out
    assert "estimated" not in told.err

    script = read_script(CATALOG / "train_sft.py")
    roles = Roles(inputs=("alice/numbers",), outputs=ROLES.outputs, models=ROLES.models)
    with pytest.raises(InputError, match=r"the rows are not what sft takes: .*--no-estimate"):
        foresee(script, ("alice/numbers", *WORDS[1:]), roles, cost(), HELPERS)
    large = Roles(inputs=ROLES.inputs, outputs=ROLES.outputs, models=("70B",))
    with pytest.raises(UsageError, match=r"does not fit on a10g-large: .*"):
        foresee(script, ("alice/chats", "alice/out", "--model", "70B"), large, cost(), HELPERS)
    found = foresee(read_script(CATALOG / "convert_to_gguf.py"), WORDS[1:], large, cost("cpu-xl"), HELPERS)
    assert isinstance(found.outlook, Outlook)


def test_an_unestimated_submit_asks_nobody(
    client: HfApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobshelf.jobs.outlook._asked", lambda script, words: pytest.fail("asked"))
    client.create_repo("alice/tiny")
    words = [
        "submit",
        str(CATALOG / "convert_to_gguf.py"),
        "--no-estimate",
        "--dry-run",
        "--",
        "alice/tiny",
        "alice/out",
    ]
    assert main(words) == 0
    assert "expected" not in capsys.readouterr().out
