"""A script's command line and first behaviour, seen by running it in a bare process with third-party imports stubbed.

`probe` needs no install, no network and no token: see `jobshelf.stub`. It answers: what does the parser accept, what do `--help`,
an unknown option and missing arguments lead to, and how far does the script go without a token. `watch` says what it does with a token,
and where that comes out. What comes back from the script is read by `jobshelf.recording`.
"""

from __future__ import annotations

import ast
import atexit
import json
import os
import re
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from jobshelf.canary import Canary, new_canary
from jobshelf.errors import EnvironmentFault
from jobshelf.recording import Argument, Command, Event, Forged, Interface, Recording, read_recording
from jobshelf.script import Script

UNKNOWN_OPTION = "--no-such-option"
DRY_RUN = "--dry-run"
TEMPORARY = ("/tmp/", "~")  # noqa: S108 -- as a record names the folders of a run that are gone after it
MAX_BYTES = 1 << 20
NEWEST_LANDLOCK = 1 << 16
_PATIENCE_SECONDS = 30.0
_MAX_ANSWER = 1 << 24
_CLOSING_SECONDS = 1.0
LIMITS = {"processor": 2, "wall": 6.0, "memory": 320 << 20, "file": 1 << 22, "output": 1 << 20}
_WATCHED_LIMITS = {"wall": 3.0}  # a run that goes on among stubs waits more easily for what never comes
_WRITING = re.compile(
    r"(?:batch|create|delete|metadata|move|pipe|push|put|rm|super_squash|touch|update|upload|write)(?:_|$)"
)
_NAMED = {"network": "address", "process": "command", "remove": "file name", "write": "file name"}
_FILE_NAME = re.compile(r"[\w.-]{1,100}\.py", re.ASCII)
_PLAUSIBLE = {"int": "1", "float": "1", "path": "./out"}
_PLACEHOLDER = re.compile(r"\{(\w+)(?::[^{}]+)?\}")
_PLAUSIBLE_TEXT = "user/name"


# The ways out of a run that `jobshelf.stub.leaks` tells apart.
LEAKS = frozenset(
    {"address", "body", "command", "environment", "file", "file name", "job", "message", "other host", "output"}
    | {"published", "rows"}
)


@dataclass(frozen=True, slots=True, order=True)
class Leak:
    """A place where the canary came out: a line of the script (0: not known), and one of LEAKS."""

    line: int
    where: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a script.

    `exit` is its exit code, None when it had to be killed (`ended` says why) or when the stubs could not follow (`stopped` says
    why). `breach` says how it tried to leave the fence or to forge its record, None when it did not. `error` is the exception that ended
    it. `seconds` is processor time. `leaks` are the places where the canary came out of a run that had one.
    """

    arguments: tuple[str, ...]
    exit: int | None
    ended: str | None
    stopped: str | None
    breach: str | None
    error: str | None
    stdout: str
    stderr: str
    events: tuple[Event, ...]
    seconds: float
    leaks: tuple[Leak, ...] = ()

    @property
    def guesses(self) -> tuple[str, ...]:
        """The questions that stubbed values were asked and that may have been answered wrongly."""
        return tuple(event.name for event in self.events if event.kind == "guess")

    @property
    def hostile(self) -> tuple[Event, ...]:
        """What the script tried that an honest one has no reason to."""
        return tuple(event for event in self.events if event.kind in {"signal", "native", "evasion"})

    @property
    def inconclusive(self) -> str | None:
        """Why this run decides nothing; None when it does."""
        if self.breach:
            return self.breach
        if self.stopped:
            return self.stopped
        if self.error and self.guesses:
            return f"it ended in {self.error} after it had asked a stubbed value: {self.guesses[0]}"
        if self.ended and self.guesses:
            return f"{self.ended}, after it had asked a stubbed value: {self.guesses[0]}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """All runs of one script. `missing_required` is None when nothing is required.

    `without_token` ran with the arguments of `[tool.jobshelf] rehearse` (`declared`; `{input}` stands for a repository `user/input`),
    else with plausible ones. `interface` is None
    exactly when `interface_inconclusive` says why. `unfenced` names what this system lacks of the kernel's fence, None when it is whole.
    """

    interface: Interface | None
    interface_inconclusive: str | None
    help: Run
    unknown_option: Run
    missing_required: Run | None
    without_token: Run
    declared: bool
    unfenced: str | None

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs that took place."""
        made = (self.help, self.unknown_option, self.missing_required, self.without_token)
        return tuple(run for run in made if run is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a script did with a token: as in `Probe.without_token`, and with `--dry-run` on top.

    `dry` is None where the script has no such option, or has written nothing without it.
    """

    real: Run
    dry: Run | None

    @property
    def runs(self) -> tuple[Run, ...]:
        """Both runs, or the one."""
        return (self.real, *([self.dry] if self.dry else []))


class StubProcess:
    """The warmed process behind `probe`: started when first needed, ended by `close` or with the process that started it.

    Raises EnvironmentFault where it does not start, dies, or does not answer.
    """

    def __init__(self) -> None:
        if not hasattr(os, "fork"):
            raise EnvironmentFault(
                f"stub runs need fork, which {sys.platform} has not", fix="add --no-stub, or use Linux"
            )
        self.owner = os.getpid()
        self._sent: str | None = None
        self._folder = tempfile.mkdtemp(prefix="jobshelf-stub-")
        # Not `-I`: it would ignore PYTHONHASHSEED, and with it the order of sets, hence help texts, would differ from run to run.
        # The other parts of `-I` are here: no user site, no working folder on the path, no PYTHON* variable from outside.
        # No script can write to the working folder or the home of this process.
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-m", "jobshelf.stub.server", self._folder, str(NEWEST_LANDLOCK)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the tool, which then ends this process
            env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
        )

    @cached_property
    def missing(self) -> str | None:
        """What this system lacks of the fence, as the process says when it is ready; None when nothing."""
        return self._answer()["missing"]

    @property
    def alive(self) -> bool:
        """Whether this process may ask it: not after a fork of the caller, nor after its death."""
        return self.owner == os.getpid() and self._process.poll() is None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Send one request and return its answer.

        The source of the request before is not sent again: the process still has it.
        """
        _ = self.missing  # what it says first, before it answers
        source, told = request["source"], dict(request)
        if source == self._sent:
            del told["source"]
        self._sent = source
        try:
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed("ended") from None
        answer = self._answer()
        if "fault" in answer:
            fault = str(answer["fault"]).replace(self._folder, "")
            raise self._failed(f"could not run it: {' '.join(fault.split())[-200:]}")
        return answer

    def close(self) -> None:
        """End the process and take its folder away."""
        if self.owner != os.getpid():
            return
        with suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answer(self) -> dict[str, Any]:
        handle, line = self._process.stdout.fileno(), bytearray()
        deadline = time.monotonic() + LIMITS["wall"] + _PATIENCE_SECONDS
        while not line.endswith(b"\n"):
            if not select.select([handle], [], [], max(deadline - time.monotonic(), 0))[0]:
                raise self._failed("did not answer in time")
            chunk = os.read(handle, 1 << 16)
            if not chunk:
                raise self._failed("ended")
            if len(line) > _MAX_ANSWER:
                raise self._failed("answered with too much")
            line += chunk
        return json.loads(line)

    def _failed(self, what: str) -> EnvironmentFault:
        self._process.kill()
        self.close()
        return EnvironmentFault(
            f"the process that runs scripts with stubbed imports {what}",
            fix="run the command again, or add --no-stub and read the script yourself",
        )


def start_early() -> None:
    """Start the process behind `probe` where nothing waits for it yet: it gets ready while the caller does something else."""
    _process()


def probe(script: Script, *, unfenced: bool = False) -> Probe:
    """Run `script` in the stub process: `--help`, an unknown option, nothing at all, and its rehearsal without a token.

    Never raises for what the script does; what cannot be decided is `inconclusive` in the part concerned. Raises EnvironmentFault
    where no process can be forked or the one that runs scripts fails, and for a script from a URL on a system without the kernel's fence,
    unless `unfenced`.
    """
    runner = _Runner(script, unfenced=unfenced)
    shown, interface = runner.describe(["--help"])
    declared = _declared_arguments(script)
    arguments = declared if declared is not None else plausible_arguments(interface)
    unknown, other_interface = runner.describe([*arguments, UNKNOWN_OPTION])
    missing = runner.run([]) if interface and _requires(interface.command) else None
    interface = _steady(interface or other_interface, other_interface)
    return Probe(
        interface=interface,
        interface_inconclusive=None if interface else runner.unreadable or _why_no_interface(shown),
        help=shown,
        unknown_option=unknown,
        missing_required=missing,
        without_token=runner.run(arguments),
        declared=declared is not None,
        unfenced=runner.missing,
    )


def watch(script: Script, probe: Probe, *, unfenced: bool = False) -> Watched | None:
    """Run `script`, which `probe` has run without a token, with one that was made up for the run, and look where it comes out.

    None where a run before had to be stopped. Raises what `probe` raises.
    """
    if any(run.ended or run.breach for run in probe.runs):
        return None
    runner, arguments = _Runner(script, unfenced=unfenced), probe.without_token.arguments
    real = runner.run(arguments, canary=new_canary())
    flags = probe.interface.command.flags if probe.interface else frozenset()
    able = DRY_RUN in flags and DRY_RUN not in arguments and any(map(_writes, real.events))
    return Watched(real=real, dry=runner.run([*arguments, DRY_RUN], canary=new_canary()) if able else None)


def _writes(event: Event) -> bool:
    """Tell whether the event may be a write that lasts."""
    if event.kind == "write":
        return not event.name.startswith(TEMPORARY)
    return event.kind == "call" and _WRITING.match(event.name.rpartition(".")[2]) is not None


def run_with(script: Script, arguments: Sequence[str], *, unfenced: bool = False) -> Run:
    """Run `script` once in the stub process with `arguments`; raises what `probe` raises."""
    return _Runner(script, unfenced=unfenced).run(arguments)


def captured_interface(script: Script) -> Interface | None:
    """Return the command line of `script`; None where none was captured, or where it must not be run to see (see `probe`)."""
    return None if _refusal(script, _lacking(script)) else probe(script).interface


def plausible_arguments(interface: Interface | None) -> list[str]:
    """Return a command line that the parser accepts: a value for all that is required, nothing else."""
    if interface is None:
        return []
    arguments = interface.command.arguments
    options = [part for item in arguments if item.required and item.flags for part in (item.flags[-1], *_values(item))]
    return options + [part for item in arguments if item.required and not item.flags for part in _values(item)]


class _Runner:
    """Runs one script several times; after a run that had to be killed, the others are not tried."""

    def __init__(self, script: Script, *, unfenced: bool) -> None:
        self.missing = _lacking(script)
        refusal = None if unfenced else _refusal(script, self.missing)
        if refusal:
            raise EnvironmentFault(refusal, fix="add --no-stub, or read the script and add --unfenced")
        self._request = {
            "name": _file_name(script.path),
            "source": script.text,
            "modules": imported_modules(script.tree) if script.tree else (),
        }
        self._hopeless = _unfit(script)
        self.unreadable: str | None = None

    def run(self, arguments: Sequence[str], canary: Canary | None = None) -> Run:
        return self._run(arguments, describe=False, canary=canary)[0]

    def describe(self, arguments: Sequence[str]) -> tuple[Run, Interface | None]:
        """Run the script and take down the command line that it builds."""
        return self._run(arguments, describe=True)

    def _run(
        self, arguments: Sequence[str], *, describe: bool, canary: Canary | None = None
    ) -> tuple[Run, Interface | None]:
        if self._hopeless:
            return _not_run(arguments, self._hopeless), None
        limits = LIMITS | _WATCHED_LIMITS if canary else LIMITS
        asked = {
            "limits": limits,
            "arguments": list(arguments),
            "describe": describe,
            "canary": canary.token if canary else None,
        }
        answer = _process().ask({**self._request, **asked})
        run, recording = _read(answer, arguments, canary)
        self.unreadable = recording.unreadable
        if run.ended:
            self._hopeless = f"not run again, because with {' '.join(arguments) or 'no arguments'} {run.ended}"
        elif run.breach:
            self._hopeless = f"not run again, because {run.breach}"
        return run, recording.interface


def _read(answer: Mapping[str, Any], arguments: Sequence[str], canary: Canary | None) -> tuple[Run, Recording]:
    """Return the run that the process told of; a record that is not whole is a breach."""
    breach, status = answer["breach"], answer["exit"]
    try:
        recording = read_recording(answer["recording"], answer["token"])
    except Forged as error:
        recording = Recording()
        breach = breach or f"it forged the record of its run: {error}"
    if status is not None and not recording.ended:
        breach = breach or "it closed or replaced the pipe to the record of its run"
    run = Run(
        arguments=tuple(arguments),
        exit=None if breach or recording.stopped else status,
        ended=answer["ended"],
        stopped=recording.stopped,
        breach=breach,
        error=recording.error,
        stdout=answer["stdout"],
        stderr=answer["stderr"],
        events=tuple(event for event in recording.events if event.kind != "leak"),
        seconds=answer["seconds"],
        leaks=_leaks(answer, recording, canary) if canary else (),
    )
    return run, recording


def _leaks(answer: Mapping[str, Any], recording: Recording, canary: Canary) -> tuple[Leak, ...]:
    """Return where the canary is: in what the run recorded as a leak, in the names of what it did, and in what it printed.

    What the run says is compared with the canary again: a record that a script has written itself names no leak that is none.
    """
    found = {
        Leak(event.line, event.name)
        for event in recording.events
        if event.kind == "leak" and event.name in LEAKS and any(map(canary.shows, event.arguments))
    }
    for event in recording.events:
        if event.kind in _NAMED and canary.shows(event.name) and event.line not in {leak.line for leak in found}:
            found.add(Leak(event.line, _NAMED[event.kind]))
    printed = canary.shows(answer["stdout"]) or canary.shows(answer["stderr"])
    if printed and not any(leak.where in {"message", "output"} and leak.line for leak in found):
        found.add(Leak(0, "output"))
    elif printed:
        found.discard(Leak(0, "output"))  # the interpreter has printed a message whose line is known
    return tuple(sorted(found))


_running: StubProcess | None = None


def _process() -> StubProcess:
    global _running  # noqa: PLW0603 -- one warmed process for each process that asks
    if _running is None or not _running.alive:
        if _running is not None:
            _running.close()
        _running = StubProcess()
        atexit.register(_running.close)
    return _running


def _lacking(script: Script) -> str | None:
    """Return what this system lacks of the fence around a run of `script`; None for a script that will not be run."""
    return None if _unfit(script) else _process().missing


def _refusal(script: Script, missing: str | None) -> str | None:
    if not missing or "://" not in script.path:
        return None
    return f"{script.path} was not run: {missing}, which would keep it from this machine's files and processes"


def _file_name(path: str) -> str:
    name = Path(path).name
    return name if _FILE_NAME.fullmatch(name) else "script.py"


def _unfit(script: Script) -> str | None:
    if len(script.data) > MAX_BYTES:
        return f"the file is larger than {MAX_BYTES} bytes"
    return "the file is not Python" if script.tree is None else None


def _not_run(arguments: Sequence[str], reason: str) -> Run:
    return Run(
        arguments=tuple(arguments),
        exit=None,
        ended=None,
        stopped=reason,
        breach=None,
        error=None,
        stdout="",
        stderr="",
        events=(),
        seconds=0.0,
    )


@lru_cache(maxsize=8)
def imported_modules(tree: ast.Module) -> tuple[str, ...]:
    """Return the dotted names of the modules that a script imports, anywhere in it, sorted."""
    names: set[str] = set()
    pending: list[Any] = list(tree.body)  # statements suffice: imports are nowhere else, and most nodes are expressions
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.update([node.module] if node.module and not node.level else [])
        for part in ("body", "orelse", "finalbody", "handlers", "cases"):
            pending += getattr(node, part, None) or ()
    return tuple(sorted(names))


def _declared_arguments(script: Script) -> list[str] | None:
    declared = script.header.tool("jobshelf").get("rehearse") if script.header else None
    if not isinstance(declared, list):
        return None
    return [_PLACEHOLDER.sub(r"user/\1", str(item)) for item in declared]


def _values(argument: Argument) -> list[str]:
    value = str(argument.choices[0]) if argument.choices else _PLAUSIBLE.get(argument.type, _PLAUSIBLE_TEXT)
    if argument.type == "bool" and argument.flags:
        return []
    return [value] * (argument.nargs if isinstance(argument.nargs, int) else 1)


def _requires(command: Command) -> bool:
    return any(argument.required for argument in command.arguments)


def _steady(interface: Interface | None, other: Interface | None) -> Interface | None:
    """Return `interface` without the defaults that differ from one run to the next (a clock, a random number)."""
    if interface is None or other is None or interface == other:
        return interface
    pairs = zip(interface.command.arguments, other.command.arguments, strict=False)
    same = tuple(one if one.default == two.default else replace(one, default=None) for one, two in pairs)
    return replace(interface, command=replace(interface.command, arguments=same))


def _why_no_interface(shown: Run) -> str:
    if reason := shown.inconclusive or shown.ended:
        return reason
    if shown.error:
        return f"with --help it ended in {shown.error}"
    calls = [event.name for event in shown.events if event.kind == "call"]
    return f"no argparse, click or typer parser was used{f'; it called {calls[-1]}' if calls else ''}"
