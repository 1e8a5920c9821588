"""Turn a parser (argparse, click, typer) that a script has built into plain data, at the moment it is first used."""

from __future__ import annotations

import argparse
import datetime
import enum
import functools
import inspect
import math
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jobshelf.recording import MAX_DEPTH, MAX_NAME, Forged, read_interface
from jobshelf.stub.trace import Trace

_MAX_CHOICES = 200
_LARGEST = 1 << 63
_CLICK_TYPES = {
    "text": "str",
    "integer": "int",
    "boolean": "bool",
    "filename": "path",
    "directory": "path",
    "choice": "str",
}
_SPACES = re.compile(r"\s+")


class Recorder:
    """Sends the first command line that a script builds to the trace; later ones (subparsers) are part of it."""

    def __init__(self, trace: Trace, clean: Callable[[str], str]) -> None:
        self._trace = trace
        self._clean = clean
        self._done = False

    def seen(self, library: str, describe: Callable[[], dict[str, Any]]) -> None:
        """Record the command line unless one was recorded before."""
        if not self._done:
            self._done = True
            try:
                described = self._cleaned({"library": library, **describe()})
                read_interface(described)
            except Forged as error:  # it is too large, or is made of more than text and numbers
                self._trace.record("unreadable", f"{library}: {error}")
            except (
                AttributeError,
                KeyError,
                TypeError,
                ValueError,
            ) as error:  # a parser that does more than we know of
                self._trace.record("unreadable", self._clean(f"{library}: {type(error).__name__}: {error}")[:MAX_NAME])
            else:
                self._trace.record("interface", described)

    def _cleaned(self, value: object) -> object:
        if isinstance(value, str):
            return self._clean(value)
        if isinstance(value, dict):
            return {key: self._cleaned(item) for key, item in value.items()}
        return [self._cleaned(item) for item in value] if isinstance(value, list) else value


def watch_argparse(recorder: Recorder) -> None:
    """Record an ArgumentParser when it parses or prints its help."""

    def before(method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def wrapper(self: argparse.ArgumentParser, *arguments: object, **keywords: object) -> object:
            recorder.seen("argparse", lambda: _argparse_command(self))
            return method(self, *arguments, **keywords)

        return wrapper

    for name in ("parse_known_args", "parse_known_intermixed_args", "print_help", "print_usage", "error"):
        setattr(argparse.ArgumentParser, name, before(getattr(argparse.ArgumentParser, name)))


def watch_click(command: type, library: str, recorder: Recorder) -> None:
    """Record a command of click, or of typer, which carries its own copy of click, when it is run."""
    main = command.main

    @functools.wraps(main)
    def wrapper(self: object, *arguments: object, **keywords: object) -> object:
        recorder.seen(library, lambda: _click_command(self, keywords.get("prog_name") or Path(sys.argv[0]).name))
        return main(self, *arguments, **keywords)

    command.main = wrapper


def _argparse_command(parser: argparse.ArgumentParser) -> dict[str, Any]:
    exclusive = {id(action): number for number, action in _exclusive(parser)}
    actions = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    groups = [action for action in actions if isinstance(action, argparse._SubParsersAction)]
    arguments = [_argparse_argument(parser, action, exclusive) for action in actions if action not in groups]
    return {
        "prog": parser.prog,
        "description": _text(parser, parser.description),
        "arguments": arguments,
        "commands": [command for group in groups for command in _subparsers(group)],
    }


def _exclusive(parser: argparse.ArgumentParser) -> Iterator[tuple[int, argparse.Action]]:
    for number, group in enumerate(parser._mutually_exclusive_groups, start=1):
        for action in group._group_actions:
            yield number, action


def _subparsers(group: argparse._SubParsersAction) -> Iterator[dict[str, Any]]:
    summaries = {action.dest: action.help for action in group._choices_actions}
    seen: set[int] = set()
    for name, parser in group.choices.items():
        if id(parser) not in seen:
            seen.add(id(parser))
            yield {"name": name, "help": summaries.get(name) or "", **_argparse_command(parser)}


def _argparse_argument(
    parser: argparse.ArgumentParser, action: argparse.Action, exclusive: dict[int, int]
) -> dict[str, Any]:
    switch = action.nargs == 0 or isinstance(action, argparse.BooleanOptionalAction)
    return {
        "name": action.dest,
        "kind": "option" if action.option_strings else "positional",
        "flags": list(action.option_strings),
        "metavar": " ".join(action.metavar) if isinstance(action.metavar, tuple) else action.metavar,
        "type": _argparse_type(action, switch),
        "choices": None if action.choices is None else [_plain(item) for item in _ordered(action.choices)],
        "default": None if action.default is argparse.SUPPRESS else _plain(action.default),
        "nargs": None if switch else action.nargs,
        "required": bool(action.required),
        "repeated": isinstance(action, (argparse._AppendAction, argparse._CountAction)),
        "exclusive": exclusive.get(id(action)),
        "hidden": action.help is argparse.SUPPRESS,
        "help": "" if action.help is argparse.SUPPRESS else _argparse_help(parser, action),
    }


def _argparse_type(action: argparse.Action, switch: bool) -> str:
    if isinstance(action, argparse._CountAction):
        return "int"
    if isinstance(action, argparse._VersionAction) or switch:
        return "bool"
    return "str" if action.type is None else _callable_name(action.type)


def _argparse_help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    if not action.help:
        return ""
    try:
        return _one_line(parser._get_formatter()._expand_help(action))
    except (KeyError, TypeError, ValueError):  # a lone % in a help text; --help itself will fail on it
        return _one_line(action.help)


def _click_command(command: object, prog: str) -> dict[str, Any]:
    own = [parameter for parameter in command.params if parameter.name not in {"install_completion", "show_completion"}]
    commands = getattr(command, "commands", {})
    return {
        "prog": prog,
        "description": inspect.cleandoc(command.help or ""),
        "arguments": [_click_argument(parameter) for parameter in own],
        "commands": [
            {"name": name, "help": _one_line(item.help or ""), **_click_command(item, name)}
            for name, item in commands.items()
        ],
    }


def _click_argument(parameter: object) -> dict[str, Any]:
    option = parameter.param_type_name == "option"
    choices, type_name = _click_type(parameter)
    switch = bool(getattr(parameter, "is_flag", False))
    return {
        "name": parameter.name,
        "kind": "option" if option else "positional",
        "flags": [*parameter.opts, *parameter.secondary_opts] if option else [],
        "metavar": parameter.metavar,
        "type": "bool" if switch else type_name,
        "choices": None if choices is None else [_plain(item) for item in choices],
        "default": _click_default(parameter.default),
        "nargs": None if switch or parameter.nargs == 1 else ("*" if parameter.nargs == -1 else parameter.nargs),
        "required": bool(parameter.required),
        "repeated": bool(getattr(parameter, "multiple", False) or getattr(parameter, "count", False)),
        "exclusive": None,
        "hidden": bool(getattr(parameter, "hidden", False)),
        "help": _one_line(getattr(parameter, "help", None) or ""),
    }


def _click_type(parameter: object) -> tuple[Any, str]:
    """Return the choices and the name of a parameter's type; typer keeps an annotation where click keeps a type."""
    if not hasattr(parameter, "type_descriptor"):
        name = parameter.type.name
        return getattr(parameter.type, "choices", None), _CLICK_TYPES.get(name, name)
    annotation = parameter.type_descriptor.annotation
    annotation = next(iter(typing.get_args(annotation)), annotation)
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return list(annotation), "str"
    return None, _callable_name(annotation)


def _click_default(default: object) -> object:
    unset = isinstance(default, enum.Enum) and default.name == "UNSET"
    return None if unset or callable(default) else _plain(default)


def _plain(value: object, depth: int = MAX_DEPTH) -> object:
    """Return `value` as JSON knows it, the same in every run; what JSON does not know becomes text."""
    if isinstance(value, enum.Enum):
        return _plain(value.value, depth)
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return value if abs(value) < _LARGEST else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (list, tuple, set, frozenset, range)) and depth:
        return [_plain(item, depth - 1) for item in _ordered(value)]
    if isinstance(value, dict) and depth:
        return {str(key): _plain(item, depth - 1) for key, item in list(value.items())[:_MAX_CHOICES]}
    return f"<{_callable_name(value) if callable(value) else type(value).__name__}>"


def _ordered(values: object) -> list[Any]:
    listed = sorted(values, key=repr) if isinstance(values, (set, frozenset)) else list(values)
    return listed[:_MAX_CHOICES]


def _callable_name(function: object) -> str:
    name = getattr(function, "__name__", None) or type(function).__name__
    return {"PosixPath": "path", "Path": "path", "FileType": "file"}.get(name, name)


def _text(parser: argparse.ArgumentParser, text: str | None) -> str:
    if not text or text is argparse.SUPPRESS:
        return ""
    return inspect.cleandoc(text.replace("%(prog)s", parser.prog))


def _one_line(text: str) -> str:
    return _SPACES.sub(" ", text).strip()
