"""What a running script may do: nothing but compute, print, and write a few small files in its own folders.

Two layers. The kernel's (`syscalls`, Linux) cannot be talked around; Python's audit events work everywhere and put what was tried
into the trace. Limits are the process's own (`setrlimit`).
"""

from __future__ import annotations

import errno
import os
import platform
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from jobshelf.stub import syscalls
from jobshelf.stub.leaks import Watch
from jobshelf.stub.trace import CHECK, Trace

MAX_FILES = 100
_OPEN_FILES = 64
_LINUX_LIMITS = (("RLIMIT_SIGPENDING", 64), ("RLIMIT_MSGQUEUE", 0), ("RLIMIT_MEMLOCK", 0))
_SLEEP_SECONDS = 0.001
_WAIT_SECONDS = 0.2
_CHANGE_EVENTS = ("os.chmod", "os.chown", "os.utime", "os.setxattr", "os.removexattr")
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
        *((getattr(resource, name), most) for name, most in _LINUX_LIMITS if hasattr(resource, name)),
    ):
        _, most = resource.getrlimit(kind)
        wanted = value if most == resource.RLIM_INFINITY else min(value, most)
        # One second more before the kill that cannot be caught: the first signal says which limit it was.
        hard = wanted + 1 if kind == resource.RLIMIT_CPU and most == resource.RLIM_INFINITY else wanted
        resource.setrlimit(kind, (wanted, hard))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """The kernel's fence around a run: made once, put up in each child.

    `missing` names what this system lacks of it, None where it is whole. Without Landlock but with seccomp a run may not write
    (`writing`), for seccomp sees no paths.
    """

    ruleset: int | None
    writing: bool
    missing: str | None

    def enclose(self) -> None:
        """Put this process behind the fence, for good, and close the handle of the ruleset."""
        syscalls.die_with_parent()
        if self.ruleset is not None:
            syscalls.restrict_files(self.ruleset)
            os.close(self.ruleset)
        syscalls.restrict_calls(writing=self.writing)


def prepare(abi: int, readable: list[Path], writable: list[Path]) -> Fence:
    """Return the fence of this system, with Landlock of version `abi` (0: none)."""
    calls = syscalls.prepared_filter(writing=bool(abi)) is not None
    lacking = [] if abi else ["Landlock"]
    lacking += [] if calls else ["a seccomp filter"]
    return Fence(
        ruleset=syscalls.open_ruleset(abi, readable, writable),
        writing=bool(abi) or not calls,
        missing=f"{platform.system()} {platform.release()} ({platform.machine()}) lacks {' and '.join(lacking)}"
        if lacking
        else None,
    )


def shorten_sleep() -> None:
    """Make `time.sleep` return almost at once: a retry that waits minutes must not cost the run its time."""
    sleep = time.sleep
    time.sleep = lambda seconds: sleep(min(seconds, _SLEEP_SECONDS))


def shorten_waits() -> None:
    """Have what waits for another thread give up soon: it may wait for what a stub never does."""
    wait = threading.Condition.wait

    def wait_briefly(self: threading.Condition, timeout: float | None = None) -> bool:
        return wait(self, _WAIT_SECONDS if timeout is None else min(timeout, _WAIT_SECONDS))

    threading.Condition.wait = wait_briefly


def forget_certificates() -> None:
    """Load no certificates: it takes longer than the rest of a run, and there is nobody whom they could prove to be anybody."""
    if "ssl" in sys.modules:
        sys.modules["ssl"].SSLContext.load_default_certs = lambda self, purpose=None: None


def record_exit(trace: Trace) -> None:
    """Have `os._exit` end the record first: a run that ends without that has hidden something."""
    leave = os._exit

    def exit_recorded(status: int) -> NoReturn:
        trace.end()
        leave(status)

    os._exit = exit_recorded


class Guard:
    """Python's layer: records and refuses what a script tries to do outside its `folders`."""

    def __init__(self, trace: Trace, folders: Iterable[Path], fence: Fence, watch: Watch | None = None) -> None:
        self._trace = trace
        self._watch = watch
        self._folders = tuple(os.path.realpath(folder) for folder in folders)
        self._fence = fence
        self._files = 0
        self._answers: dict[str, Callable[..., None]] = {
            CHECK: trace.check,
            "open": self._open,
            "os.mkdir": self._make,
            "os.truncate": lambda path, length: self._write(path),
            "os.link": lambda source, target, first=-1, second=-1: self._write(target, second),
            "os.symlink": lambda source, target, folder=-1: self._write(target, folder),
            "os.remove": self._remove,
            "os.rmdir": self._remove,
            "os.rename": self._rename,
            "shutil.rmtree": self._remove,
            "os.kill": self._signal,
            "os.killpg": self._signal,
            "socket.__new__": self._socket,
        }
        self._answers |= dict.fromkeys(_CHANGE_EVENTS, self._change)
        self._answers |= dict.fromkeys(_PROCESS_EVENTS, self._process)
        self._answers |= dict.fromkeys(_NETWORK_EVENTS, self._network)
        if watch:
            self._answers |= {"urllib.Request": watch.request, "webbrowser.open": watch.address}

    def stand(self) -> None:
        """Begin; there is no way for Python code to end it without a trace."""
        answers, native = self._answers, self._native

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            if answer := answers.get(event):
                answer(*arguments)
            elif event.startswith("ctypes."):
                native(event, *arguments)

        sys.addaudithook(hook)

    def _open(self, path: object, mode: object, flags: int) -> None:
        if flags & _WRITE_FLAGS and not isinstance(path, int) and path != os.devnull:
            self._write(path)

    def _make(self, path: object, mode: int, folder: int = -1) -> None:
        self._write(path, folder)

    def _write(self, path: object, folder: object = -1) -> None:
        self._trace.touch("write", _shown(path))
        if self._watch:
            self._watch.opened(path)
        self._files += 1
        if self._files > MAX_FILES:
            self._trace.stop(f"it writes more than {MAX_FILES} files")
        self._refuse_outside(path, folder)

    def _remove(self, path: object, folder: int | None = None) -> None:
        self._trace.touch("remove", _shown(path))
        if self._watch:
            self._watch.opened(path)
        self._refuse_outside(path, folder)

    def _rename(self, source: object, target: object, first: int = -1, second: int = -1) -> None:
        self._remove(source, first)
        self._write(target, second)

    def _change(self, path: object, *_: object) -> None:
        """Owner, mode and times: the kernel calls succeed and do nothing, also for a file that is not there."""
        if isinstance(path, int):
            return
        if not self._inside(path):
            self._write(path)
        elif not os.path.lexists(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(path))

    def _inside(self, path: object) -> bool:
        text = os.path.realpath(os.fsdecode(path))
        return any(text == own or text.startswith(own + os.sep) for own in self._folders)

    def _refuse_outside(self, path: object, folder: object = None) -> None:
        if not isinstance(path, int) and not self._judged_by_kernel(folder) and not self._inside(path):
            raise PermissionError(errno.EACCES, "a stub run writes only in its own folder", os.fsdecode(path))
        if not self._fence.writing:
            self._trace.stop("it writes files, which a stub run cannot allow on a system without Landlock")

    def _judged_by_kernel(self, folder: object) -> bool:
        """Whether the path is relative to an open `folder`, which only the kernel can resolve, and it does."""
        return folder not in (None, -1, "") and self._fence.missing is None

    def _signal(self, process: int, number: int) -> None:
        if process != os.getpid():
            self._trace.touch("signal", str(number))
            raise PermissionError(errno.EPERM, "a stub run signals no other process")

    def _native(self, event: str, *named: object) -> None:
        # One line for a library: to load it is all that an honest script tries.
        name = next((part for part in reversed(named) if isinstance(part, str)), event)
        self._trace.touch("native", name)
        raise OSError(f"{name}: a stub run loads no native library")

    def _socket(self, made: object, family: int, *_: object) -> None:
        if family != socket.AF_UNIX:
            self._trace.touch("network", "socket")
            raise OSError(errno.ENETUNREACH, "a stub run has no network")

    def _network(self, *target: object) -> None:
        if self._watch:
            self._watch.address(target)
        self._trace.touch("network", str(target[0]) if target and isinstance(target[0], (str, bytes)) else "socket")
        raise socket.gaierror(socket.EAI_AGAIN, "a stub run has no network")

    def _process(self, *target: object) -> None:
        if self._watch:
            self._watch.process(target)
        first = target[0] if target else "fork"
        name = first if isinstance(first, (str, bytes, os.PathLike)) else "fork"
        self._trace.touch("process", _shown(name))
        program = os.fsdecode(name).split(maxsplit=1)[
            :1
        ]  # of a command for a shell, which may hold what no message should
        raise FileNotFoundError(errno.ENOENT, "a stub run starts no process", *program)


def _shown(path: object) -> str:
    return f"file {path}" if isinstance(path, int) else os.fsdecode(path)
