"""Read a single-file UV script once: header, docstring, syntax tree. No side effects, nothing of it is run.

The header is the inline metadata block of PEP 723 / the "Inline script metadata" specification of packaging.python.org:
the line `# /// script`, comment lines that hold TOML, the line `# ///`.
"""

from __future__ import annotations

import ast
import gc
import re
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobshelf.errors import ScriptError
from jobshelf.scripts.files import MOST_BYTES, read_file

OPENING = "# /// script"
CLOSING = "# ///"
TOO_DEEP = "code nested too deeply to be parsed"
TOO_DENSE = "more than 131,072 words and signs"
# What parsers take ever longer and ever more memory for: keys of many parts, an f-string of many fields, many small nodes.
_MOST_HEADER_BYTES = 1 << 14
_MOST_TOKENS = 1 << 17
_TOKEN = re.compile(r"\w+|[^\w\s]")
_TOML_POSITION = re.compile(r" \(at (?:line (?P<line>\d+), column \d+|end of document)\)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why a script cannot be used: the 1-based file `line`, and the three parts of a useful message."""

    line: int
    found: str
    expected: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The metadata block. `first_line` is the 1-based file line of `# /// script`, `last_line` that of `# ///`."""

    toml: str
    first_line: int
    last_line: int
    table: Mapping[str, Any]

    @property
    def requires_python(self) -> str | None:
        """The version specifier, as written."""
        return self.table.get("requires-python")

    @property
    def dependencies(self) -> tuple[str, ...]:
        """The PEP 508 requirements, as written."""
        return tuple(self.table.get("dependencies", ()))

    def tool(self, name: str) -> Mapping[str, Any]:
        """Return the table `[tool.<name>]`, empty when there is none."""
        table = self.table.get("tool", {}).get(name, {})
        return table if isinstance(table, dict) else {}

    def line_of(self, key: str, *, table: str = "") -> int:
        """Return the file line on which `key` of `[table]` is set; the header's first line when it is not."""
        current = ""
        for number, line in enumerate(self.toml.split("\n"), start=self.first_line + 1):
            if heading := re.match(r"\s*\[([^\[\]]+)\]", line):
                current = heading[1].strip()
                if current == table and not key:
                    return number
            elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
                return number
        return self.first_line


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """One parsed script. `header` and `tree` are None exactly when `problems` says why."""

    path: str
    data: bytes
    text: str
    header: Header | None
    tree: ast.Module | None
    problems: tuple[Problem, ...]

    @property
    def name(self) -> str:
        """The file name without `.py`."""
        return Path(self.path).stem

    @property
    def sha256(self) -> str:
        """Hex digest of the file's bytes."""
        import hashlib  # loads OpenSSL, and few ask

        return hashlib.sha256(self.data).hexdigest()

    @property
    def docstring(self) -> str:
        """The module's docstring, cleaned of indentation; empty when there is none."""
        return (ast.get_docstring(self.tree) if self.tree else None) or ""

    @property
    def summary(self) -> str:
        """The docstring's first line."""
        return self.docstring.partition("\n")[0]

    @property
    def too_complex(self) -> bool:
        """Whether parsers would run out of stack, time or memory; no other tool should be given the code either."""
        return any(problem.found in {TOO_DEEP, TOO_DENSE} for problem in self.problems)

    def require(self) -> Header:
        """Return the header of a sound script; raise ScriptError with the first problem of an unsound one."""
        if self.header is None or self.problems:
            first = self.problems[0]
            raise ScriptError(self.path, first.line, found=first.found, expected=first.expected, fix=first.fix)
        return self.header


def read_script(path: Path, *, shown_as: str | None = None) -> Script:
    """Read and parse the file at `path`; `shown_as` is the path that messages name.

    Raises InputError and EnvironmentFault as `read_file` does. What is wrong inside the file is in `Script.problems`.
    """
    return parse_script(read_file(path, shown_as=shown_as), shown_as or str(path))


@contextmanager
def no_collector() -> Iterator[None]:
    """Switch the cycle collector off: a syntax tree is many objects without cycles, and it looks at all of them (2x to 4x)."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def parse_script(data: bytes, path: str) -> Script:
    """Parse the bytes of a script. Never raises: everything that is wrong is listed in `problems`, by line.

    More than `MOST_BYTES` are a problem, and not looked at.
    """
    if len(data) > MOST_BYTES:
        found, expected = f"more than {MOST_BYTES >> 10} KiB", "a script of at most 100 KiB"
        problem = Problem(line=1, found=found, expected=expected, fix="move data out of the script")
        return Script(path=path, data=data, text="", header=None, tree=None, problems=(problem,))
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problem = Problem(
            line=line,
            found=f"the byte 0x{data[error.start]:02x}, which is not UTF-8",
            expected="a Python file in UTF-8",
            fix="save the file as UTF-8",
        )
        return Script(path=path, data=data, text="", header=None, tree=None, problems=(problem,))
    header, header_problems = parse_header(text)
    tree, tree_problems = _parse_tree(text)
    problems = (*header_problems, *tree_problems)
    return Script(path=path, data=data, text=text, header=header, tree=tree, problems=problems)


def parse_header(text: str) -> tuple[Header | None, tuple[Problem, ...]]:
    """Find and parse the metadata block of a script's text."""
    # Only line feeds end a line here, as in uv; str.splitlines would also split at form feeds and U+2028.
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    openings = [number for number, line in enumerate(lines, start=1) if line == OPENING]
    if not openings:
        return None, (_missing(lines),)
    block = _block_after(lines, openings[0])
    if block is None:
        return None, (_unclosed(openings[0]),)
    last_line, toml = block
    later = (number for number in openings if number > last_line)
    second = next((number for number in later if _block_after(lines, number) is not None), None)
    if second is not None:
        return None, (_duplicate(second, openings[0]),)
    return _parse_toml(toml, openings[0], last_line)


def _block_after(lines: list[str], opening: int) -> tuple[int, str] | None:
    """Return (closing line, TOML) of the block opened at 1-based line `opening`; the last `# ///` of the run closes."""
    content: list[str] = []
    for line in lines[opening:]:
        if line != "#" and not line.startswith("# "):
            break
        content.append(line)
    if CLOSING not in content:
        return None
    size = len(content) - 1 - content[::-1].index(CLOSING)
    return opening + size + 1, "".join(f"{line[2:]}\n" for line in content[:size])


def _parse_toml(toml: str, first_line: int, last_line: int) -> tuple[Header | None, tuple[Problem, ...]]:
    if len(toml) > _MOST_HEADER_BYTES:
        found, expected = f"a header of {len(toml) >> 10} KiB", f"at most {_MOST_HEADER_BYTES >> 10} KiB"
        return None, (_header_problem(first_line, found, expected, "keep only what this script needs in it"),)
    try:
        table = tomllib.loads(toml)
    except RecursionError:
        return None, (_header_problem(first_line, "a header nested too deeply", "TOML", "flatten the nested value"),)
    except ValueError as error:  # of TOML, and of numbers with too many digits
        position = _TOML_POSITION.search(str(error))
        inside = int(position["line"]) if position and position["line"] else last_line - first_line - 1
        reason = _TOML_POSITION.sub("", str(error))
        found = f"a header that is not TOML ({reason})"
        return None, (_header_problem(first_line + max(inside, 1), found, "TOML", "mend that line"),)
    header = Header(toml=toml, first_line=first_line, last_line=last_line, table=table)
    problems = tuple(_wrong_types(header))
    return (None if problems else header), problems


def _wrong_types(header: Header) -> list[Problem]:
    problems = []
    requires = header.table.get("requires-python", "")
    if not isinstance(requires, str):
        line = header.line_of("requires-python")
        problems.append(_header_problem(line, f"requires-python = {requires!r}", "a string", 'write ">=3.11"'))
    dependencies = header.table.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(item, str) for item in dependencies):
        line = header.line_of("dependencies")
        found = "dependencies that are not a list of strings"
        problems.append(_header_problem(line, found, 'a list such as ["polars>=2.1,<3"]', "quote each requirement"))
    tool = header.table.get("tool", {})
    if not isinstance(tool, dict) or not isinstance(tool.get("uv", {}), dict):
        line = header.line_of("tool")
        problems.append(_header_problem(line, "a 'tool' entry that is no table", "[tool.<name>]", "make it a table"))
    return problems


def syntax_tree(text: str) -> ast.Module:
    """Return the tree of a script's text, a byte order mark aside; raises what `ast.parse` does.

    What the parser only warns of (an unknown escape in a string) is not shown: it would pass for a warning of the tool's own.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return ast.parse(text.removeprefix("\ufeff"))


@no_collector()
def _parse_tree(text: str) -> tuple[ast.Module | None, tuple[Problem, ...]]:
    if len(text) > _MOST_TOKENS and sum(1 for _ in _TOKEN.finditer(text)) > _MOST_TOKENS:
        fix = "move data out of the script"
        return None, (_header_problem(1, TOO_DENSE, "a script that a person could read", fix),)
    try:
        return syntax_tree(text), ()
    except (RecursionError, MemoryError):
        return None, (_header_problem(1, TOO_DEEP, "code that a person could read", "split the nested expression"),)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        reason = getattr(error, "msg", None) or str(error)
        return None, (_header_problem(line, f"a syntax error ({reason})", "Python", "mend that line"),)


def _header_problem(line: int, found: str, expected: str, fix: str) -> Problem:
    return Problem(line=line, found=found, expected=expected, fix=fix)


def _missing(lines: list[str]) -> Problem:
    found = f"no line that is exactly '{OPENING}'" if any(lines) else "an empty file"
    fix = f"put '{OPENING}', the dependencies and '{CLOSING}' above the docstring (uv init --script FILE writes one)"
    return _header_problem(1, found, "a PEP 723 header", fix)


def _unclosed(opening: int) -> Problem:
    found = (
        f"a header that is not closed before the first line that does not start with '# ' (opened on line {opening})"
    )
    return _header_problem(opening, found, f"a line that is exactly '{CLOSING}'", f"close it with '{CLOSING}'")


def _duplicate(second: int, first: int) -> Problem:
    return _header_problem(second, f"a second header (the first is on line {first})", "one", "merge the two")
