"""Which arguments of a script name what it reads and where it writes, as its own header tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jobshelf.interface import Argument, probe
from jobshelf.script import Script

_PLACEHOLDER = re.compile(r"\{(?P<role>input|output|model)(?::[^{}]*)?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The values given for the arguments of each role."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()


def find_roles(script: Script | None, arguments: Sequence[str]) -> Roles:
    """Return the roles of `arguments`, by the placeholders of the header's `rehearse` list; none where it has no list.

    The script's parser is asked in the fenced process that vet uses, nothing of the script is run here.
    """
    table = script.header.tool("jobshelf") if script is not None and script.header is not None else {}
    declared = table.get("rehearse", ())
    if script is None or not any(_PLACEHOLDER.search(word) for word in declared):
        return Roles()
    interface = probe(script).interface
    if interface is None:
        return Roles()
    known = interface.command.arguments
    roles = {
        name: match["role"]
        for name, values in assign(known, declared).items()
        for value in values
        if (match := _PLACEHOLDER.search(value))
    }
    given = assign(known, arguments)

    def of(role: str) -> tuple[str, ...]:
        return tuple(value for name, values in given.items() if roles.get(name) == role for value in values)

    return Roles(inputs=of("input"), outputs=of("output"), models=of("model"))


def assign(known: Iterable[Argument], words: Sequence[str]) -> Mapping[str, list[str]]:
    """Return the values that `words` give to each argument, by its name, in the way of argparse."""
    flags = {flag: argument for argument in known for flag in argument.flags}
    positionals = [argument for argument in known if argument.kind == "positional"]
    found: dict[str, list[str]] = {}
    waiting: Argument | None = None
    for word in words:
        flag, equals, value = word.partition("=")
        option = flags.get(flag) if word.startswith("-") else None
        if option is not None:
            waiting = None if equals or option.type == "bool" else option
            found.setdefault(option.name, []).extend([value] if equals else [])
        elif waiting is not None:
            found[waiting.name].append(word)
            waiting = waiting if waiting.nargs in {"*", "+"} else None
        elif positionals:
            found.setdefault(positionals[0].name, []).append(word)
            if positionals[0].nargs not in {"*", "+"}:
                positionals.pop(0)
    return found
