"""What a stub run recorded, read from text that the script may have forged: sizes, shapes and order are checked first.

`jobshelf.stub.trace` writes it, one line a message, `TOKEN["kind", value]`; nothing but this module reads it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

MAX_RECORDING = 1 << 20
MAX_EVENTS = 2_000
MAX_ARGUMENTS = 8
MAX_NAME = 200
MAX_TEXT = 20_000
MAX_ITEMS = 500
MAX_DEPTH = 4
STOPPED, FAULT = 70, 71  # exit codes of the process that runs a script, when it ends the run itself
KINDS = frozenset({"call", "guess", "leak", "write", "remove", "process", "network", "signal", "native", "evasion"})
_LARGEST = 1 << 63
_SWITCHES = ("required", "repeated", "hidden")
_ARGUMENT_FIELDS = frozenset(
    {"name", "kind", "flags", "metavar", "type", "choices", "default", "nargs", "exclusive", "help", *_SWITCHES}
)
_COMMAND_FIELDS = frozenset({"prog", "description", "arguments", "commands"})

Item = TypeVar("Item")


class Forged(ValueError):
    """The text is not what a recorder writes; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that a script did: a `call` of a stub, a `guess`, a `leak` of the canary, or what it tried on the machine.

    The latter are `write`, `remove`, `process`, `network`, `signal` (to another process), `native` (code) and `evasion` (of the record).
    `line` is the script's, 0 where it is not known: only a run with a canary records lines.
    """

    kind: str
    name: str
    arguments: tuple[str, ...]
    line: int = 0


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
class Recording:
    """All messages of one run. `ended` says that the last one came; `stopped` is the reason of a run that ended itself."""

    events: tuple[Event, ...] = ()
    interface: Interface | None = None
    unreadable: str | None = None
    error: str | None = None
    stopped: str | None = None
    ended: bool = False


def read_recording(text: str, token: str) -> Recording:
    """Return what the lines of `text` say; a last line without its end was cut off by a kill and says nothing.

    Raises Forged for everything that a recorder with this `token` does not write.
    """
    if len(text) > MAX_RECORDING:
        raise Forged(f"it is longer than {MAX_RECORDING} characters")
    events: list[Event] = []
    others: dict[str, Any] = {}
    for line in text.split("\n")[:-1]:
        if not line.startswith(token):
            raise Forged("a line is not the recorder's")
        if others.keys() & {"end", "stop"}:
            raise Forged("it goes on after its end")
        kind, value = _sequence(_decoded(line.removeprefix(token)), "a message", _same, least=2, most=2)
        if kind == "event":
            events.append(_event(value))
        elif isinstance(kind, str) and kind in _READERS and kind not in others:
            others[kind] = _READERS[kind](value)
        else:
            raise Forged("a message is of an unknown kind, or comes twice")
        if len(events) > MAX_EVENTS:
            raise Forged(f"it has more than {MAX_EVENTS} events")
    return Recording(
        events=tuple(events),
        interface=others.get("interface"),
        unreadable=others.get("unreadable"),
        error=others.get("end"),
        stopped=others.get("stop"),
        ended=bool(others.keys() & {"end", "stop"}),
    )


def read_interface(data: object) -> Interface:
    """Return the command line that `data` (what JSON can hold) describes; raises Forged where it is none, or is too large."""
    fields = _mapping(data, "an interface", _COMMAND_FIELDS | {"library"})
    command = {name: fields[name] for name in _COMMAND_FIELDS}
    return Interface(library=_text(fields["library"]), command=_command({"name": "", "help": "", **command}, MAX_DEPTH))


def _decoded(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise Forged("a line is not JSON") from None


def _event(data: object) -> Event:
    kind, name, arguments, *line = _sequence(data, "an event", _same, least=3, most=4)
    if not isinstance(kind, str) or kind not in KINDS:
        raise Forged("an event is of an unknown kind")
    given = _sequence(arguments, "the arguments of an event", _name, most=2 * MAX_ARGUMENTS)
    return Event(kind=kind, name=_name(name), arguments=given, line=sum(map(_number, line)))


def _command(data: object, depth: int) -> Command:
    if not depth:
        raise Forged("a command line has too many levels of subcommands")
    fields = _mapping(data, "a command line", _COMMAND_FIELDS | {"name", "help"})
    return Command(
        **{name: _text(fields[name]) for name in ("name", "help", "prog", "description")},
        arguments=_sequence(fields["arguments"], "the arguments of a command line", _argument),
        commands=_sequence(fields["commands"], "the subcommands", lambda item: _command(item, depth - 1)),
    )


def _argument(data: object) -> Argument:
    fields = _mapping(data, "an argument", _ARGUMENT_FIELDS)
    if fields["kind"] not in ("option", "positional"):
        raise Forged("an argument is neither an option nor a positional")
    flags = _sequence(fields["flags"], "the flags of an argument", _text)
    if fields["kind"] == "option" and not flags:
        raise Forged("an option has no flag")
    nargs = fields["nargs"]
    return Argument(
        **{name: _text(fields[name]) for name in ("name", "kind", "type", "help")},
        **{name: _of_type(fields[name], bool) for name in _SWITCHES},
        flags=flags,
        metavar=_optional(_text, fields["metavar"]),
        choices=_optional(lambda value: _sequence(value, "choices", _plain), fields["choices"]),
        default=_plain(fields["default"]),
        nargs=_text(nargs) if isinstance(nargs, str) else _optional(_number, nargs),
        exclusive=_optional(_number, fields["exclusive"]),
    )


def _plain(value: object, depth: int = MAX_DEPTH) -> Any:  # noqa: ANN401 -- JSON
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int) and abs(value) < _LARGEST:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, (list, dict)) and len(value) <= MAX_ITEMS and depth:
        if isinstance(value, list):
            return [_plain(item, depth - 1) for item in value]
        return {_text(key): _plain(item, depth - 1) for key, item in value.items()}
    raise Forged("a value is not plain data, or is too large")


def _sequence(
    value: object, what: str, read: Callable[[Any], Item], *, least: int = 0, most: int = MAX_ITEMS
) -> tuple[Item, ...]:
    if not isinstance(value, list) or not least <= len(value) <= most:
        raise Forged(f"{what}: not a list of the right length")
    return tuple(read(item) for item in value)


def _mapping(value: object, what: str, fields: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or value.keys() != fields:
        raise Forged(f"{what} has other fields")
    return value


def _text(value: object, most: int = MAX_TEXT) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise Forged(f"a text is not one of at most {most} characters")
    return value.encode("utf-8", "replace").decode()  # half a surrogate pair could not be printed


def _name(value: object) -> str:
    return _text(value, MAX_NAME)


def _number(value: object) -> int:
    return _of_type(value, int) % _LARGEST


def _of_type(value: object, kind: type[Item]) -> Item:
    if type(value) is not kind:
        raise Forged(f"a value is not of type {kind.__name__}")
    return value


def _optional(read: Callable[[Any], Item], value: object) -> Item | None:
    return None if value is None else read(value)


def _same(value: object) -> object:
    return value


_READERS: dict[object, Callable[[Any], Any]] = {
    "interface": read_interface,
    "unreadable": _text,
    "end": lambda value: _optional(_text, value),
    "stop": _text,
}
