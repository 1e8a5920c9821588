"""One run of a script: a process group of its own, what it said, how long it took, how much memory it held."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_WATCH_SECONDS = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended.

    `code` is the exit code, negative for the signal that ended it, None when it was stopped because its time was over.
    `peak_bytes` is the largest resident size of one of its processes and `argvs` their command lines, as far as they
    were watched.
    """

    code: int | None
    stdout: str
    stderr: str
    seconds: float
    peak_bytes: int = 0
    argvs: frozenset[str] = frozenset()

    @property
    def outcome(self) -> str:
        """One line for people: the exit code and the last line on stderr."""
        code = "did not end in time" if self.code is None else f"exit code {self.code}"
        last = next((line for line in reversed(self.stderr.splitlines()) if line.strip()), "nothing on stderr")
        return f"{code} ({last.strip()[:300]})"


class Process:
    """A run that has begun. Its output goes to `folder/stdout` and `folder/stderr`."""

    def __init__(self, argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, folder: Path, watched: bool) -> None:
        self._began = time.monotonic()
        self._stdout, self._stderr = folder / "stdout", folder / "stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self._popen = subprocess.Popen(
                argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
            )
        _forbid_core_dumps(self._popen.pid)
        self._watcher = _Watcher(self._popen.pid) if watched else None

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self._popen.poll() is not None

    def kill(self) -> None:
        """SIGKILL to everything that it started: no handler runs, nothing is flushed."""
        if not self.is_over:
            os.killpg(self._popen.pid, signal.SIGKILL)

    def wait(self, seconds: float) -> Ended:
        """Wait until it ends, or end it after so many seconds."""
        try:
            code: int | None = self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            self._end_group()
        return Ended(
            code=code,
            stdout=self._stdout.read_text(encoding="utf-8", errors="replace"),
            stderr=self._stderr.read_text(encoding="utf-8", errors="replace"),
            seconds=time.monotonic() - self._began,
            peak_bytes=self._watcher.peak_bytes() if self._watcher else 0,
            argvs=frozenset(self._watcher.argvs) if self._watcher else frozenset(),
        )

    def _end_group(self) -> None:
        """End what the command has left running, too."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._popen.pid, signal.SIGKILL)
        self._popen.wait()
        if self._watcher:
            self._watcher.stop()


def _forbid_core_dumps(pid: int) -> None:
    """Let no crash write the process' memory, and the token in it, to wherever this machine keeps such files."""
    with contextlib.suppress(ProcessLookupError, AttributeError):  # it is over already; or this is no Linux
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))


class _Watcher:
    """Looks at a process and its descendants again and again.

    The resource usage that `wait4` returns is no use here: on Linux it begins at the size of the process that forked.
    Where there is no /proc nothing is seen.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._peaks: dict[int, int] = {}
        self.argvs: set[str] = set()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def peak_bytes(self) -> int:
        return max(self._peaks.values(), default=0)

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(_WATCH_SECONDS):
            for pid in _with_descendants(self._pid):
                # a process may be gone between two looks
                with contextlib.suppress(OSError):
                    self._look_at(pid)

    def _look_at(self, pid: int) -> None:
        process = Path("/proc", str(pid))
        self.argvs.add(process.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip())
        self._peaks[pid] = max(self._peaks.get(pid, 0), _peak_bytes(process.joinpath("status").read_text()))


def _peak_bytes(status: str) -> int:
    """Return the high-water mark in the text of /proc/PID/status; 0 for a process that has no memory left."""
    line = next((line for line in status.splitlines() if line.startswith("VmHWM:")), "VmHWM: 0 kB")
    return int(line.split()[1]) * 1024


def _with_descendants(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        with contextlib.suppress(OSError):
            for children in Path("/proc", str(parent), "task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
    return found
