"""The scripts of the catalogue, rehearsed whole."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import pytest

from jobshelf.rehearse import Outcome, Result, Table, to_text
from jobshelf.rehearse import rehearse as rehearse_quietly
from jobshelf.sample_data import documents
from jobshelf.testing import rehearse
from rehearse.conftest import GOOD
from support import ROOT

DOCUMENTS = list(documents(4000))


def expected_whole() -> dict[str, Any]:
    """Return figures of the fixture, computed row by row."""
    means = [math.fsum(row["fw_edu_scores"]) / len(row["fw_edu_scores"]) for row in DOCUMENTS if row["fw_edu_scores"]]
    return {
        "rows": len(DOCUMENTS),
        "value_sum": sum(row["token_count"] for row in DOCUMENTS),
        "value_missing": 0,
        "with_score": len(means),
        "score_missing": len(DOCUMENTS) - len(means),
        "score_mean": pytest.approx(math.fsum(means) / len(means), rel=1e-9),
        "high_rows": sum(mean >= 3 for mean in means),
        "high_share": pytest.approx(sum(mean >= 3 for mean in means) / len(means), rel=1e-9),
    }


def check_statistics(result: Result, tables: Sequence[Table]) -> str | None:
    """Say why the tables, or the card's first figure, are not those of the fixture."""
    whole = next(table.rows[0] for table in tables if len(table.rows) == 1)
    wanted = expected_whole()
    if {name: whole[name] for name in wanted} != wanted:
        return f"the whole is {whole}"
    years = next(table.rows for table in tables if "year" in table.rows[0] and "dump" not in table.rows[0])
    if sum(row["rows"] for row in years) != len(DOCUMENTS):
        return "the years do not add up"
    (card,) = result.cards().values()
    return None if f"all {len(DOCUMENTS):,} rows" in card else "the card does not say how many rows"


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.timeout(600)
def test_finepdfs_stats_passes_every_step() -> None:
    shown = rehearse(ROOT / "catalog" / "finepdfs-stats.py", check=check_statistics)
    outcomes = {verdict.step: verdict.outcome for verdict in shown.verdicts}
    assert set(outcomes.values()) == {Outcome.PASSED}, to_text(shown)
    kill, faults = shown.verdict("kill").figures, shown.verdict("faults").figures
    assert (kill["points"], kill["killed"]) == (10, 10)
    assert faults["faults"] >= 15
    assert faults["saved"] >= 1
    assert shown.verdict("second-run").figures["requests"] > 0
    assert "polars" in shown.versions.packages


def test_a_wrong_expectation_is_seen() -> None:
    shown = rehearse_quietly(GOOD, steps=["run"], check=lambda _, tables: f"{len(tables)} tables")
    assert shown.verdict("run").reason == "1 tables"


def test_dataset_inspector_passes_every_step_that_applies() -> None:
    def check(result: Result, tables: Sequence[Table]) -> str | None:
        report = json.loads(result.stdout)
        names = [column["name"] for column in report["columns"]]
        return None if names == ["question", "answer"] and report["rows_read"] == 40 else str(report)

    shown = rehearse(
        ROOT / "catalog" / "dataset_inspector.py",
        arguments=["{input:questions}", "--json"],
        steps=[
            "help",
            "bad-arguments",
            "no-token",
            "read-only-token",
            "missing-input",
            "dry-run",
            "run",
            "second-run",
            "kill",
            "faults",
            "shards",
            "token",
        ],
        check=check,
    )
    applied = [verdict.step for verdict in shown.verdicts if verdict.outcome is Outcome.PASSED]
    assert applied == ["help", "bad-arguments", "missing-input", "run", "second-run", "token"], to_text(shown)
    assert shown.verdict("kill").reason == "it writes nothing to the Hub"


@pytest.mark.parametrize("name", ["dataset-inspector", "finepdfs_stats"])
def test_a_script_of_the_shelf_is_found_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert rehearse(name, steps=["help"]).name in {"dataset_inspector", "finepdfs-stats"}
