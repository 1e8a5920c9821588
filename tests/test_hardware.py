"""`jobshelf hardware` and `jobshelf estimate`: the blocks, from the tool."""

from __future__ import annotations

import json

import pytest

from conftest import Run
from jobshelf.errors import UsageError
from jobshelf.hardware import Hardware, fit_block, flavors_block


def test_live_prices_as_a_table(jobshelf: Run, hub_environment: dict[str, str]) -> None:
    done = jobshelf("hardware", env=hub_environment)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[2].split() == ["cpu-basic", "2", "16", "50", "-", "0.0002", "0.01"]
    two = ["a10g-largex2", "24", "92", "1000", "2x", "A10G", "24", "GB", "0.0500", "3.00"]
    assert two in [line.split() for line in lines]
    assert lines[-1] == "prices: the Hub's list of now"
    assert max(map(len, lines)) <= 80


def test_dated_prices_without_a_hub(jobshelf: Run, environment: dict[str, str]) -> None:
    done = jobshelf("hardware", "--json", env=environment | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    listed = json.loads(done.stdout)
    assert (listed["origin"], listed["live"], len(listed["flavors"])) == ("list of 2026-11-20", False, 26)
    assert [one["usd_per_hour"] for one in listed["flavors"]] == sorted(
        one["usd_per_hour"] for one in listed["flavors"]
    )
    assert "using the one of 2026-11-20" in done.stderr


def test_find_names_the_nearest() -> None:
    known = Hardware(flavors=flavors_block().FLAVORS, origin="here", live=False)
    assert known.find("a100-large").vram_gb == 80
    with pytest.raises(UsageError, match="the nearest is h200x8: Jobs have no H100"):
        known.find("h100x8")


def test_the_blocks_share_their_flavors() -> None:
    assert fit_block().Flavor is flavors_block().Flavor


def test_estimate_is_the_script(jobshelf: Run, hub_environment: dict[str, str]) -> None:
    words = (
        "--model",
        "8B",
        "--dataset-size",
        "16000",
        "--tokens-per-row",
        "400",
        "--hardware",
        "a10g-large",
        "--json",
    )
    done = jobshelf("estimate", *words, env=hub_environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["asked"]["name"] == "a10g-large"
    wrong = jobshelf("estimate", "--model", "8B", env=hub_environment)
    assert wrong.returncode == 2
    assert "estimate_cost.py: error: name the dataset" in wrong.stderr
    assert "--tokens-per-row" in jobshelf("estimate", "--help", env=hub_environment).stdout
