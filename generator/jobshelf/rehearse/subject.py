"""The script to rehearse: its bytes, what its header says of it, and the arguments of its smallest real run."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jobshelf.client import read_url
from jobshelf.errors import ScriptError, UsageError
from jobshelf.index import load_index
from jobshelf.rehearse.fixtures import Fixture, choose_fixture, find_fixture, find_model
from jobshelf.script import Header, Script, parse_script, read_script
from jobshelf.scripts.files import is_path, is_url
from jobshelf.shelf import find_shelf

USER = "rehearsal"
MISSING = f"{USER}/there-is-no-such-dataset"
OTHER_COLUMNS = f"{USER}/other-columns"
_PLACEHOLDER = re.compile(
    r"\{(?:(?P<what>input|output)(?::(?P<name>[^{}]+))?|(?P<model>model)(?::(?P<tiny>[^{}]+))?)\}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """A script with its rehearsal.

    `arguments` still have their placeholders, and are None when nobody said how to run it. `is_ours` says that it has a
    table `[tool.jobshelf]`, whose promises (exit codes, card) it is held to. `access` is the token that the rehearsal needs:
    none, read or write. `fixtures` are those that its arguments name.
    """

    script: Script
    header: Header
    file: str
    is_ours: bool
    arguments: tuple[str, ...] | None
    fixtures: tuple[Fixture, ...]
    names_columns: bool
    access: str
    is_shardable: bool
    variables: Mapping[str, str]

    def words(self, *, source: str | None = None) -> tuple[str, ...]:
        """Return the arguments with their placeholders filled; `source` takes the place of every input."""
        fill = _filler(self.script.tree, source)
        return tuple(_PLACEHOLDER.sub(fill, argument) for argument in self.arguments or ())

    @property
    def inputs(self) -> tuple[Fixture, ...]:
        """The data sets among its fixtures."""
        return tuple(fixture for fixture in self.fixtures if fixture.kind == "datasets")


def find_subject(target: str | Path, arguments: Sequence[str] | None = None) -> Subject:
    """Return the script at a path or URL, or of this name on the shelf; `arguments` replace those that its header declares.

    Raises UsageError for a name that nobody has, InputError or ScriptError for what is no script, EnvironmentFault for
    a URL that does not answer.
    """
    script = _read(target)
    header = script.require()
    table = header.tool("jobshelf")
    given = tuple(arguments) if arguments is not None else _declared(script, header)
    refuse_placeholder_typos(given or ())
    named = [match for argument in given or () for match in _PLACEHOLDER.finditer(argument)]
    fixtures = [_fixture(match, script.tree) for match in named if match["what"] != "output"]
    writes = len(fixtures) < len(named)
    return Subject(
        script=script,
        header=header,
        file=Path(script.path).name,
        is_ours=bool(table),
        arguments=given,
        fixtures=tuple({fixture.name: fixture for fixture in fixtures}.values()),
        names_columns=any(match["what"] == "input" and match["name"] for match in named),
        access=table.get("token", "write" if writes else "none"),
        is_shardable=table.get("shardable", False),
        variables=header.tool("hf-jobs").get("env", {}),
    )


def _read(target: str | Path) -> Script:
    text = str(target)
    if is_url(text):
        return parse_script(read_url(text).data, text.partition("?")[0])
    if isinstance(target, Path) or is_path(text):
        return read_script(Path(target))
    shelf = find_shelf()
    return read_script(shelf.catalog / load_index(shelf).find(text).file)


def _declared(script: Script, header: Header) -> tuple[str, ...] | None:
    """The header's own list, else what its inputs and outputs suggest."""
    table = header.tool("jobshelf")
    declared = table.get("rehearse")
    if declared is None:
        known = all(isinstance(table.get(key), list) for key in ("inputs", "outputs"))
        return ("{input}",) * len(table["inputs"]) + ("{output}",) * len(table["outputs"]) if known else None
    if not isinstance(declared, list) or not all(isinstance(word, str) for word in declared):
        line = header.line_of("rehearse", table="tool.jobshelf")
        fix = 'write rehearse = ["{input}", "{output}"]'
        raise ScriptError(script.path, line, found=f"rehearse = {declared!r}", expected="a list of strings", fix=fix)
    return tuple(declared)


def _fixture(match: re.Match[str], tree: ast.Module | None) -> Fixture:
    if match["model"]:
        return find_model(match["tiny"])
    return find_fixture(match["name"]) if match["name"] else choose_fixture(tree)


def _filler(tree: ast.Module | None, source: str | None) -> Callable[[re.Match[str]], str]:
    def fill(match: re.Match[str]) -> str:
        if match["what"] == "output":
            return f"{USER}/output" + (f"-{match['name']}" if match["name"] else "")
        if match["what"] == "input" and source:
            return source
        return f"{USER}/{_fixture(match, tree).name}"

    return fill


def refuse_placeholder_typos(arguments: Sequence[str]) -> None:
    """Raise UsageError for something in braces that looks like a placeholder and is none, such as `{inputs}`."""
    for argument in arguments:
        rest = _PLACEHOLDER.sub("", argument)
        if typo := re.search(r"\{\w+(?::[^{}]*)?\}", rest):
            raise UsageError(
                f"{typo[0]} is no placeholder of a rehearsal",
                fix="write {input}, {input:NAME}, {output}, {output:NAME}, {model} or {model:NAME}",
            )
