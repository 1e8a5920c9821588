"""`jobshelf hardware` and `jobshelf estimate`: one price table, which is that of estimate_cost.py."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import JobHardwareInfo, constants

from conftest import Run
from jobshelf.cli import main
from jobshelf.errors import InputError, UsageError
from jobshelf.hardware import (
    ADVICE_SIZES,
    ADVICE_WORK,
    Hardware,
    advice_text,
    advise,
    estimator,
    price_table,
    read_listing,
    read_table,
    refreshed,
)
from jobshelf.hub import Hub
from jobshelf.hub.flavors import HARDWARE
from jobshelf.index.prices import read_prices
from jobshelf.shelf import Shelf
from support import ROOT

SCRIPT = ROOT / "catalog" / "estimate_cost.py"
FLAVORS = price_table().flavors
A10G: dict[str, Any] = {
    "name": "a10g-largex2",
    "prettyName": "2x Nvidia A10G",
    "cpu": "24 vCPU",
    "ram": "92 GB",
    "ephemeralStorage": "1 TB",
    "accelerator": {"type": "gpu", "model": "A10G", "quantity": "2", "vram": "48 GB", "manufacturer": "Nvidia"},
    "unitCostMicroUSD": 50000,
    "unitCostUSD": 0.05,
    "unitLabel": "minute",
}


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
    known = Hardware(flavors=FLAVORS, origin="here", live=False)
    assert known.find("a100-large").vram_gb == 80
    with pytest.raises(UsageError, match="the nearest is h200x8: Jobs have no H100"):
        known.find("h100x8")


@pytest.mark.parametrize(
    ("ram", "vram", "cheapest"),
    [(300, 0, "rtx-pro-6000x2"), (257, 0, "rtx-pro-6000x2"), (130, 0, "cpu-performance"), (0, 100, "h200")],
)
def test_the_cheapest_machine_with_so_much_memory(ram: float, vram: float, cheapest: str) -> None:
    known = Hardware(flavors=FLAVORS, origin="here", live=False)
    fitting = known.with_at_least(ram_gb=ram, vram_gb=vram).flavors.values()
    best = min(fitting, key=lambda flavor: flavor.usd_per_hour)
    assert best.name == cheapest
    cheaper = [flavor for flavor in FLAVORS.values() if flavor.usd_per_hour < best.usd_per_hour]
    assert all(flavor.ram_gb < ram or flavor.gpus * flavor.vram_gb < vram for flavor in cheaper)


def test_machines_are_listed_by_what_they_must_have(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    assert main(["hardware", "--ram", "300"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split()[0] == "rtx-pro-6000x2"
    assert main(["hardware", "--ram", "9999"]) == 2
    assert "no flavor has 9999 GB of RAM" in capsys.readouterr().err


def test_estimate_is_the_script(jobshelf: Run, hub_environment: dict[str, str]) -> None:
    words = ("--model", "8B", "--dataset-size", "16000", "--tokens-per-row", "400", "--hardware", "a10g-large")
    done = jobshelf("estimate", *words, "--json", env=hub_environment)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["asked"]["name"] == "a10g-large"
    wrong = jobshelf("estimate", "--model", "8B", env=hub_environment)
    assert wrong.returncode == 2
    assert "estimate_cost.py: error: name the dataset" in wrong.stderr
    assert "--tokens-per-row" in jobshelf("estimate", "--help", env=hub_environment).stdout


# --- the one table ---


def test_the_table_has_the_flavors_of_the_client() -> None:
    assert set(FLAVORS) == {item.value for item in huggingface_hub.JobHardware}


def test_the_embedded_hub_answers_with_the_same_list() -> None:
    assert read_listing(JobHardwareInfo(**item) for item in HARDWARE) == FLAVORS


def test_no_other_file_has_a_list_of_prices() -> None:
    """A price of a machine that no other thing costs, beside the machine's name."""
    a_price = re.compile(r"rtx-pro-6000x8\b.*\b22\.0")
    files = [*(ROOT / "generator").rglob("*"), *(ROOT / "catalog").glob("*.py"), *(ROOT / "templates").rglob("*")]
    texts = {path: path.read_text("utf-8") for path in files if path.suffix in {".py", ".json", ".yml", ".jinja"}}
    found = {path.name for path, text in texts.items() if a_price.search(text)}
    fenced = {"flavors.py", *(path.name for path in (ROOT / "catalog").glob("train_*.py"))}
    assert found - fenced == {SCRIPT.name}


def test_a_table_is_read_and_not_run(tmp_path: Path, make_shelf: Callable[..., Shelf]) -> None:
    shelf = make_shelf({"hello": "1"})
    assert read_prices(shelf).usd_per_hour["h200"] == 5.0
    own = shelf.catalog / SCRIPT.name
    own.write_text(
        f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
        'PRICES_DATE = "2027-01-02"\nFLAVORS = {"h200": (23, 256, 3000, 4.5, 1, 141, "H200")}\n'
    )
    assert read_prices(shelf).date == "2027-01-02"
    assert read_prices(shelf).usd_per_hour == {"h200": 4.5}
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        'PRICES_DATE = "2027-01-02"\n',
        'PRICES_DATE = "soon"\nFLAVORS = {}\n',
        'PRICES_DATE = "2027-01-02"\nFLAVORS = open("/etc/passwd")\n',
        'PRICES_DATE = "2027-01-02"\nFLAVORS = {"h200": (1, 2)}\n',
        "PRICES_DATE = ",
    ],
)
def test_a_script_without_a_table_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "estimate_cost.py").write_text(text)
    with pytest.raises(InputError, match=r"estimate_cost\.py has no readable PRICES_DATE and FLAVORS"):
        read_table(tmp_path / "estimate_cost.py")


def test_an_entry_of_the_hubs_list() -> None:
    assert read_listing([JobHardwareInfo(**A10G)]) == {"a10g-largex2": FLAVORS["a10g-largex2"]}
    hourly = JobHardwareInfo(**A10G | {"name": "b300x2", "unitLabel": "hour", "unitCostUSD": 12.5})
    assert read_listing([hourly])["b300x2"].usd_per_hour == 12.5


BROKEN: dict[str, Any] = {
    "no price": A10G | {"unitCostUSD": None},
    "less than nothing": A10G | {"unitCostUSD": -1},
    "not a number": A10G | {"unitCostUSD": float("nan")},
    "another unit": A10G | {"unitLabel": "fortnight"},
    "memory in words": A10G | {"ram": "plenty"},
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_list_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read_listing([JobHardwareInfo(**BROKEN[name])])
    with pytest.raises(ValueError, match="lists no flavor"):
        read_listing([])


def test_the_dated_list_is_written_as_it_was_read() -> None:
    live = Hardware(flavors=FLAVORS, origin="here", live=True)
    source = SCRIPT.read_text("utf-8")
    assert refreshed(source, live, date.fromisoformat(price_table().date)) == source


def test_a_new_list_is_dated_and_keeps_the_order(tmp_path: Path) -> None:
    known = dict(FLAVORS)
    gone, changed = known.pop("cpu-xl"), replace(known["t4-small"], usd_per_hour=0.4321)
    new = replace(known["h200"], name="b300", gpu="B300", vram_gb=288.0)
    live = Hardware(flavors={"b300": new, **known, "t4-small": changed}, origin="here", live=True)
    written = tmp_path / "estimate_cost.py"
    written.write_text(refreshed(SCRIPT.read_text("utf-8"), live, date(2027, 1, 2)))
    found = read_table(written)
    assert (found.date, found.flavors) == ("2027-01-02", live.flavors)
    names = list(found.flavors)
    assert names[:3] == ["cpu-basic", "cpu-upgrade", "cpu-performance"]
    assert names[-1] == "b300"
    assert gone.name not in names


def test_only_what_the_hub_says_now_is_written(
    hub: Hub, make_shelf: Callable[..., Shelf], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shelf = make_shelf({"hello": "1"})
    monkeypatch.chdir(shelf.root)
    monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
    assert main(["hardware", "--refresh"]) == 2
    assert "run it in a checkout of the project" in capsys.readouterr().err
    copy = shelf.catalog / SCRIPT.name
    shutil.copy(SCRIPT, copy)
    assert main(["hardware", "--refresh"]) == 0
    assert f'PRICES_DATE = "{datetime.now(UTC).date()}"' in copy.read_text()
    assert "next: jobshelf index" in capsys.readouterr().out
    written = copy.read_bytes()
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert main(["hardware", "--refresh"]) == 5
    assert copy.read_bytes() == written


# --- advice ---


def test_every_gpu_of_the_table_has_a_speed() -> None:
    assert {flavor.gpu for flavor in FLAVORS.values() if flavor.gpus} == set(estimator().GPU_SPEED)


def test_advice_names_machine_time_cost_and_timeout() -> None:
    known = Hardware(flavors=FLAVORS, origin="here", live=False)
    found = {(one.size, one.work): one for one in advise(known.flavors)}
    assert len(found) == len(ADVICE_SIZES) * len(ADVICE_WORK)
    assert found[(70, "SFT, LoRA")].estimate is None
    small = found[(0.5, "SFT, LoRA")]
    assert small.estimate.flavor.gpus == 1
    lines = advice_text(known).splitlines()
    assert lines[2].split()[:4] == ["0.5B", "SFT,", "LoRA", small.estimate.flavor.name]
    assert lines[2].endswith(small.timeout)
    assert any(line.split()[:4] == ["70B", "SFT,", "LoRA", "none"] for line in lines)
    assert max(map(len, lines)) <= 80


def test_advice_is_done_in_three_days_and_not_20_times_dearer() -> None:
    for one in advise(FLAVORS):
        if one.estimate:
            assert one.estimate.seconds[1] <= 3 * 86_400, one
            assert one.estimate.recommended
