"""The warmed process: reads one request a line on stdin, forks a fenced child that runs the script, answers one line on stdout.

    python -m jobshelf.stub.server FOLDER [LANDLOCK]

The first line that it writes is `{"missing"}`: what this system lacks of the fence, or null. LANDLOCK is the newest version of Landlock
to use, for tests of older kernels; 0 is none.
Request: `{"name", "source", "arguments", "modules", "limits", "describe", "canary"}`; one without `source` means the one before, and
`canary` is the token that the script finds, or null. Answer: `{"fault"}`
where no run came about, else `{"exit", "ended", "breach", "stdout", "stderr", "token", "recording", "seconds"}`.

This process is not fenced as its children are. What they say it counts and passes on; it neither parses, compiles nor loads any of it,
and what it imports for them is on the fixed list of `warm`. The first child of a script compiles it, and sends what that gave before any of
the script runs; the later ones get these bytes, which nobody looks into but they. Where Landlock is at hand, it writes nowhere but in FOLDER itself.
The process ends when its stdin does, and takes FOLDER with it.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import gc
import importlib.metadata  # noqa: F401 -- `modules.install` uses it: loaded here once, not in each child
import io
import itertools
import json
import marshal
import os
import resource
import secrets
import select
import signal
import stat
import sys
import threading
import time
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from jobshelf.canary import Canary
from jobshelf.recording import FAULT, MAX_RECORDING
from jobshelf.stub import capture, doubles, fence, hub, leaks, modules, syscalls, warm
from jobshelf.stub.trace import Trace

_KEPT_OUTPUT = 65_536
_MOST_CODE = 1 << 23
_RECORD = 2  # its place among the pipes of a child, after stdout and stderr
_CHUNK = 65_536
_HIGH_HANDLE = 900
_MAX_THREADS = 200
_MAX_FILES = 200
_MAX_FILE_BYTES = 1 << 26
_CLICK_COMMANDS = {"click.core": ("Command",), "typer.core": ("TyperCommand", "TyperGroup")}
_TICK_SECONDS = 0.05
_POLL_SECONDS = 0.0005
_TOO_LATE = "it did not end within {:g} s"
_BREACHES = {
    "SIGSYS": "it made a system call that only an attempt to leave the fence makes",
    "SIGSEGV": "it broke the interpreter (SIGSEGV)",
    "SIGBUS": "it broke the interpreter (SIGBUS)",
    "SIGILL": "it broke the interpreter (SIGILL)",
}
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "COLUMNS": "80",
    "LINES": "24",
    "NO_COLOR": "1",
    "TERM": "dumb",
}


def main(folder: Path, landlock: int) -> int:
    """Serve until stdin ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    server = _Server(folder, syscalls.landlock_abi(landlock))
    _prepare()
    try:
        _say(answers, {"missing": server.fence.missing})
        for line in requests:
            _say(answers, server.answer(json.loads(line)))
    finally:
        clear(folder)
        folder.rmdir()
    return 0


def _say(answers: io.BufferedWriter, message: dict[str, Any]) -> None:
    answers.write(json.dumps(message).encode() + b"\n")
    answers.flush()


def _prepare() -> None:
    """Give this process all that every run needs alike: what is done here need not be done, and copied, in each child."""
    gc.disable()  # `Warmed` collects; a collection in a child would copy the whole heap
    sys.stdin = sys.__stdin__ = io.TextIOWrapper(io.FileIO(0, "r", closefd=False), encoding="utf-8")
    sys.stdout = sys.__stdout__ = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8"
    )
    sys.stderr = sys.__stderr__ = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)),
        encoding="utf-8",
        errors="backslashreplace",
        line_buffering=True,
    )
    for name in [name for name in sys.modules if name.partition(".")[0] == "jobshelf"]:
        del sys.modules[name]


class _Server:
    def __init__(self, folder: Path, abi: int) -> None:
        self._folders = _Folders(folder)
        self.fence = fence.prepare(abi, [self._folders.code], list(self._folders.writable))
        modules.real_modules()  # asked for once, here, not in every child
        self._warmed = warm.Warmed()
        self._source = self._name = ""
        self._code = b""
        if (own := syscalls.open_ruleset(abi, [], [folder], emptied=folder.parent)) is not None:
            syscalls.restrict_files(own)
            os.close(own)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self._warmed.load(request["modules"])
        if "source" in request or request["name"] != self._name:
            self._code = b""
        self._source, self._name = request.get("source", self._source), request["name"]
        paths = _Paths(self._folders, request["name"])
        script = Path(paths.script)
        with script.open("x", encoding="utf-8") as file:
            file.write(self._source)
        work = _Work(
            source=self._source,
            code=self._code,
            paths=paths,
            arguments=request["arguments"],
            limits=fence.Limits(**request["limits"]),
            describe=request["describe"],
            canary=request["canary"],
            token=secrets.token_hex(8),
        )
        try:
            return self._run(work)
        finally:
            script.unlink()
            for written in self._folders.writable:
                clear(written)

    def _run(self, work: _Work) -> dict[str, Any]:
        pipes = [os.pipe() for _ in range(3 if work.code else 4)]
        child = os.fork()
        if child == 0:
            _child(work, [write for _, write in pipes], self.fence)
        for _, write in pipes:
            os.close(write)
        collected = _Collected([read for read, _ in pipes], child, work)
        collected.read()
        self._code = work.code or collected.code
        return collected.report(*_wait(child))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What a child has to run: `source`, compiled to `code` if that is known; `describe` asks for the interface, `token` marks the lines of the record.

    `canary` is the Hub token that the script finds, None where it finds none.
    """

    source: str
    code: bytes
    paths: _Paths
    arguments: list[str]
    limits: fence.Limits
    describe: bool
    canary: str | None
    token: str


class _Folders:
    """The folders of all runs, one run after the other: the script's in `code`, and those that it may fill."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.code, self.work, self.home, self.temporary = (self.run / name for name in ("code", "work", "home", "tmp"))
        self.writable = (self.work, self.home, self.temporary)
        for path in (self.run, self.code, *self.writable):
            path.mkdir()

    def excess(self) -> str | None:
        """Return what a run has put here beyond what it may; None where it has not."""
        files = size = 0
        for folder in self.writable:
            try:
                with _opened(str(folder)) as handle:
                    more, bytes_ = _weigh(handle)
            except PermissionError:
                return "it made a folder that cannot be listed"
            files, size = files + more, size + bytes_
        if files > _MAX_FILES:
            return f"it made more than {_MAX_FILES} files"
        return f"it filled more than {_MAX_FILE_BYTES} bytes of disk" if size > _MAX_FILE_BYTES else None


def _weigh(folder: int, files: int = 0) -> tuple[int, int]:
    """Return how many entries and bytes are below `folder`, `files` and no more than _MAX_FILES counted; a run may be changing it."""
    size = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            files += 1
            if files > _MAX_FILES:
                break
            try:
                if entry.is_dir(follow_symlinks=False):
                    with _opened(entry.name, folder) as inside:
                        files, more = _weigh(inside, files)
                else:
                    more = 512 * entry.stat(follow_symlinks=False).st_blocks
            except PermissionError:
                raise
            except OSError:  # the run has just removed it, or put something else in its place
                continue
            size += more
    return files, size


class _Paths:
    """The script's path, and the text that stands for each folder of a run in whatever the tool shows."""

    def __init__(self, folders: _Folders, name: str) -> None:
        self.folders = folders
        self.script = str(folders.code / name)
        self._texts = {
            f"{folders.work}/": "",
            str(folders.work): ".",
            str(folders.home): "~",
            str(folders.temporary): "/tmp",  # noqa: S108 -- a name to show, not a place to write
            f"{folders.code}/": "",
            str(Path(__file__).parent): "jobshelf/stub",
            sys.executable: "python",
            sys.prefix: "PYTHON",
            sys.base_prefix: "PYTHON",
        }

    def clean(self, text: str) -> str:
        """Take this machine's paths out of `text`."""
        for path, shown in self._texts.items():
            text = text.replace(path, shown)
        return text

    def environment(self) -> dict[str, str]:
        return {**_ENVIRONMENT, "HOME": str(self.folders.home), "TMPDIR": str(self.folders.temporary)}


class _Collected:
    """What the child says on its pipes (stdout, stderr, record, and the compiled script), up to the limits, and why it had to be killed."""

    def __init__(self, handles: list[int], child: int, work: _Work) -> None:
        self._handles = handles
        self._child = child
        self._work = work
        self._deadline = time.monotonic() + work.limits.wall
        self._next_look = time.monotonic() + _TICK_SECONDS
        self._data: dict[int, bytearray] = {handle: bytearray() for handle in handles}
        self._printed = 0
        self._ended: str | None = None
        self._breach: str | None = None

    def read(self) -> None:
        """Read until the child has ended; kill it where it goes beyond what it may."""
        waiting = set(self._handles)
        while waiting and self._within_limits():
            for handle in select.select(list(waiting), [], [], _TICK_SECONDS)[0]:
                if not self._take(handle):
                    waiting.discard(handle)
        for handle in self._handles:
            os.close(handle)
        while not _ends(self._child, _TICK_SECONDS) and self._within_limits():
            pass
        if self._ended or self._breach:
            os.kill(self._child, signal.SIGKILL)

    def _within_limits(self) -> bool:
        now = time.monotonic()
        if now >= self._deadline:
            self._ended = _TOO_LATE.format(self._work.limits.wall)
        elif self._printed > self._work.limits.output:
            self._ended = f"it printed more than {self._work.limits.output} bytes"
        elif len(self._data[self._handles[_RECORD]]) > MAX_RECORDING:
            self._breach = f"it wrote more than {MAX_RECORDING} bytes to the pipe of the record"
        elif now >= self._next_look:
            self._next_look = now + _TICK_SECONDS
            self._breach = _too_many_threads(self._child) or self._work.paths.folders.excess()
        return not (self._ended or self._breach)

    def _take(self, handle: int) -> bool:
        chunk = os.read(handle, _CHUNK)
        number = self._handles.index(handle)
        most = (_KEPT_OUTPUT, _KEPT_OUTPUT, MAX_RECORDING + _CHUNK, _MOST_CODE)[number]
        self._printed += len(chunk) if number < _RECORD else 0
        self._data[handle] += chunk[: max(0, most - len(self._data[handle]))]
        return bool(chunk)

    @property
    def code(self) -> bytes:
        """The compiled script; nothing if it was cut short."""
        data = b"".join(bytes(self._data[handle]) for handle in self._handles[_RECORD + 1 :])
        return b"" if self._ended or self._breach or len(data) >= _MOST_CODE else data

    def report(self, status: int, usage: resource.struct_rusage) -> dict[str, Any]:
        """Return the answer for the parent process."""
        stdout, stderr, recording = (
            bytes(self._data[handle]).decode(errors="replace") for handle in self._handles[: _RECORD + 1]
        )
        code, seconds = os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if code == FAULT and not recording:
            return {"fault": stderr}
        killed = self._ended or self._breach
        name = signal.Signals(-code).name if code < 0 and not killed else None
        clean = self._work.paths.clean
        return {
            "exit": code if code >= 0 and not killed else None,
            "ended": self._ended or _killed(name, seconds, self._work.limits),
            "breach": self._breach or _BREACHES.get(name or "") or self._work.paths.folders.excess(),
            "stdout": clean(stdout),
            "stderr": clean(stderr),
            "token": self._work.token,
            "recording": recording,
            "seconds": round(seconds, 3),
        }


def _too_many_threads(child: int) -> str | None:
    try:
        threads = Path(f"/proc/{child}/task").stat().st_nlink - 2
    except OSError:  # another system; or it has ended
        return None
    return f"it started more than {_MAX_THREADS} threads" if threads > _MAX_THREADS else None


def _wait(child: int) -> tuple[int, resource.struct_rusage]:
    _, status, usage = os.wait4(child, 0)
    return status, usage


def _ends(child: int, seconds: float) -> bool:
    """Wait at most `seconds` for the child's end; return whether it has ended. It stays to be asked for its usage."""
    try:
        handle = os.pidfd_open(child)
    except (AttributeError, OSError):  # another system, an old kernel, or a container that forbids it
        return _ends_when_asked(child, time.monotonic() + seconds)
    try:
        return bool(select.select([handle], [], [], seconds)[0])
    finally:
        os.close(handle)


def _ends_when_asked(child: int, deadline: float) -> bool:
    while not (ended := os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    return ended is not None


def _killed(name: str | None, seconds: float, limits: fence.Limits) -> str | None:
    if name == "SIGXCPU" or (name == "SIGKILL" and seconds >= limits.processor):
        return f"it used more than {limits.processor} s of processor time"
    return name and f"it was killed by {name}"


def _child(work: _Work, handles: list[int], enclosure: fence.Fence) -> NoReturn:
    """Become the fenced process that runs the script; never returns."""
    try:
        paths = work.paths
        record, *told = _take_places(handles, enclosure.ruleset)
        trace = Trace(record, work.token, paths.clean)
        _settle(work)
        fence.limit(work.limits)
        enclosure.enclose()
        if work.describe:
            _watch(capture.Recorder(trace, paths.clean))
        fence.shorten_sleep()
        if work.canary:
            fence.shorten_waits()
        fence.forget_certificates()
        watch = _watched(work, trace) if work.canary else None
        modules.install(trace, {**hub.DOUBLES, **(doubles.DOUBLES if watch else {})}, work.canary)
        fence.record_exit(trace)
        fence.Guard(trace, paths.folders.writable, enclosure, watch).stand()
    except BaseException:  # noqa: BLE001 -- a forked child must not return into the server's loop
        traceback.print_exc()
        os._exit(FAULT)
    try:
        os._exit(_execute(work, trace, watch, told))
    except BaseException:  # noqa: BLE001 -- the same; the script has made something of the interpreter fail
        os._exit(1)


def _take_places(handles: list[int], ruleset: int | None) -> list[int]:
    """Put stdout and stderr in their places and the other pipes far from them; close everything else but the ruleset."""
    os.setsid()
    stdout, stderr, *others = handles
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    high = [fcntl.fcntl(one, fcntl.F_DUPFD, min(_HIGH_HANDLE, soft - len(others))) for one in others]
    kept = sorted({2, *high, *([ruleset] if ruleset is not None else [])})
    for low, following in zip(kept, [*kept[1:], soft], strict=True):
        os.closerange(low + 1, following)
    return high


def _settle(work: _Work) -> None:
    """Give the interpreter what is this run's own; `_prepare` gave it the rest."""
    os.chdir(work.paths.folders.work)
    os.environ.clear()
    os.environ.update(work.paths.environment())
    if work.canary:
        os.environ.update(dict.fromkeys(leaks.TOKEN_VARIABLES, work.canary))
    sys.argv = [work.paths.script, *work.arguments]
    sys.dont_write_bytecode = True
    if tempfile := sys.modules.get("tempfile"):  # the same names in every run, since a message may quote them
        tempfile.tempdir = str(work.paths.folders.temporary)
        tempfile._name_sequence = map("{:08}".format, itertools.count())


def _watched(work: _Work, trace: Trace) -> leaks.Watch:
    return leaks.Watch(trace, Canary(work.canary), work.paths.script, work.paths.folders.writable)


def _watch(recorder: capture.Recorder) -> None:
    capture.watch_argparse(recorder)
    for name, classes in _CLICK_COMMANDS.items():
        for command in classes if name in sys.modules else ():
            library = "typer" if name == "typer.core" or "typer" in sys.modules else "click"
            capture.watch_click(getattr(sys.modules[name], command), library, recorder)


def _execute(work: _Work, trace: Trace, watch: leaks.Watch | None, told: list[int]) -> int:
    """Run the script as `__main__` and return its exit code, as the interpreter would have it."""
    module = types.ModuleType("__main__")
    module.__file__ = work.paths.script
    sys.modules["__main__"] = module
    error: str | None = None
    try:
        exec(_compiled(work, told), module.__dict__)  # noqa: S102 -- running the script is what this process is for
        status = 0
    except SystemExit as leaving:
        if watch:
            watch.raised(leaving)
        status = _status(leaving.code)
    except BaseException as raised:  # noqa: BLE001 -- the interpreter reports every exception this way
        if watch:
            watch.raised(raised)
        error = "".join(traceback.format_exception_only(raised)).strip().splitlines()[-1]
        traceback.print_exception(raised.with_traceback(raised.__traceback__.tb_next if raised.__traceback__ else None))
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    trace.end(error)
    return status


def _compiled(work: _Work, told: list[int]) -> types.CodeType:
    """Return the script's code, and tell it to the handles `told`, which are closed before the script can write to them."""
    if work.code:
        return marshal.loads(work.code)  # noqa: S302 -- behind the fence, and told before any of the script ran
    code = compile(work.source.removeprefix("\ufeff"), work.paths.script, "exec", dont_inherit=True)
    for handle in told:
        with os.fdopen(handle, "wb") as file:
            file.write(marshal.dumps(code))
    return code


def _status(code: object) -> int:
    if code is None:
        return 0
    if isinstance(code, int):
        return code & 0xFF
    sys.stderr.write(f"{code}\n")
    return 1


def _flush(stream: object) -> None:
    try:
        stream.flush()
    except (OSError, ValueError):  # the script has closed it
        return


def clear(folder: Path) -> None:
    """Remove all that a run has left in `folder`, however deep, whatever its names and modes; no link is followed.

    The run's process has ended: nobody changes the folder meanwhile. Folders are moved up before they are emptied, so that neither a path
    nor the stack grows with the depth.
    """
    with _opened(str(folder)) as top:
        while entries := _entries(top):
            for entry in entries:
                if not entry.is_dir(follow_symlinks=False):
                    os.unlink(entry.name, dir_fd=top)
                    continue
                os.chmod(entry.name, stat.S_IRWXU, dir_fd=top)
                with _opened(entry.name, top) as inside:
                    _empty(inside, top)
                os.rmdir(entry.name, dir_fd=top)


def _empty(inside: int, top: int) -> None:
    """Unlink the files of the folder `inside` and move its folders into `top`."""
    for entry in _entries(inside):
        if entry.is_dir(follow_symlinks=False):
            os.chmod(entry.name, stat.S_IRWXU, dir_fd=inside)  # else it cannot be moved
            os.rename(entry.name, secrets.token_hex(16), src_dir_fd=inside, dst_dir_fd=top)
        else:
            os.unlink(entry.name, dir_fd=inside)


def _entries(folder: int) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


@contextlib.contextmanager
def _opened(name: str, folder: int | None = None) -> Iterator[int]:
    handle = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
    try:
        yield handle
    finally:
        os.close(handle)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1]), int(sys.argv[2])))
