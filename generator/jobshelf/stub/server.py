"""The warmed process: reads one request a line on stdin, forks a fenced child that runs the script, answers one line on stdout.

    python -m jobshelf.stub.server FOLDER

Request: `{"name", "source", "arguments", "modules", "limits", "describe"}`. Answer: the fields of `interface.Run` as JSON, and, where
the request says `describe`, the `interface`. A request without `source` means the one before.
The process ends when its stdin does, and takes FOLDER with it.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import importlib
import io
import itertools
import json
import os
import resource
import select
import shutil
import signal
import stat
import sys
import threading
import time
import traceback
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from jobshelf.stub import capture, compiling, fence, generated, hub, modules, patterns, syscalls
from jobshelf.stub.trace import STOPPED, Trace

_KEPT_OUTPUT = 65_536
_CHUNK = 65_536
_HIGH_HANDLE = 900
_CLICK_COMMANDS = {"click.core": ("Command",), "typer.core": ("TyperCommand", "TyperGroup")}
_POLL_SECONDS = 0.0005
_TOO_LATE = "it did not end within {:g} s"
_NOT_WARMED = frozenset({"antigravity", "idlelib", "readline", "test", "this", "tkinter", "turtle", "turtledemo"})
_ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/bin:/bin",
    "COLUMNS": "80",
    "LINES": "24",
    "NO_COLOR": "1",
    "TERM": "dumb",
}


def main(folder: Path) -> int:
    """Serve until stdin ends."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with Path(os.devnull).open("r+b") as nothing:
        os.dup2(nothing.fileno(), 0)
        os.dup2(nothing.fileno(), 1)
    server = _Server(folder)
    _prepare(folder)
    try:
        for line in requests:
            answers.write(json.dumps(server.answer(json.loads(line))).encode() + b"\n")
            answers.flush()
    finally:
        _remove(folder)
    return 0


def _prepare(folder: Path) -> None:
    """Give this process all that every run needs alike: what is done here need not be done, and copied, in each child."""
    gc.disable()  # `_warm_up` collects; a collection in a child would copy the whole heap
    os.environ.clear()
    os.environ.update(_Paths(folder / "run", "").environment())
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
    def __init__(self, folder: Path) -> None:
        self._folder = folder / "run"
        self._ruleset = syscalls.open_ruleset(folder)
        syscalls.prepared_filter()  # like the next: made once, here, not in every child
        modules.real_modules()
        self._source = ""
        self._code: types.CodeType | str = ""
        self._methods: dict[str, types.CodeType] = {}
        self._warm: set[str] = set()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self._warm_up(request["modules"])
        paths = _Paths(self._folder, request["name"])
        limits = fence.Limits(**request["limits"])
        if "source" in request:  # else it is the one of the request before
            self._source = request["source"]
            text = self._source.removeprefix("\ufeff")
            # Where the text does not compile, the run shows why.
            self._code = compiling.compiled_apart(text, paths.script, limits, self._ruleset) or text
            self._methods = {}
        paths.make(self._source)
        try:
            answer = self._run(paths, request["arguments"], limits, describe=request["describe"])
        finally:
            paths.clear()
        self._warm_up(answer.pop("imported"))
        self._methods |= generated.compile_all(answer.pop("generated"))
        patterns.compile_all(answer.pop("patterns"))
        return answer

    def _warm_up(self, names: list[str]) -> None:
        new = [name for name in names if name not in self._warm and name.partition(".")[0] not in _NOT_WARMED]
        for name in new:
            if _worth_warming(name):
                _try_import(name)
        self._warm.update(names)
        if new:
            gc.collect()
            gc.freeze()

    def _run(self, paths: _Paths, arguments: list[str], limits: fence.Limits, *, describe: bool) -> dict[str, Any]:
        pipes = [os.pipe() for _ in range(3)]
        child = os.fork()
        if child == 0:
            handles = [write for _, write in pipes]
            _child(_Work(self._code, self._methods, paths, arguments, limits, describe), handles, self._ruleset)
        for _, write in pipes:
            os.close(write)
        collected = _Collected([read for read, _ in pipes], limits)
        deadline = time.monotonic() + limits.wall
        reason = collected.read(deadline)
        status, usage, late = _wait(child, deadline if reason is None else 0.0)
        reason = reason or (_TOO_LATE.format(limits.wall) if late else None)
        return collected.report(status, usage.ru_utime + usage.ru_stime, reason, limits, paths.clean)


@dataclass(frozen=True, slots=True)
class _Work:
    """What a child has to run; `methods` is code that `dataclasses` need not compile again, `describe` asks for the interface."""

    code: types.CodeType | str
    methods: dict[str, types.CodeType]
    paths: _Paths
    arguments: list[str]
    limits: fence.Limits
    describe: bool


class _Paths:
    """The folders of one run, and the text that stands for each of them in whatever the tool shows."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.work, self.home, self.temporary = folder / "work", folder / "home", folder / "tmp"
        self.script = str(folder / "code" / name)
        self._texts = {
            f"{self.work}/": "",
            str(self.work): ".",
            str(self.home): "~",
            str(self.temporary): "/tmp",  # noqa: S108 -- a name to show, not a place to write
            f"{folder}/code/": "",
            str(Path(__file__).parent): "jobshelf/stub",
            sys.executable: "python",
            sys.prefix: "PYTHON",
            sys.base_prefix: "PYTHON",
        }

    def make(self, source: str) -> None:
        """Make the folders, unless they stand from the run before, and the script's file."""
        if not self.folder.exists():
            for path in (self.folder, self.work, self.home, self.temporary, self.folder / "code"):
                path.mkdir()
        with Path(self.script).open("x", encoding="utf-8") as file:  # never through a link that a script has left
            file.write(source)

    def clear(self) -> None:
        """Take away what the run has left: of one that left nothing only the script's file, for making folders takes time."""
        try:
            if self._untouched():
                Path(self.script).unlink()
                return
        except OSError:  # it has put something else in the place of what it was given
            pass
        _remove(self.folder)

    def _untouched(self) -> bool:
        entries = {entry.name: entry.stat(follow_symlinks=False).st_mode for entry in os.scandir(self.folder)}
        if sorted(entries) != ["code", "home", "tmp", "work"] or set(entries.values()) != {self.folder.stat().st_mode}:
            return False
        return [path.path for name in entries for path in os.scandir(self.folder / name)] == [self.script]

    def clean(self, text: str) -> str:
        """Take this machine's paths out of `text`."""
        for path, shown in self._texts.items():
            text = text.replace(path, shown)
        return text

    def environment(self) -> dict[str, str]:
        return {**_ENVIRONMENT, "HOME": str(self.home), "TMPDIR": str(self.temporary)}


class _Collected:
    """What the child says on its three pipes (stdout, stderr, trace), up to the limits."""

    def __init__(self, handles: list[int], limits: fence.Limits) -> None:
        self._handles = handles
        self._limits = limits
        self._data: dict[int, bytearray] = {handle: bytearray() for handle in handles}
        self._size = 0

    def read(self, deadline: float) -> str | None:
        """Read until the child has closed all three; return why it must be killed first, if it must."""
        waiting = set(self._handles)
        try:
            while waiting:
                ready = select.select(list(waiting), [], [], max(deadline - time.monotonic(), 0))[0]
                if not ready:
                    return _TOO_LATE.format(self._limits.wall)
                for handle in ready:
                    if not self._take(handle):
                        waiting.discard(handle)
                if self._size > self._limits.output:
                    return f"it printed more than {self._limits.output} bytes"
            return None
        finally:
            for handle in self._handles:
                os.close(handle)

    def _take(self, handle: int) -> bool:
        chunk = os.read(handle, _CHUNK)
        self._size += len(chunk) if handle != self._handles[2] else 0
        room = None if handle == self._handles[2] else _KEPT_OUTPUT - len(self._data[handle])
        self._data[handle] += chunk[:room]
        return bool(chunk)

    def report(
        self, status: int, seconds: float, reason: str | None, limits: fence.Limits, clean: Callable[[str], str]
    ) -> dict[str, Any]:
        """Return the answer for the parent process."""
        stdout, stderr, trace = (bytes(self._data[handle]).decode(errors="replace") for handle in self._handles)
        messages = list(_messages(trace))
        by_kind = dict(messages)
        stopped = by_kind.get("stop") or (_lost(messages) if os.waitstatus_to_exitcode(status) == STOPPED else None)
        end = by_kind.get("end") or {}
        return {
            "exit": None if reason or stopped else _exit_code(status),
            "ended": reason or _killed(status, seconds, limits),
            "stopped": stopped,
            "error": clean(end["error"]) if end.get("error") else None,
            "stdout": clean(stdout),
            "stderr": clean(stderr),
            "events": [value for kind, value in messages if kind == "event"],
            "interface": by_kind.get("interface"),
            "unreadable": by_kind.get("unreadable"),
            "imported": [name for name in end.get("imported", ()) if isinstance(name, str)],
            "generated": end.get("generated", []),
            "patterns": end.get("patterns", []),
            "seconds": round(seconds, 3),
        }


def _wait(child: int, deadline: float) -> tuple[int, resource.struct_rusage, bool]:
    """Wait for the child until `deadline`, then kill it; return its status, its usage, and whether it was killed."""
    late = not _ends(child, deadline)
    if late:
        os.kill(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return status, usage, late


def _ends(child: int, deadline: float) -> bool:
    """Wait until the child has ended, at most until `deadline`; return whether it has. It stays to be asked for its usage."""
    try:
        handle = os.pidfd_open(child)
    except (AttributeError, OSError):  # another system, an old kernel, or a container that forbids it
        return _ends_when_asked(child, deadline)
    try:
        return bool(select.select([handle], [], [], max(deadline - time.monotonic(), 0))[0])
    finally:
        os.close(handle)


def _ends_when_asked(child: int, deadline: float) -> bool:
    while not (ended := os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT)):
        if time.monotonic() >= deadline:
            break
        time.sleep(_POLL_SECONDS)
    return ended is not None


def _messages(text: str) -> Iterator[tuple[str, Any]]:
    for line in text.splitlines():
        try:
            kind, value = json.loads(line)
        except (ValueError, TypeError):  # half a line, written by a process that was killed
            continue
        yield kind, value


def _lost(messages: list[tuple[str, Any]]) -> str | None:
    return None if any(kind == "end" for kind, _ in messages) else "it closed the pipe that the trace is written to"


def _exit_code(status: int) -> int | None:
    code = os.waitstatus_to_exitcode(status)
    return None if code < 0 else code


def _killed(status: int, seconds: float, limits: fence.Limits) -> str | None:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return None
    if -code in (signal.SIGXCPU, signal.SIGKILL) and seconds >= limits.processor:
        return f"it used more than {limits.processor} s of processor time"
    return f"it was killed by {signal.Signals(-code).name}"


def _child(work: _Work, handles: list[int], ruleset: int | None) -> NoReturn:
    """Become the fenced process that runs the script; never returns."""
    try:
        paths = work.paths
        trace = Trace(_take_places(handles, ruleset), paths.clean)
        fence.limit(work.limits)
        enclosed = fence.enclose(ruleset)
        _settle(paths, work.arguments)
        if work.describe:
            _watch(capture.Recorder(trace, paths.clean))
        fence.shorten_sleep()
        fence.forget_certificates()
        modules.install(trace, hub.DOUBLES)
        fence.Guard(trace, paths.folder, enclosed=enclosed).stand()
        os._exit(_execute(work, trace))
    except BaseException:  # noqa: BLE001 -- a forked child must not return into the server's loop
        traceback.print_exc()
        os._exit(STOPPED)


def _take_places(handles: list[int], ruleset: int | None) -> int:
    """Put stdout and stderr in their places and the trace far from them; close everything else but the ruleset."""
    os.setsid()
    stdout, stderr, trace = handles
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    high = fcntl.fcntl(trace, fcntl.F_DUPFD, min(_HIGH_HANDLE, soft - 1))
    kept = sorted({2, high, *([ruleset] if ruleset is not None else [])})
    for low, following in zip(kept, [*kept[1:], soft], strict=True):
        os.closerange(low + 1, following)
    return high


def _settle(paths: _Paths, arguments: list[str]) -> None:
    """Give the interpreter what is this run's own; `_prepare` gave it the rest."""
    os.chdir(paths.work)
    sys.argv = [paths.script, *arguments]
    sys.dont_write_bytecode = True


def _watch(recorder: capture.Recorder) -> None:
    capture.watch_argparse(recorder)
    for name, classes in _CLICK_COMMANDS.items():
        for command in classes if name in sys.modules else ():
            library = "typer" if name == "typer.core" or "typer" in sys.modules else "click"
            capture.watch_click(getattr(sys.modules[name], command), library, recorder)


def _execute(work: _Work, trace: Trace) -> int:
    """Run the script as `__main__` and return its exit code, as the interpreter would have it."""
    module = types.ModuleType("__main__")
    module.__file__ = work.paths.script
    sys.modules["__main__"] = module
    error: str | None = None
    known, written, newest = len(sys.modules), generated.use(work.methods), patterns.newest()
    try:
        exec(work.code, module.__dict__)  # noqa: S102 -- running the script is what this process is for
        status = 0
    except SystemExit as leaving:
        status = _status(leaving.code)
    except BaseException as raised:  # noqa: BLE001 -- the interpreter reports every exception this way
        error = "".join(traceback.format_exception_only(raised)).strip().splitlines()[-1]
        traceback.print_exception(raised.with_traceback(raised.__traceback__.tb_next if raised.__traceback__ else None))
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        _flush(stream)
    # Looking at all the names would copy every page that holds one: new ones stand at the end.
    imported = list(itertools.islice(reversed(sys.modules), max(0, len(sys.modules) - known)))
    end = {
        "imported": [name for name in imported if _worth_warming(name)],
        "generated": written,
        "patterns": patterns.compiled_since(newest),
    }
    trace.record("end", {"error": error, **end})
    return status


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


def _worth_warming(name: str) -> bool:
    return name.partition(".")[0] in sys.stdlib_module_names or name.partition(".")[0] in modules.REAL


def _try_import(name: str) -> None:
    try:
        importlib.import_module(name)
    except ImportError:  # another system's module, or a light library that is not installed
        return


def _remove(folder: Path) -> None:
    def open_up(function: Callable[[str], Any], path: str, error: object) -> None:
        Path(path).parent.chmod(stat.S_IRWXU)
        if Path(path).is_dir() and not Path(path).is_symlink():
            Path(path).chmod(stat.S_IRWXU)
        function(path)

    shutil.rmtree(folder, onerror=open_up)


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
