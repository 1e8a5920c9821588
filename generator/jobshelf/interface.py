"""A script's command line and first behaviour, seen by running it in a bare process with third-party imports stubbed.

`probe` needs no install, no network and no token: see `jobshelf.stub`. It answers: what does the parser accept, what do `--help`,
an unknown option and missing arguments lead to, and how far does the script go without a token.
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
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from jobshelf.errors import EnvironmentFault
from jobshelf.script import Script

UNKNOWN_OPTION = "--no-such-option"
MAX_BYTES = 1 << 20
_PATIENCE_SECONDS = 10.0
_CLOSING_SECONDS = 1.0
_LIMITS = {"processor": 2, "wall": 6.0, "memory": 1 << 29, "file": 1 << 22, "output": 1 << 20}
_FILE_NAME = re.compile(r"[\w.-]{1,100}\.py", re.ASCII)
_PLAUSIBLE = {"int": "1", "float": "1", "path": "./out"}
_PLACEHOLDER = re.compile(r"\{(\w+)(?::[^{}]+)?\}")
_PLAUSIBLE_TEXT = "user/name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One positional or option of a command line.

    `name` is the attribute it sets; `type` the converter's name (`str`, `int`, `bool` for a switch ...); `default` is JSON; `nargs`
    as argparse writes it (None for exactly one, or for a switch); arguments with the same `exclusive` number exclude each other.
    """

    name: str
    kind: str
    flags: tuple[str, ...]
    metavar: str | None
    type: str
    choices: tuple[Any, ...] | None
    default: Any
    nargs: int | str | None
    required: bool
    repeated: bool
    exclusive: int | None
    hidden: bool
    help: str

    def as_data(self) -> dict[str, Any]:
        """Return the argument as JSON data."""
        choices = None if self.choices is None else list(self.choices)
        return asdict(self) | {"flags": list(self.flags), "choices": choices}

    @property
    def shown(self) -> str:
        """The argument as a usage line shows it."""
        value = self.metavar or (f"{{{','.join(map(str, self.choices))}}}" if self.choices else self.name.upper())
        if self.kind == "positional":
            text = value if self.choices or self.metavar else self.name
            many = {"*": f"[{text} ...]", "+": f"{text} [{text} ...]", "?": f"[{text}]"}
            return many.get(str(self.nargs), text)
        longest = next((flag for flag in self.flags if flag.startswith("--")), self.flags[0])
        text = longest if self.type == "bool" else f"{longest} {value}"
        return text if self.required else f"[{text}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command line, or a subcommand of one (then `name` and `help` are set)."""

    name: str
    help: str
    prog: str
    description: str
    arguments: tuple[Argument, ...]
    commands: tuple[Command, ...]

    @property
    def usage(self) -> str:
        """One line, the same on every Python version and terminal: required options, options, positionals, subcommands."""
        visible = [argument for argument in self.arguments if not argument.hidden]
        options = sorted((item for item in visible if item.kind == "option"), key=lambda item: not item.required)
        shown = [item.shown for item in options] + [item.shown for item in visible if item.kind == "positional"]
        names = [f"{{{','.join(command.name for command in self.commands)}}} ..."] if self.commands else []
        return " ".join([self.prog, *shown, *names])

    @property
    def flags(self) -> frozenset[str]:
        """Every option string of this command line and of its subcommands."""
        own = {flag for argument in self.arguments for flag in argument.flags}
        return frozenset(own.union(*(command.flags for command in self.commands)))

    def every_argument(self) -> Iterator[Argument]:
        """Yield the arguments of this command line, then those of its subcommands."""
        yield from self.arguments
        for command in self.commands:
            yield from command.every_argument()

    def as_data(self) -> dict[str, Any]:
        """Return the command line as JSON data, the same in every run and on every machine."""
        named = {"name": self.name, "help": self.help} if self.name else {}
        return named | {
            "usage": self.usage,
            "description": self.description,
            "arguments": [argument.as_data() for argument in self.arguments],
            "commands": [command.as_data() for command in self.commands],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A captured command line and the library that reads it: `argparse`, `click` or `typer`."""

    library: str
    command: Command

    def as_data(self) -> dict[str, Any]:
        """Return the interface as JSON data."""
        return {"library": self.library, **self.command.as_data()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that a script did: a `call` of a stub, a `guess`, or `write`, `remove`, `process`, `network`, `signal`, `native`."""

    kind: str
    name: str
    arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of a script.

    `exit` is its exit code, None when it had to be killed (`ended` says why) or when the stubs could not follow (`stopped` says
    why). `error` is the exception that ended it. `seconds` is processor time.
    """

    arguments: tuple[str, ...]
    exit: int | None
    ended: str | None
    stopped: str | None
    error: str | None
    stdout: str
    stderr: str
    events: tuple[Event, ...]
    seconds: float

    @property
    def guesses(self) -> tuple[str, ...]:
        """The questions that stubbed values were asked and that may have been answered wrongly."""
        return tuple(event.name for event in self.events if event.kind == "guess")

    @property
    def refused(self) -> tuple[Event, ...]:
        """What the script tried on the machine and was not allowed."""
        return tuple(event for event in self.events if event.kind in {"process", "network", "signal", "native"})

    @property
    def inconclusive(self) -> str | None:
        """Why this run decides nothing; None when it does."""
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
    exactly when `interface_inconclusive` says why.
    """

    interface: Interface | None
    interface_inconclusive: str | None
    help: Run
    unknown_option: Run
    missing_required: Run | None
    without_token: Run
    declared: bool


class StubProcess:
    """The warmed process behind `probe`: started when first needed, ended by `close` or with the process that started it."""

    def __init__(self) -> None:
        if not hasattr(os, "fork"):
            raise EnvironmentFault(f"stub runs need fork, which {sys.platform} has not", fix="run it on Linux or macOS")
        self.owner = os.getpid()
        self._sent: str | None = None
        self._folder = tempfile.mkdtemp(prefix="jobshelf-stub-")
        # Not `-I`: it would ignore PYTHONHASHSEED, and with it the order of sets, hence help texts, would differ from run to run.
        # The other parts of `-I` are here: no user site, no working folder on the path, no PYTHON* variable from outside.
        self._process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-m", "jobshelf.stub.server", self._folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=self._folder,
            start_new_session=True,  # Ctrl-C is for the tool, which then ends this process
            env={"PATH": "/usr/bin:/bin", "HOME": self._folder, "LANG": "C.UTF-8", "PYTHONHASHSEED": "0"},
        )

    @property
    def alive(self) -> bool:
        """Whether this process may ask it: not after a fork of the caller, nor after its death."""
        return self.owner == os.getpid() and self._process.poll() is None

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any] | None:
        """Send one request and return its answer; None when the process died or did not answer in time.

        The source of the request before is not sent again: the process still has it.
        """
        source, told = request["source"], dict(request)
        if source == self._sent:
            del told["source"]
        self._sent = source
        try:
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        line = self._line(_LIMITS["wall"] + _PATIENCE_SECONDS)
        return json.loads(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """End the process and take its folder away."""
        if self.owner != os.getpid():
            return
        self._process.stdin.close()
        try:
            self._process.wait(_CLOSING_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _line(self, seconds: float) -> bytes:
        handle, line = self._process.stdout.fileno(), bytearray()
        while not line.endswith(b"\n") and select.select([handle], [], [], seconds)[0]:
            chunk = os.read(handle, 1 << 16)
            if not chunk:
                break
            line += chunk
        return bytes(line)


def probe(script: Script) -> Probe:
    """Run `script` in the stub process: `--help`, an unknown option, nothing at all, and its rehearsal without a token.

    Never raises for what the script does; what cannot be decided is `inconclusive` in the part concerned. Raises EnvironmentFault
    where no process can be forked.
    """
    runner = _Runner(script)
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
    )


def run_with(script: Script, arguments: Sequence[str]) -> Run:
    """Run `script` once in the stub process with `arguments`; never raises for what the script does."""
    return _Runner(script).run(arguments)


def plausible_arguments(interface: Interface | None) -> list[str]:
    """Return a command line that the parser accepts: a value for all that is required, nothing else."""
    if interface is None:
        return []
    arguments = interface.command.arguments
    options = [part for item in arguments if item.required and item.flags for part in (item.flags[-1], *_values(item))]
    return options + [part for item in arguments if item.required and not item.flags for part in _values(item)]


class _Runner:
    """Runs one script several times; after a run that had to be killed, the others are not tried."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self._request = {
            "name": _file_name(script.path),
            "source": script.text,
            "modules": imported_modules(script.tree) if script.tree else (),
            "limits": _LIMITS,
        }
        self._hopeless = _unfit(script)
        self.unreadable: str | None = None

    def run(self, arguments: Sequence[str]) -> Run:
        return self._run(arguments, describe=False)[0]

    def describe(self, arguments: Sequence[str]) -> tuple[Run, Interface | None]:
        """Run the script and take down the command line that it builds."""
        return self._run(arguments, describe=True)

    def _run(self, arguments: Sequence[str], *, describe: bool) -> tuple[Run, Interface | None]:
        if self._hopeless:
            return _not_run(arguments, self._hopeless), None
        answer = _ask({**self._request, "arguments": list(arguments), "describe": describe})
        if answer is None:
            self._hopeless = "the process that runs it died, or did not answer in time"
            return _not_run(arguments, self._hopeless), None
        described, self.unreadable = answer.pop("interface"), answer.pop("unreadable")
        events = tuple(
            Event(kind=kind, name=name, arguments=tuple(given)) for kind, name, given in answer.pop("events")
        )
        run = Run(arguments=tuple(arguments), events=events, **answer)
        if run.ended:
            self._hopeless = f"not run again, because with {' '.join(arguments) or 'no arguments'} {run.ended}"
        return run, _interface(described) if described else None


_running: StubProcess | None = None


def _ask(request: Mapping[str, Any]) -> dict[str, Any] | None:
    global _running  # noqa: PLW0603 -- one warmed process for each process that asks
    if _running is None or not _running.alive:
        if _running is not None:
            _running.close()
        _running = StubProcess()
        atexit.register(_running.close)
    answer = _running.ask(request)
    if answer is None:
        _running.close()
    return answer


def _file_name(path: str) -> str:
    name = Path(path).name
    return name if _FILE_NAME.fullmatch(name) else "script.py"


def _unfit(script: Script) -> str | None:
    if script.tree is None:
        return "the file is not Python"
    return f"the file is larger than {MAX_BYTES} bytes" if len(script.data) > MAX_BYTES else None


def _not_run(arguments: Sequence[str], reason: str) -> Run:
    return Run(
        arguments=tuple(arguments),
        exit=None,
        ended=None,
        stopped=reason,
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


def _interface(data: dict[str, Any]) -> Interface:
    return Interface(library=data.pop("library"), command=_command({"name": "", "help": "", **data}))


def _command(data: dict[str, Any]) -> Command:
    arguments = tuple(_argument(item) for item in data.pop("arguments"))
    return Command(**data | {"arguments": arguments, "commands": tuple(_command(item) for item in data["commands"])})


def _argument(data: dict[str, Any]) -> Argument:
    choices = data["choices"]
    return Argument(**data | {"flags": tuple(data["flags"]), "choices": None if choices is None else tuple(choices)})


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
