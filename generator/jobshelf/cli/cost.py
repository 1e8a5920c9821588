"""What a Job costs: hardware, estimate."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from jobshelf.cli.parser import Verbs, gigabytes
from jobshelf.cli.printing import say
from jobshelf.errors import UsageError

if TYPE_CHECKING:
    from jobshelf.hardware import Hardware


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    hardware = verbs.add(
        "hardware", _hardware, "list the machines of Jobs and their prices", example="jobshelf hardware --vram 80"
    )
    shown = hardware.add_mutually_exclusive_group()
    shown.add_argument("--json", action="store_true", help="print the list as JSON")
    shown.add_argument("--advice", action="store_true", help="recommend a machine by model size and task")
    shown.add_argument("--refresh", action="store_true", help="update the price table in catalog/estimate_cost.py")
    hardware.add_argument("--ram", type=gigabytes, default=0, metavar="GB", help="only machines with this much RAM")
    hardware.add_argument(
        "--vram", type=gigabytes, default=0, metavar="GB", help="only machines with this much GPU memory"
    )
    verbs.add(
        "estimate",
        _estimate,
        "estimate a Job's time, cost and memory (estimate_cost)",
        example="jobshelf estimate --model Qwen/Qwen3-8B --dataset-size 16000 --epochs 3",
        script_arguments=True,
    )


def _hardware(arguments: argparse.Namespace) -> int:
    from jobshelf.hardware import advice_text, find_hardware, hardware_json, hardware_text

    found = find_hardware()
    if arguments.refresh:
        return _refresh_hardware(found)
    found = found.with_at_least(ram_gb=arguments.ram, vram_gb=arguments.vram)
    text = hardware_json if arguments.json else advice_text if arguments.advice else hardware_text
    say(text(found), end="")
    return 0


def _refresh_hardware(hardware: Hardware) -> int:
    from datetime import UTC, datetime

    from jobshelf.hardware import SCRIPT, refreshed
    from jobshelf.shelf import own_shelf

    path = own_shelf().catalog / SCRIPT
    if not path.is_file():
        raise UsageError(f"there is no {path}", fix="run it in a checkout of the project")
    path.write_text(refreshed(path.read_text("utf-8"), hardware, datetime.now(UTC).date()), encoding="utf-8")
    say(f"wrote {len(hardware.flavors)} machines to {path}\nnext: jobshelf index")
    return 0


def _estimate(arguments: argparse.Namespace) -> int:
    from jobshelf.index import shelf_with
    from jobshelf.jobs import find_target, run

    return run(find_target("estimate-cost", *shelf_with("estimate-cost")), arguments.script_arguments)
