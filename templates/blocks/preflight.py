# block: preflight 1
"""What is checked before money is spent: columns exist, the output column is free, disk, memory and GPU are enough.

Promises: takes milliseconds and imports nothing heavy (no torch); a missing column is named with the likely one (4); a
machine that is too small stops with 5 and names the cheapest Job flavor that is not; what cannot be measured passes.
"""

from __future__ import annotations

import difflib
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .exits import EXIT_ENVIRONMENT, EXIT_INPUT, Stop, note

# Job flavors in the order of their price by the hour: memory, GPU memory (all GPUs) and disk in GB, as documented in
# 2026; for several GPUs the memory and disk of one, at least. `hf jobs hardware` says what holds today.
PREFLIGHT_FLAVORS = (
    ("cpu-basic", 16, 0, 50),
    ("cpu-upgrade", 32, 0, 50),
    ("t4-small", 15, 16, 50),
    ("t4-medium", 30, 16, 100),
    ("l4x1", 30, 24, 400),
    ("cpu-xl", 124, 0, 1000),
    ("a10g-large", 46, 24, 200),
    ("l40sx1", 62, 48, 380),
    ("cpu-performance", 256, 0, 1024),
    ("a100-large", 142, 80, 1000),
    ("rtx-pro-6000", 256, 96, 475),
    ("l4x4", 186, 96, 3200),
    ("h200", 256, 141, 3000),
    ("rtx-pro-6000x2", 256, 192, 475),
    ("a100x4", 142, 320, 4000),
    ("rtx-pro-6000x4", 256, 384, 475),
    ("h200x4", 256, 564, 3000),
    ("a100x8", 142, 640, 8000),
    ("rtx-pro-6000x8", 256, 768, 475),
    ("h200x8", 256, 1128, 3000),
)
PREFLIGHT_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
PREFLIGHT_MEMINFO = "/proc/meminfo"
_GB = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as nvidia-smi lists it; `memory` in bytes."""

    name: str
    memory: int


def require_columns(wanted: Iterable[str], available: Sequence[str], *, where: str) -> None:
    """Stop with 4 when a column in `wanted` is not `available`; the message has the likely one and all that there are."""
    for name in wanted:
        if name not in available:
            close = difflib.get_close_matches(name, available, n=1, cutoff=0.5)
            folded = [column for column in available if column.casefold() == name.casefold()]
            listed = ", ".join(available[:20]) + (f" and {len(available) - 20} more" if len(available) > 20 else "")
            likely = [*folded, *close]
            fix = f"did you mean {likely[0]!r}" if likely else "name one of these columns"
            raise Stop(EXIT_INPUT, f"{where} has no column {name!r}; it has: {listed}", fix=fix)


def require_free_columns(added: Iterable[str], available: Sequence[str], *, where: str, flag: str) -> None:
    """Stop with 4 when a column that the script adds is there already; `flag` is the option that names another."""
    taken = [name for name in added if name in available]
    if taken:
        free = next(name for number in range(2, 1000) if (name := f"{taken[0]}_{number}") not in available)
        message = f"{where} has a column {taken[0]!r} already, which would be overwritten"
        raise Stop(EXIT_INPUT, message, fix=f"add {flag} {free}")


def require_disk(needed: int, folder: Path) -> None:
    """Stop with 5 when the disk of `folder` has fewer than `needed` bytes free."""
    nearest = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(nearest).free
    if free < needed:
        raise _preflight_too_small(f"disk space at {nearest}", needed, free, disk=needed)


def require_ram(needed: int) -> None:
    """Stop with 5 when this machine or container has less than `needed` bytes of memory available."""
    available = available_ram()
    if available is not None and available < needed:
        raise _preflight_too_small("memory", needed, available, ram=needed)


def require_vram(needed: int) -> tuple[Gpu, ...]:
    """Return the GPUs; stop with 5 when there is none, or when together they have fewer than `needed` bytes."""
    gpus = list_gpus()
    memory = sum(gpu.memory for gpu in gpus)
    if not gpus:
        flavor = preflight_flavor(vram=needed)
        message = f"no GPU here (nvidia-smi finds none), {needed / _GB:.0f} GB of GPU memory needed"
        raise Stop(EXIT_ENVIRONMENT, message, fix=f"run it as a Job with --flavor {flavor}")
    if memory < needed:
        names = ", ".join(gpu.name for gpu in gpus)
        raise _preflight_too_small(f"GPU memory ({names})", needed, memory, vram=needed)
    return gpus


def list_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA programs of this process may use, in the order of nvidia-smi."""
    command = shutil.which("nvidia-smi")
    if command is None or os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return ()
    query = [command, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        note(f"nvidia-smi does not work ({type(error).__name__}): no GPU is counted")
        return ()
    lines = (line.rpartition(",") for line in told.splitlines())
    gpus = [Gpu(name=name.strip(), memory=int(memory) * 2**20) for name, _, memory in lines if memory.strip().isdigit()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    numbers = [int(number) for number in visible if number.strip().isdigit()]
    return tuple(gpus[number] for number in numbers if number < len(gpus)) if numbers else tuple(gpus)


def available_ram() -> int | None:
    """Return the bytes of memory that may still be taken: the machine's, or the container's limit if that is less."""
    bounds = [_preflight_meminfo(), *(_preflight_limit(Path(file)) for file in PREFLIGHT_CGROUPS)]
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None


def preflight_flavor(*, ram: int = 0, vram: int = 0, disk: int = 0) -> str:
    """Return the cheapest Job flavor with so many bytes of memory, GPU memory and disk; the largest if none has."""
    fitting = (
        name
        for name, has_ram, has_vram, has_disk in PREFLIGHT_FLAVORS
        if has_ram * _GB >= ram and has_vram * _GB >= vram and has_disk * _GB >= disk
    )
    return next(fitting, PREFLIGHT_FLAVORS[-1][0])


def _preflight_too_small(what: str, needed: int, found: int, *, ram: int = 0, vram: int = 0, disk: int = 0) -> Stop:
    message = f"{needed / _GB:.1f} GB of {what} needed, {found / _GB:.1f} GB found"
    flavor = preflight_flavor(ram=ram, vram=vram, disk=disk)
    return Stop(EXIT_ENVIRONMENT, message, fix=f"run it as a Job with --flavor {flavor}, or free some here")


def _preflight_meminfo() -> int | None:
    try:
        lines = Path(PREFLIGHT_MEMINFO).read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def _preflight_limit(file: Path) -> int | None:
    """Return the limit in a cgroup file; None where there is none ("max", or a number larger than any machine)."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < 2**60 else None
