"""The machines of Jobs and their prices: the Hub's list of this moment, else the dated one that scripts embed.

What machines are, what fits on them and what it costs is said by the blocks `flavors` and `fit`, which scripts embed; the
tool runs that very code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

from jobshelf.blocks import load
from jobshelf.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Flavors by name, as the block `flavors` describes them; where the prices come from, and whether they are live."""

    flavors: Mapping[str, Any]
    origin: str
    live: bool

    def find(self, name: str) -> Any:  # noqa: ANN401 - the block's own class, which is loaded and not imported
        """Return the flavor called `name`. Raises UsageError that names the nearest one and why."""
        if name in self.flavors:
            return self.flavors[name]
        nearest, reason = flavors_block().nearest_flavor(name, self.flavors)
        raise UsageError(f"there is no flavor {name!r}; the nearest is {nearest}: {reason}", fix=f"name {nearest}")


def flavors_block() -> ModuleType:
    """Return the block `flavors` as a module."""
    return load("flavors")


def fit_block() -> ModuleType:
    """Return the block `fit` as a module; its flavors are those of `flavors_block`."""
    return load("fit")


def find_hardware() -> Hardware:
    """Return what Jobs offer: the environment's Hub is asked, with the token of the login where there is one.

    A Hub that does not answer usably is a note on stderr and the dated list, not an error.
    """
    from huggingface_hub import get_token

    listed = flavors_block().current_flavors(get_token())
    return Hardware(flavors=listed.flavors, origin=listed.origin, live=listed.live)


def hardware_json(hardware: Hardware) -> str:
    """Return the list as one JSON object."""
    flavors = [asdict(flavor) for flavor in _by_price(hardware)]
    return json.dumps({"origin": hardware.origin, "live": hardware.live, "flavors": flavors}, indent=2) + "\n"


def hardware_text(hardware: Hardware) -> str:
    """Return the list as a ruled table, cheapest first."""
    rows = [
        f"{'flavor':<16}{'vCPU':>5}{'RAM GB':>8}{'disk GB':>9}  {'accelerator':<23}{'$/minute':>9}{'$/hour':>8}",
        "-" * 78,
    ]
    for flavor in _by_price(hardware):
        rows.append(
            f"{flavor.name:<16}{flavor.vcpus:>5}{flavor.ram_gb:>8g}{flavor.disk_gb:>9g}  {flavor.chips:<23}"
            f"{flavor.usd_per_hour / 60:>9.4f}{flavor.usd_per_hour:>8.2f}"
        )
    rows.append(f"prices: {hardware.origin}")
    return "\n".join(rows) + "\n"


def _by_price(hardware: Hardware) -> list[Any]:
    return sorted(hardware.flavors.values(), key=lambda flavor: (flavor.usd_per_hour, flavor.name))
