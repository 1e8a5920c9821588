"""What a running Job uses, read from `/proc` (Linux)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jobshelf.hub.flavors import Flavor

# fields of /proc/PID/stat after the name (proc_pid_stat(5)), counted from the state
_GROUP, _USER_TICKS, _SYSTEM_TICKS, _RESIDENT_PAGES = 2, 11, 12, 21


class Meter:
    """Measures one process group, from one call to the next."""

    def __init__(self, group: int, flavor: Flavor) -> None:
        self._group = group
        self._flavor = flavor
        self._last: tuple[float, float] | None = None

    def read(self) -> dict[str, Any]:
        """The Hub's metric event: share of one core in percent since the last call, memory in bytes. No network is measured."""
        stats = list(_stats(self._group))
        ticks = sum(int(stat[_USER_TICKS]) + int(stat[_SYSTEM_TICKS]) for stat in stats)
        used = (time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"))
        since, self._last = self._last or used, used
        passed = used[0] - since[0]
        return {
            "cpu_usage_pct": round(100 * max(0.0, used[1] - since[1]) / passed) if passed else 0,
            "cpu_millicores": 1000 * self._flavor.cores,
            "memory_used_bytes": sum(int(stat[_RESIDENT_PAGES]) for stat in stats) * os.sysconf("SC_PAGE_SIZE"),
            "memory_total_bytes": self._flavor.memory_gb * 10**9,
            "rx_bps": 0,
            "tx_bps": 0,
            "gpus": {},
            "replica": "local",
        }


def _stats(group: int) -> Iterator[list[str]]:
    for file in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = file.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            # it ended meanwhile
            continue
        if fields[_GROUP] == str(group):
            yield fields
