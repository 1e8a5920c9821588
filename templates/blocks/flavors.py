# block: flavors 1
"""The machines that Jobs can ask for: what they have, what they cost, and which is meant by a name that none has.

Promises: prices are those of the Hub's own list when it answers within seconds, else those written down here, and it is
said which; what the list says is checked before it is believed; reading it never stops the script.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .exits import note
from .retry import http_status, transient

# From the price list of Jobs (docs `jobs-pricing`), read on that day.
# name, vCPUs, memory GB, disk GB, US dollars an hour, GPUs, memory of one GPU in GB, GPU model
FLAVORS_DATE = "2026-11-20"
FLAVORS_TABLE = """\
cpu-basic          2   16    50  0.01
cpu-upgrade        8   32    50  0.03
cpu-xl            16  124  1000  1.00
cpu-performance   32  256  1024  1.90
t4-small           4   15    50  0.40  1  16  T4
t4-medium          8   30   100  0.60  1  16  T4
l4x1               8   30   400  0.80  1  24  L4
l4x4              48  186  3200  3.80  4  24  L4
l40sx1             8   62   380  1.80  1  48  L40S
l40sx4            48  382  3200  8.30  4  48  L40S
l40sx8           192 1534  6500 23.50  8  48  L40S
a10g-small         4   15   110  1.00  1  24  A10G
a10g-large        12   46   200  1.50  1  24  A10G
a10g-largex2      24   92  1000  3.00  2  24  A10G
a10g-largex4      48  184  2000  5.00  4  24  A10G
a100-large        12  142  1000  2.50  1  80  A100
a100x4            48  568  4000 10.00  4  80  A100
a100x8            96 1136  8000 20.00  8  80  A100
h200              23  256  3000  5.00  1 141  H200
h200x2            46  512  6000 10.00  2 141  H200
h200x4            92 1024 12000 20.00  4 141  H200
h200x8           184 2048 24000 40.00  8 141  H200
rtx-pro-6000      23  256   475  2.75  1  96  RTX PRO 6000
rtx-pro-6000x2    46  512   950  5.50  2  96  RTX PRO 6000
rtx-pro-6000x4    92 1024  1900 11.00  4  96  RTX PRO 6000
rtx-pro-6000x8   184 2048  3800 22.00  8  96  RTX PRO 6000
"""
FLAVORS_TIMEOUT_S = 10
# What guides still name and Jobs do not have: how the name begins, how the nearest one does, why.
FLAVORS_ABSENT = (
    ("h100", "h200", "Jobs have no H100; the H200 is the same chip with more memory"),
    ("b200", "h200", "Jobs have no B200; the H200 is the fastest GPU there"),
    ("v5e-1", "l4x1", "Jobs have no TPUs; this GPU has at least the memory of one v5e chip"),
    ("v5e-2x2", "a100-large", "Jobs have no TPUs; this GPU has at least the memory of four v5e chips"),
    ("v5e", "h200", "Jobs have no TPUs; this GPU has at least the memory of eight v5e chips"),
    ("tpu", "l4x1", "Jobs have no TPUs; this is the cheapest GPU with bfloat16"),
    ("zero-", "a10g-small", "ZeroGPU is for Spaces, not for Jobs"),
    ("a100-small", "a100-large", "the A100 comes whole"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """A machine. Memory and disk in GB (10**9 bytes), `vram_gb` that of one GPU; `gpu` is its model, "" for none."""

    name: str
    vcpus: int
    ram_gb: float
    disk_gb: float
    usd_per_hour: float
    gpus: int = 0
    vram_gb: float = 0.0
    gpu: str = ""

    @property
    def chips(self) -> str:
        """The accelerators as people name them: `2x A10G 24 GB`, or `-`."""
        return f"{self.gpus}x {self.gpu} {self.vram_gb:g} GB" if self.gpus else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Flavors by name, where they come from, and whether that is the Hub's list of this moment."""

    flavors: Mapping[str, Flavor]
    origin: str
    live: bool


def read_flavor_table(table: str) -> dict[str, Flavor]:
    """Return the flavors of a table in the form of `FLAVORS_TABLE`."""
    flavors = (_flavor_of_line(line.split(None, 7)) for line in table.splitlines())
    return {flavor.name: flavor for flavor in flavors}


def read_flavor_list(listing: object) -> dict[str, Flavor]:
    """Return the flavors of the answer to `GET /api/jobs/hardware`. Raises ValueError where it is not such an answer."""
    if not isinstance(listing, list) or not listing:
        raise ValueError("it is not a list of flavors")
    try:
        flavors = {str(item["name"]): _flavor_of_item(item) for item in listing}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an entry of it is not a flavor ({type(error).__name__}: {error})") from error
    return flavors


def current_flavors(token: str | None) -> PriceList:
    """Return the Hub's price list, or the one of `FLAVORS_DATE` when the Hub does not give a usable one."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = f"{constants.ENDPOINT}/api/jobs/hardware"
    try:
        response = get_session().get(
            url, headers=build_hf_headers(token=token or False), timeout=FLAVORS_TIMEOUT_S, follow_redirects=True
        )
        hf_raise_for_status(response)
        return PriceList(flavors=read_flavor_list(response.json()), origin="the Hub's list of now", live=True)
    except Exception as error:
        reason = _why_no_prices(error)
        if reason is None:
            raise
    note(f"no price list from {url}: {reason}; using the one of {FLAVORS_DATE}")
    return PriceList(flavors=FLAVORS, origin=f"list of {FLAVORS_DATE}", live=False)


def nearest_flavor(asked: str, flavors: Mapping[str, Flavor]) -> tuple[str, str]:
    """Return the name of the flavor that `asked`, which is none, comes closest to, and why that one."""
    wanted = asked.strip().lower().replace("_", "-")
    if wanted in flavors:
        return wanted, "names are in lower case, with dashes"
    for beginning, nearest, reason in FLAVORS_ABSENT:
        several = f"{nearest}{wanted.removeprefix(beginning)}"
        if wanted.startswith(beginning) and nearest in flavors:
            return (several if several in flavors else nearest), reason
    cheapest = sorted(flavors.values(), key=lambda flavor: flavor.usd_per_hour)
    beginning = next((flavor.name for flavor in cheapest if wanted and flavor.name.startswith(wanted)), None)
    if beginning:
        return beginning, f"it is the cheapest one that begins with {wanted!r}"
    close = difflib.get_close_matches(wanted, [flavor.name for flavor in cheapest], n=1, cutoff=0.5)
    return (close[0], "it is spelled most alike") if close else (cheapest[0].name, "it is the cheapest one")


def _flavor_of_line(cells: list[str]) -> Flavor:
    name, vcpus, ram, disk, price, gpus, vram, gpu = [*cells, "0", "0", ""][:8] if len(cells) == 5 else cells
    return Flavor(
        name=name,
        vcpus=int(vcpus),
        ram_gb=float(ram),
        disk_gb=float(disk),
        usd_per_hour=float(price),
        gpus=int(gpus),
        vram_gb=float(vram),
        gpu=gpu,
    )


def _flavor_of_item(item: Mapping[str, Any]) -> Flavor:
    chips = item.get("accelerator") or {}
    count = int(_first_number(chips.get("quantity", 0)))
    price = {"minute": 60, "hour": 1}[item["unitLabel"]] * float(item["unitCostUSD"])
    if not (math.isfinite(price) and price >= 0):
        raise ValueError(f"the price of {item['name']!r} is {price}")
    return Flavor(
        name=item["name"],
        vcpus=int(_first_number(item["cpu"])),
        ram_gb=_first_number(item["ram"]),
        disk_gb=_first_number(item.get("ephemeralStorage", 0)),
        usd_per_hour=round(price, 4),
        gpus=count,
        vram_gb=_vram_of_one(str(item["name"]), _first_number(chips["vram"]), count) if count else 0.0,
        gpu=str(chips["model"]).strip() if count else "",
    )


def _vram_of_one(name: str, listed: float, count: int) -> float:
    """The list gives the memory of all GPUs together; one that gave it for each must not halve what a GPU has."""
    known = FLAVORS.get(name)
    return listed if known and listed == known.vram_gb else listed / count


def _first_number(text: object) -> float:
    """Return the quantity that a text such as `16 GB`, `1.5 TB` or `2 vCPU` begins with; terabytes as gigabytes."""
    match = re.match(r"\s*(\d+(?:\.\d+)?)\s*(T?)", str(text))
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    return float(match[1]) * (1000 if match[2] else 1)


def _why_no_prices(error: Exception) -> str | None:
    status = http_status(error)
    if status is not None:
        return f"the server answered {status}"
    return str(error) if isinstance(error, ValueError) else transient(error)


FLAVORS = read_flavor_table(FLAVORS_TABLE)
