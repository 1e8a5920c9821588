"""Which arguments of a script name what it reads and where it writes, as its own header tells."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from jobshelf.interface import Argument, captured_interface
from jobshelf.script import Script

_PLACEHOLDER = re.compile(r"\{(?P<role>input|output|model)(?::[^{}]*)?\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """The values given for the arguments of each role. `output_kind` is the kind of repository that is written."""

    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    output_kind: str = "dataset"


def find_roles(script: Script | None, arguments: Sequence[str]) -> Roles:
    """Return the roles of `arguments`, by the placeholders of the header's `rehearse` list; none where it has no list.

    The script's parser is asked in the fenced process that vet uses, nothing of the script is run here.
    """
    table = script.header.tool("jobshelf") if script is not None and script.header is not None else {}
    declared = table.get("rehearse", ())
    if script is None or not any(_PLACEHOLDER.search(word) for word in declared):
        return Roles()
    interface = captured_interface(script)
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

    kind = "model" if table.get("persists") == "hub-model" else "dataset"
    return Roles(inputs=of("input"), outputs=of("output"), models=of("model"), output_kind=kind)


def assign(known: Iterable[Argument], words: Sequence[str]) -> Mapping[str, list[str]]:
    """Return the values that `words` give to each argument, by its name, in the way of argparse.

    An option that is not known, as those that a trainer hands to TRL, is named by its word: `--max-steps` is `max_steps`.
    """
    flags = {flag: argument for argument in known for flag in argument.flags}
    positionals = [argument for argument in known if argument.kind == "positional"]
    found: dict[str, list[str]] = {}
    waiting, takes_more = "", False
    for word in words:
        flag, equals, value = word.partition("=")
        option = flags.get(flag)
        if option is not None or word.startswith("--"):
            name = option.name if option is not None else flag[2:].replace("-", "_")
            found.setdefault(name, []).extend([value] if equals else [])
            is_switch = option is not None and option.type == "bool"
            waiting = "" if equals or is_switch else name
            takes_more = option is None or option.nargs in {"*", "+"}
        elif waiting:
            found[waiting].append(word)
            waiting = waiting if takes_more else ""
        elif positionals:
            found.setdefault(positionals[0].name, []).append(word)
            if positionals[0].nargs not in {"*", "+"}:
                positionals.pop(0)
    return found
