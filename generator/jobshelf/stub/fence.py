"""What a running script may do: nothing but compute, print, and write a few small files in its own folder.

Two layers. The kernel's (`syscalls`, Linux) cannot be talked around; Python's audit events work everywhere and put what was tried
into the trace. Limits are the process's own (`setrlimit`).
"""

from __future__ import annotations

import errno
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobshelf.stub import syscalls
from jobshelf.stub.trace import Trace

MAX_FILES = 100
_OPEN_FILES = 64
_SLEEP_SECONDS = 0.001
_PROCESS_EVENTS = (
    "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.startfile", "os.system", "pty.spawn",
    "subprocess.Popen",
)  # fmt: skip
_NETWORK_EVENTS = (
    "socket.bind", "socket.connect", "socket.getaddrinfo", "socket.gethostbyaddr", "socket.gethostbyname",
    "socket.getnameinfo", "socket.sendto",
)  # fmt: skip
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one run may use: `processor` and `wall` seconds, and bytes of `memory`, of a `file` and of `output`."""

    processor: int
    wall: float
    memory: int
    file: int
    output: int


def limit(limits: Limits) -> None:
    """Set the process's own limits; they can be lowered but not raised."""
    for kind, value in (
        (resource.RLIMIT_CPU, limits.processor),
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_FSIZE, limits.file),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        _, most = resource.getrlimit(kind)
        wanted = value if most == resource.RLIM_INFINITY else min(value, most)
        # One second more before the kill that cannot be caught: the first signal says which limit it was.
        hard = wanted + 1 if kind == resource.RLIMIT_CPU and most == resource.RLIM_INFINITY else wanted
        resource.setrlimit(kind, (wanted, hard))


def enclose(ruleset: int | None) -> bool:
    """Put the kernel's fences up; return whether all of them stand."""
    syscalls.die_with_parent()
    if ruleset is not None:
        syscalls.restrict_files(ruleset)
    return syscalls.restrict_calls() and ruleset is not None


def shorten_sleep() -> None:
    """Make `time.sleep` return almost at once: a retry that waits minutes must not cost the run its time."""
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, _SLEEP_SECONDS))


def forget_certificates() -> None:
    """Load no certificates: it takes longer than the rest of a run, and there is nobody whom they could prove to be anybody."""
    if "ssl" in sys.modules:
        sys.modules["ssl"].SSLContext.load_default_certs = lambda self, purpose=None: None


class Guard:
    """Python's layer: records and refuses what a script tries to do outside its `folder`."""

    def __init__(self, trace: Trace, folder: Path, *, enclosed: bool) -> None:
        self._trace = trace
        self._folder = os.path.realpath(folder)
        self._enclosed = enclosed
        self._files = 0
        self._answers: dict[str, Callable[..., None]] = {
            "open": self._open,
            "os.mkdir": self._write,
            "os.truncate": self._write,
            "os.link": self._write_second,
            "os.symlink": self._write_second,
            "os.remove": self._remove,
            "os.rmdir": self._remove,
            "os.rename": self._rename,
            "shutil.rmtree": self._remove,
            "os.kill": self._signal,
            "os.killpg": self._signal,
            "ctypes.dlopen": self._native,
            "socket.__new__": self._socket,
        }
        self._answers |= dict.fromkeys(_PROCESS_EVENTS, self._process)
        self._answers |= dict.fromkeys(_NETWORK_EVENTS, self._network)

    def stand(self) -> None:
        """Begin; there is no way for Python code to end it."""
        answers = self._answers

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if answer := answers.get(event):
                answer(*arguments)

        sys.addaudithook(hook)

    def _open(self, path: object, mode: object, flags: int) -> None:
        if flags & _WRITE_FLAGS and not isinstance(path, int) and path != os.devnull:
            self._write(path)

    def _write(self, path: object, *_: object) -> None:
        self._trace.touch("write", _shown(path))
        self._files += 1
        if self._files > MAX_FILES:
            self._trace.stop(f"it writes more than {MAX_FILES} files")
        self._refuse_outside(path)

    def _write_second(self, source: object, target: object, *_: object) -> None:
        self._write(target)

    def _remove(self, path: object, folder: int | None = None) -> None:
        self._trace.touch("remove", _shown(path))
        if folder in (None, -1) or not self._enclosed:
            self._refuse_outside(path)

    def _rename(self, source: object, target: object, *_: object) -> None:
        self._remove(source)
        self._write(target)

    def _refuse_outside(self, path: object) -> None:
        if isinstance(path, int):
            return
        text = os.path.realpath(os.fsdecode(path))
        if text != self._folder and not text.startswith(self._folder + os.sep):
            raise PermissionError(errno.EACCES, "a stub run writes only in its own folder", os.fsdecode(path))

    def _signal(self, process: int, number: int) -> None:
        if process != os.getpid():
            self._trace.touch("signal", str(number))
            raise PermissionError(errno.EPERM, "a stub run signals no other process")

    def _native(self, name: object) -> None:
        self._trace.touch("native", str(name))
        raise OSError(f"{name}: a stub run loads no native library")

    def _socket(self, made: object, family: int, *_: object) -> None:
        if family != socket.AF_UNIX:
            self._trace.touch("network", "socket")
            raise OSError(errno.ENETUNREACH, "a stub run has no network")

    def _network(self, *target: object) -> None:
        self._trace.touch("network", str(target[0]) if target and isinstance(target[0], (str, bytes)) else "socket")
        raise socket.gaierror(socket.EAI_AGAIN, "a stub run has no network")

    def _process(self, *target: object) -> None:
        first = target[0] if target else "fork"
        name = first if isinstance(first, (str, bytes, os.PathLike)) else "fork"
        self._trace.touch("process", _shown(name))
        raise FileNotFoundError(errno.ENOENT, "a stub run starts no process", os.fsdecode(name))


def _shown(path: object) -> str:
    return f"file {path}" if isinstance(path, int) else os.fsdecode(path)
