"""The hardware that Jobs can ask for: the answer of `GET /api/jobs/hardware` of a day, as written down in `flavors.json`.

Here it only names what a Job asked for: the embedded Hub runs every Job on this machine, without an accelerator.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """What the metrics of a Job are measured against: cores, and memory in GB."""

    name: str
    cores: int
    memory_gb: int


def _flavor(item: Mapping[str, Any]) -> Flavor:
    cores, memory = (int(item[key].partition(" ")[0]) for key in ("cpu", "ram"))
    return Flavor(name=item["name"], cores=cores, memory_gb=memory)


HARDWARE: Sequence[Mapping[str, Any]] = json.loads(
    Path(__file__).with_name("flavors.json").read_text(encoding="utf-8")
)["hardware"]
FLAVORS: Mapping[str, Flavor] = {item["name"]: _flavor(item) for item in HARDWARE}
