"""Block `flavors`: the snapshot, the Hub's list, and names that no flavor has."""

from __future__ import annotations

import json
from typing import Any

import huggingface_hub
import pytest

from jobshelf import blocks
from jobshelf.hub.flavors import HARDWARE

flavors = blocks.load("flavors")
A10G = {
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


def test_snapshot_has_the_flavors_of_the_client() -> None:
    assert set(flavors.FLAVORS) == {item.value for item in huggingface_hub.JobHardware}


def test_snapshot_and_the_embedded_hub_say_the_same() -> None:
    assert flavors.read_flavor_list(list(HARDWARE)) == flavors.FLAVORS


def test_a_flavor_by_hand() -> None:
    a10g = flavors.FLAVORS["a10g-largex2"]
    assert (a10g.vcpus, a10g.ram_gb, a10g.disk_gb, a10g.usd_per_hour) == (24, 92, 1000, 3.0)
    assert (a10g.gpus, a10g.vram_gb, a10g.gpu, a10g.chips) == (2, 24, "A10G", "2x A10G 24 GB")
    assert flavors.FLAVORS["cpu-basic"].chips == "-"
    assert flavors.FLAVORS["rtx-pro-6000x4"].gpu == "RTX PRO 6000"


def test_an_entry_of_the_list() -> None:
    assert flavors.read_flavor_list([A10G]) == {"a10g-largex2": flavors.FLAVORS["a10g-largex2"]}


def test_memory_given_for_each_gpu_is_not_halved() -> None:
    each = A10G | {"accelerator": A10G["accelerator"] | {"vram": "24 GB"}}
    assert flavors.read_flavor_list([each])["a10g-largex2"].vram_gb == 24


def test_prices_by_the_hour_and_new_flavors() -> None:
    item = A10G | {"name": "b300x2", "unitLabel": "hour", "unitCostUSD": 12.5}
    assert flavors.read_flavor_list([item])["b300x2"].usd_per_hour == 12.5


BROKEN: dict[str, Any] = {
    "not a list": {"error": "no"},
    "empty": [],
    "text": ["cpu-basic"],
    "no name": [{"cpu": "2 vCPU"}],
    "no price": [{key: value for key, value in A10G.items() if key != "unitCostUSD"}],
    "price of nothing": [A10G | {"unitCostUSD": None}],
    "price of less than nothing": [A10G | {"unitCostUSD": -1}],
    "price of no number": [A10G | {"unitCostUSD": float("nan")}],
    "another unit": [A10G | {"unitLabel": "fortnight"}],
    "memory in words": [A10G | {"ram": "plenty"}],
    "an accelerator in words": [A10G | {"accelerator": "two of them"}],
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_list_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        flavors.read_flavor_list(BROKEN[name])


@pytest.mark.parametrize(
    ("asked", "nearest", "why"),
    [
        ("h100", "h200", "no H100"),
        ("h100x8", "h200x8", "no H100"),
        ("H200", "h200", "lower case"),
        ("v5e-1x1", "l4x1", "no TPU"),
        ("v5e-2x2", "a100-large", "no TPU"),
        ("v5e-2x4", "h200", "no TPU"),
        ("zero-a10g", "a10g-small", "Spaces"),
        ("a10g", "a10g-small", "begins with 'a10g'"),
        ("t4", "t4-small", "begins with"),
        ("cpu", "cpu-basic", "begins with"),
        ("a10g_large", "a10g-large", "dashes"),
        ("a10-large", "a10g-large", "alike"),
        ("l40s1", "l40sx1", "alike"),
        ("", "cpu-basic", "cheapest"),
        ("quantum", "cpu-basic", "cheapest"),
    ],
)
def test_nearest(asked: str, nearest: str, why: str) -> None:
    name, reason = flavors.nearest_flavor(asked, flavors.FLAVORS)
    assert name == nearest
    assert why in reason


def test_table_reads_back() -> None:
    text = "\n".join(line.strip() for line in flavors.FLAVORS_TABLE.splitlines())
    assert flavors.read_flavor_table(text) == flavors.FLAVORS
    assert json.dumps([item["name"] for item in HARDWARE]) == json.dumps(list(flavors.FLAVORS))


def test_the_short_list_of_the_preflight_is_a_part_of_this_one() -> None:
    """The preflight of every script carries a few flavors, in the order of their price."""
    listed = blocks.load("preflight").PREFLIGHT_FLAVORS
    known = flavors.read_flavor_table(flavors.FLAVORS_TABLE)
    for name, ram, vram, disk in listed:
        machine = known[name]
        assert (ram, disk) <= (machine.ram_gb, machine.disk_gb), name
        assert vram == machine.gpus * machine.vram_gb, name
    prices = [known[name].usd_per_hour for name, *_ in listed]
    assert prices == sorted(prices)
