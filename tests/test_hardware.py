"""`jobshelf hardware` and `jobshelf estimate`: the blocks, from the tool."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest
from huggingface_hub import constants

from conftest import Run
from jobshelf.cli import main
from jobshelf.errors import UsageError
from jobshelf.hardware import (
    ADVICE_SIZES,
    ADVICE_WORK,
    Hardware,
    advice_text,
    advise,
    fit_block,
    flavors_block,
    refreshed,
)
from jobshelf.hub import Hub
from jobshelf.shelf import Shelf
from support import ROOT


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


# --- the dated list, and what it is good for ---

BLOCK = ROOT / "templates" / "blocks" / "flavors.py"


def test_the_dated_list_is_written_as_it_was_read() -> None:
    live = Hardware(flavors=flavors_block().FLAVORS, origin="here", live=True)
    source = BLOCK.read_text("utf-8")
    assert refreshed(source, live, date.fromisoformat(flavors_block().FLAVORS_DATE)) == source


def test_a_new_list_is_dated_and_keeps_the_order() -> None:
    known = dict(flavors_block().FLAVORS)
    gone, changed = known.pop("cpu-xl"), replace(known["t4-small"], usd_per_hour=0.4321)
    new = replace(known["h200"], name="b300", gpu="B300", vram_gb=288.0)
    live = Hardware(flavors={"b300": new, **known, "t4-small": changed}, origin="here", live=True)
    source = refreshed(BLOCK.read_text("utf-8"), live, date(2027, 1, 2))
    table = source.partition('FLAVORS_TABLE = """\\\n')[2].partition('"""')[0]
    assert flavors_block().read_flavor_table(table) == live.flavors
    assert [line.split()[0] for line in table.splitlines()][:3] == ["cpu-basic", "cpu-upgrade", "cpu-performance"]
    assert table.splitlines()[-1].startswith("b300")
    assert 'FLAVORS_DATE = "2027-01-02"' in source
    assert gone.name not in table


def test_only_what_the_hub_says_now_is_written(
    hub: Hub, make_shelf: Callable[..., Shelf], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf = make_shelf({"hello": "1"})
    monkeypatch.chdir(shelf.root)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    assert main(["hardware", "--refresh"]) == 2
    assert "run it in a checkout of the project" in capsys.readouterr().err
    copy = shelf.root / "templates" / "blocks" / "flavors.py"
    shutil.copytree(BLOCK.parent, copy.parent)
    assert main(["hardware", "--refresh"]) == 0
    assert f'FLAVORS_DATE = "{datetime.now(UTC).date()}"' in copy.read_text()
    assert "next: jobshelf vet --fix catalog && jobshelf index" in capsys.readouterr().out
    written = copy.read_bytes()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert main(["hardware", "--refresh"]) == 5
    assert copy.read_bytes() == written


def test_advice_names_machine_time_cost_and_timeout() -> None:
    known = Hardware(flavors=flavors_block().FLAVORS, origin="here", live=False)
    found = {(one.size, one.work): one for one in advise(known.flavors)}
    assert len(found) == len(ADVICE_SIZES) * len(ADVICE_WORK)
    assert found[(70, "SFT, LoRA")].estimate is None
    small = found[(0.5, "SFT, LoRA")]
    assert small.estimate.flavor.gpus == 1
    assert small.estimate.seconds[2] * 1.3 <= 60 * small.estimate.timeout_minutes
    lines = advice_text(known).splitlines()
    assert lines[2].split()[:4] == ["0.5B", "SFT,", "LoRA", small.estimate.flavor.name]
    assert lines[2].endswith(small.timeout)
    assert any(line.split()[:4] == ["70B", "SFT,", "LoRA", "none"] for line in lines)
    assert max(map(len, lines)) <= 80
