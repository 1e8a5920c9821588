"""UVS1xx: the PEP 723 header is there, is read by uv, and says what it seems to say.

In this family an error means that uv drops something, ignores something or refuses the script. What uv honours but is
bad practice is a warning.
"""

from __future__ import annotations

import ast
import difflib
import re
import shlex
import sys
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from jobshelf.script import CLOSING, OPENING, Header, Problem, parse_header
from jobshelf.vet.header_text import comment_run, insert_key, place_of_key, place_of_line, place_of_string, replace
from jobshelf.vet.imports import PROVIDERS, normalised, third_party
from jobshelf.vet.ruff import JOBS_PYTHON, SYNTAX, admits_some_python, minimum_python
from jobshelf.vet.rule import Audience, Edit, FixKind, Hit, Inconclusive, Severity, Tier, rule
from jobshelf.vet.rules.provenance import lies_beside
from jobshelf.vet.subject import Subject
from jobshelf.vet.uv_settings import KINDS, wrong_settings

_NEAR_OPENING = re.compile(r"\ufeff?\s*#+\s*/{2,4}\s*(script|pyproject)\b[\s:]*", re.IGNORECASE)
_NEAR_CLOSING = re.compile(r"\s*#+\s*/{2,4}\s*")
_KEYS = ("requires-python", "dependencies", "tool")
_FLOOR = (3, 11)
_VERSION = re.compile(r"3\.\d+")
_MOST_SYNTAX_ERRORS = 5


@rule(
    "UVS101",
    "header-missing-or-near-miss",
    severity=Severity.ERROR,
    tier=Tier.STATIC,
    fix=FixKind.SAFE,
    since="0.1.0",
)
def header_missing(subject: Subject) -> Iterator[Hit]:
    """The script has no header that uv reads.

    ## What it does
    Looks for the line `# /// script` as uv does: it must be exactly that, without indentation, without anything after
    it, and it must be the first place in the file where these characters occur. Lines that are almost it (a trailing
    blank, `#/// script`, `# /// Script`, `# /// pyproject`, an indented block, a byte order mark before it) are named.

    ## Why is this bad?
    uv runs such a script with exit code 0 and *without its dependencies*: the failure shows on the paid machine, at
    the first import. When the characters `# /// script` occur earlier, in a comment or a docstring, uv stops looking
    there and ignores the real header.

    ## Example
    ```python
    #/// script
    # requires-python = ">=3.11"
    # dependencies = ["polars>=2.1,<3"]
    #///
    import polars
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["polars>=2.1,<3"]
    # ///
    import polars
    ```

    ## How to fix or suppress
    `jobshelf vet --fix` rewrites a near miss. `uv add --script FILE PACKAGE ...` writes a first header, `uv init --script FILE` one
    without dependencies. A file that is not meant
    as a UV script should not be named on the command line; inside a folder, files without anything like a header are
    left alone.
    """
    text = subject.script.text
    if not text and subject.script.data:
        return
    if _uv_reads(text):
        return
    near = _near_miss(subject)
    if OPENING in subject.lines and text.find(OPENING) < subject.offset(subject.lines.index(OPENING) + 1):
        yield _shadowed(subject)
    elif near is not None:
        yield _near_miss_hit(subject, near)
    else:
        yield Hit(
            line=1,
            message="the script has no PEP 723 header, so uv installs nothing for it",
            found=f"no line that is exactly '{OPENING}'",
            expected="a header above the docstring",
            advice=_first_header(subject),
        )


def _first_header(subject: Subject) -> str:
    """Return the command that writes a first header; which versions were tried is not for `--fix` to guess."""
    imported = {one.top: one for one in third_party(subject) if not one.optional}
    names = {
        next(iter(PROVIDERS.get(name, ())), normalised(name))
        for name in imported
        if not lies_beside(subject.script.path, name)
    }
    path = shlex.quote(subject.script.path)
    return f"uv add --script {path} {' '.join(sorted(names))}" if names else f"uv init --script {path}"


def _uv_reads(text: str) -> bool:
    """Tell whether uv finds the header: it looks at the first occurrence of the opening only."""
    start = text.find(OPENING)
    if start < 0 or (start > 0 and text[start - 1] != "\n"):
        return False
    return text[start:].partition("\n")[0].removesuffix("\r") == OPENING


def _near_miss(subject: Subject) -> int | None:
    numbers = (number for number, line in enumerate(subject.lines, start=1) if _NEAR_OPENING.fullmatch(line))
    return next(numbers, None)


def _near_miss_hit(subject: Subject, line: int) -> Hit:
    in_string = line in _string_lines(subject)
    return Hit(
        **place_of_line(subject, line).span(),
        message="this line is almost a header; uv does not read it and runs the script without its dependencies",
        found=f"'{subject.lines[line - 1]}'" + (" inside a string" if in_string else ""),
        expected=f"'{OPENING}'",
        advice=f"write exactly '{OPENING}' at the start of a line, above the docstring",
        edits=() if in_string or subject.script.tree is None else _normalised(subject, line),
    )


def _shadowed(subject: Subject) -> Hit:
    header_line = subject.lines.index(OPENING) + 1
    place = subject.script.text.find(OPENING)
    line = subject.script.text.count("\n", 0, place) + 1
    return Hit(
        **place_of_line(subject, line).span(),
        message=f"uv stops looking at the first '{OPENING}', which is here, and ignores the header on line {header_line}",
        found=f"'{OPENING}' inside line {line}",
        expected="the header as the first place where these characters occur",
        advice=f"reword line {line}, or move it below the header",
    )


def _string_lines(subject: Subject) -> set[int]:

    strings = [node for node in subject.nodes(ast.Constant) if isinstance(node.value, str)]
    return {
        line for node in (*strings, *subject.nodes(ast.JoinedStr)) for line in range(node.lineno, node.end_lineno + 1)
    }


def _normalised(subject: Subject, first: int) -> tuple[Edit, ...]:
    """Return the edit that writes the comment run from line `first` to its closing line as the specification has it."""
    run = list(comment_run(subject.lines, first))
    closing = next((number for number, line in run[1:] if _NEAR_CLOSING.fullmatch(line)), first)
    inside = [_content(line) for number, line in run if first < number < closing]
    new = [OPENING, *inside, CLOSING] if closing > first else [OPENING]
    return (subject.edit_lines(first, closing, *new),)


def _content(line: str) -> str:
    body = line.strip().removeprefix("#")
    return "#" if not body.strip() else f"#{body}" if body.startswith(" ") else f"# {body.lstrip()}"


@rule(
    "UVS102",
    "header-not-at-top",
    severity=Severity.WARNING,
    tier=Tier.STATIC,
    fix=FixKind.SAFE,
    requires=("UVS101", "UVS103"),
    since="0.1.0",
)
def header_not_at_top(subject: Subject) -> Iterator[Hit]:
    """The header stands below code or inside a string.

    ## What it does
    Checks that only a shebang, comments and the docstring stand above the header, and that it is not part of a string. In
    scripts of a shelf the docstring comes below the header.

    ## Why is this bad?
    uv reads the first block wherever it is, even in the middle of a docstring, so the dependencies of a script can hide
    in its text. Whoever opens the file to see what it installs looks at the top.

    ## Example
    ```python
    \"\"\"Count rows.\"\"\"
    print("0 rows")
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    \"\"\"Count rows.\"\"\"
    print("0 rows")
    ```

    ## How to fix or suppress
    `jobshelf vet --fix` moves a block that is made of comments to the top. A block inside a string has to be moved by
    hand. To keep it: `# vet: ignore[UVS102] -- reason`.
    """
    header, tree = subject.script.header, subject.script.tree
    if header is None or tree is None or not tree.body:
        return
    in_string = header.first_line in _string_lines(subject)
    documented = bool(subject.script.docstring) and not subject.candidate and not in_string
    above = tree.body[1:] if documented else tree.body
    if not above or above[0].lineno > header.last_line:
        return
    yield Hit(
        line=header.first_line,
        end_line=header.last_line,
        message="the header is part of a string" if in_string else "the header stands below code",
        found=f"the header on line {header.first_line}, code on line {above[0].lineno}",
        expected="the header above the docstring and all code",
        advice="move the block to the top of the file",
        edits=() if in_string else _moved_to_top(subject, header),
    )


def _moved_to_top(subject: Subject, header: Header) -> tuple[Edit, ...]:
    top = next(number for number, line in enumerate(subject.lines, start=1) if not line.startswith("#"))
    if top > header.first_line:
        return ()
    block = subject.lines[header.first_line - 1 : header.last_line]
    separator = [""] if top > 1 else []
    insertion = subject.edit_lines(top, top - 1, *separator, *block)
    return insertion, subject.edit_lines(header.first_line, header.last_line)


@rule(
    "UVS103",
    "header-invalid",
    severity=Severity.ERROR,
    tier=Tier.STATIC,
    fix=FixKind.SAFE,
    since="0.1.0",
)
def header_invalid(subject: Subject) -> Iterator[Hit]:
    """The header cannot be read.

    ## What it does
    Reports a file that is not UTF-8, a header that is not closed (for example by a blank line inside it), that is not
    TOML, that occurs twice, or whose `requires-python` and `dependencies` have the wrong type. The line is that of the
    file, not of the TOML inside. TOML is read as version 1.0, as `hf`, pipx and hatch do; uv alone also takes 1.1.

    ## Why is this bad?
    Each runner does something else with such a script: uv refuses it, others run it without dependencies.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"

    # dependencies = ["polars>=2.1,<3"]
    # ///
    import polars
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    #
    # dependencies = ["polars>=2.1,<3"]
    # ///
    import polars
    ```

    ## How to fix or suppress
    `jobshelf vet --fix` mends blank lines, missing blanks after `#` and an inexact closing line. The rest is mended on
    the line that the message names.
    """
    if subject.script.header is not None or (subject.script.text and not _uv_reads(subject.script.text)):
        return
    if not subject.script.text:
        yield from (_invalid(problem, ()) for problem in subject.script.problems[:1] if subject.script.data)
        return
    _, problems = parse_header(subject.script.text)
    opening = subject.lines.index(OPENING) + 1
    closed = CLOSING in (line for _, line in _unbroken(subject, opening))
    for problem in problems:
        yield _invalid(problem, ()) if closed else _unclosed(subject, opening, problem)


def _unbroken(subject: Subject, opening: int) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(subject.lines[opening:], start=opening + 1):
        if line != "#" and not line.startswith("# "):
            return
        yield number, line


def _invalid(problem: Problem, edits: tuple[Edit, ...]) -> Hit:
    return Hit(
        line=problem.line,
        message="the header cannot be read",
        found=problem.found,
        expected=problem.expected,
        advice=problem.fix,
        edits=edits,
    )


def _unclosed(subject: Subject, opening: int, problem: Problem) -> Hit:
    breaking = opening + len(list(_unbroken(subject, opening))) + 1
    closing = next(
        (n for n, line in islice(comment_run(subject.lines, opening), 1, None) if _NEAR_CLOSING.fullmatch(line)), None
    )
    if closing is None or breaking > len(subject.lines):
        return _invalid(problem, ())
    return Hit(
        **place_of_line(subject, min(breaking, closing)).span(),
        message="the header is not closed: this line ends it before its closing line",
        found=f"'{subject.lines[min(breaking, closing) - 1]}'",
        expected=f"lines that start with '# ', then exactly '{CLOSING}'",
        advice=f"start the line with '# ', or write exactly '{CLOSING}' to close the header",
        edits=_normalised(subject, opening),
    )


@rule(
    "UVS104",
    "header-unknown-key",
    severity=Severity.ERROR,
    tier=Tier.STATIC,
    fix=FixKind.SAFE,
    requires=("UVS101", "UVS103"),
    since="0.1.0",
)
def header_unknown_key(subject: Subject) -> Iterator[Hit]:
    """The header sets something that uv ignores or refuses.

    ## What it does
    The header may hold `requires-python`, `dependencies` and `[tool.*]` tables, nothing else. Other keys are reported,
    with the one that was probably meant; so are `dependencies` that slid into a table below them, and keys and values
    of `[tool.uv]` that uv does not take.

    ## Why is this bad?
    `dependancies` and `requires_python` are ignored without a word, and the script runs without its dependencies.
    A wrong key in `[tool.uv]` stops the script before it starts.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependancies = ["polars>=2.1,<3"]
    # ///
    import polars
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["polars>=2.1,<3"]
    # ///
    import polars
    ```

    ## How to fix or suppress
    `jobshelf vet --fix` renames a key whose meaning is clear. Data of your own belongs in `[tool.<name>]`.
    """
    header = subject.script.header
    if header is None:
        return
    for key in header.table:
        if key not in _KEYS:
            yield _unknown_key(subject, header, key, _KEYS[:2], table="", where="the header")
    yield from _swallowed(subject, header)
    settings = header.tool("uv")
    for key in settings:
        if key not in KINDS:
            yield _unknown_key(subject, header, key, tuple(KINDS), table="tool.uv", where="[tool.uv]")
    for key, expected in wrong_settings(settings):
        yield Hit(
            **place_of_key(subject, header, key, table="tool.uv").span(),
            message=f"uv refuses this value of '{key}' in [tool.uv]",
            found=repr(settings[key]),
            expected=expected,
            advice=f"set {key} to {expected}",
        )


def _unknown_key(subject: Subject, header: Header, key: str, known: tuple[str, ...], *, table: str, where: str) -> Hit:
    plain = key.lower().replace("_", "-").strip()
    meant = next(iter(difflib.get_close_matches(plain, known, n=1, cutoff=0.8)), None)
    place = place_of_key(subject, header, key, table=table)
    renamed = meant is not None and meant not in (header.tool("uv") if table else header.table)
    return Hit(
        **place.span(),
        message=f"unknown key '{key}' in {where}; uv {'refuses' if table else 'ignores'} it",
        found=key,
        expected=meant or (", ".join(_KEYS) if not table else "a setting of uv"),
        advice=f"rename it to '{meant}'" if meant else "remove it, or move it into a [tool.<name>] table",
        edits=replace(subject, place, meant)
        if meant and renamed and place.end_column - place.column == len(key)
        else (),
    )


def _swallowed(subject: Subject, header: Header) -> Iterator[Hit]:
    """Keys of the header that TOML put into the table above them."""
    tool = header.table.get("tool", {})
    tables = {"tool": tool, **{f"tool.{name}": table for name, table in tool.items() if isinstance(table, dict)}}
    for name, table in tables.items():
        for key, kind in (("dependencies", list), ("requires-python", str)):
            if key not in header.table and isinstance(table.get(key), kind):
                yield Hit(
                    **place_of_key(subject, header, key, table=name).span(),
                    message=f"'{key}' belongs to [{name}] here, so uv ignores it",
                    found=f"{key} below [{name}]",
                    expected=f"{key} above every table",
                    advice=f"move it above [{name}]",
                )


@rule(
    "UVS105",
    "requires-python",
    severity=Severity.WARNING,
    tier=Tier.STATIC,
    fix=FixKind.UNSAFE,
    requires=("UVS101", "UVS103"),
    audience=Audience.SHELF,
    since="0.1.0",
)
def requires_python(subject: Subject) -> Iterator[Hit]:
    """The header does not say which Python the script needs, or says it wrongly.

    ## What it does
    `requires-python` must be there, be a valid version specifier, have a lower bound and be satisfiable. An invalid or
    unsatisfiable one is an error (uv refuses it), a missing one or a missing lower bound a warning, an upper bound a
    hint. Scripts of the shelf start at Python 3.11.

    ## Why is this bad?
    Without it uv takes whatever Python it finds first, so the script meets another Python on the Job than on the laptop.

    ## Example
    ```python
    # /// script
    # requires-python = "3.11"
    # dependencies = []
    # ///
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    ```

    ## How to fix or suppress
    `jobshelf vet --fix --unsafe-fixes` writes a lower bound. To keep it: `# vet: ignore[UVS105] -- reason`.
    """
    header = subject.script.header
    if header is None or ("requires-python" not in header.table and _swallows_python(header)):
        return
    written = header.requires_python
    if written is None:
        yield Hit(
            **place_of_line(subject, header.first_line).span(),
            message="the header does not say which Python the script needs",
            found="no requires-python",
            expected='requires-python = ">=3.11"',
            advice='add requires-python = ">=3.11"',
            edits=insert_key(subject, header, "requires-python", '">=3.11"'),
        )
        return
    place = place_of_string(subject, header, written, key="requires-python").span()
    fault = _python_fault(written, candidate=subject.candidate)
    if fault is not None:
        severity, message, bound = fault
        mended = (
            replace(subject, place_of_string(subject, header, written, key="requires-python"), bound) if bound else ()
        )
        yield Hit(
            **place,
            message=message,
            found=f'"{written}"',
            expected=f'a lower bound such as "{bound or ">=3.11"}"',
            advice=f'write requires-python = "{bound or ">=3.11"}"',
            edits=mended,
            severity=severity,
        )


def _swallows_python(header: Header) -> bool:
    return any(
        isinstance(table, dict) and "requires-python" in table for table in header.table.get("tool", {}).values()
    )


@lru_cache(maxsize=1024)
def _python_fault(written: str, *, candidate: bool) -> tuple[Severity, str, str] | None:
    """Return (severity, message, what to write instead) of a `requires-python` that is not as it should be."""
    version = _VERSION.search(written)
    try:
        versions = SpecifierSet(written)
    except InvalidSpecifier:
        return Severity.ERROR, "uv refuses this requires-python", f">={version[0]}" if version else ">=3.11"
    lowest = minimum_python(written)
    if not admits_some_python(versions):
        return Severity.ERROR, "no Python satisfies this requires-python", ""
    if lowest is None:
        return Severity.WARNING, "requires-python has no lower bound", ">=3.11"
    if candidate and lowest < _FLOOR:
        return Severity.WARNING, "scripts of the shelf start at Python 3.11", ">=3.11"
    if any(one.operator in ("<", "<=", "==", "~=", "===") for one in versions):
        fits = versions.contains(f"{JOBS_PYTHON[0]}.{JOBS_PYTHON[1]}.10")
        message = "requires-python has an upper bound" + (
            "" if fits else ", which leaves out the Python of Jobs (3.12)"
        )
        return Severity.HINT, message, f">={lowest[0]}.{lowest[1]}"
    return None


@rule(
    "UVS106",
    "syntax-too-new",
    severity=Severity.ERROR,
    tier=Tier.STATIC,
    ruff=(SYNTAX,),
    since="0.1.0",
)
def syntax_too_new(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """The source is not valid in the lowest Python that the header admits.

    ## What it does
    Has ruff parse the source as the minimum of `requires-python` (Python 3.12, that of Jobs, when there is none).

    ## Why is this bad?
    uv may choose any Python that the header admits, so the script is a SyntaxError for some of its users.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    names = ["a", "b"]
    print(f"{", ".join(names)}")
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    names = ["a", "b"]
    print(f"{', '.join(names)}")
    ```

    ## How to fix or suppress
    Write it in the older syntax, or raise `requires-python`.
    """
    errors = list({one.line: one for one in reversed(subject.ruff) if one.code == SYNTAX}.values())[::-1]
    for error in errors[:_MOST_SYNTAX_ERRORS]:
        yield Hit(
            line=error.line,
            column=error.column,
            end_line=error.end_line,
            end_column=error.end_column,
            message=error.message,
            found="a syntax error under the lowest Python of the header",
            expected="source that this Python can parse",
            advice="use the older syntax, or raise requires-python",
        )
    if not errors and subject.script.tree is None and subject.script.text:
        yield _unparsed(subject)


def _unparsed(subject: Subject) -> Hit | Inconclusive:
    """ruff is content, this Python is not: an error when the header admits this Python, else undecided."""
    header = subject.script.header
    lowest = minimum_python(header.requires_python) if header else None
    if lowest and lowest > sys.version_info[:2]:
        return Inconclusive(
            reason="the Python that runs jobshelf is too old to parse this script; its code was not looked at"
        )
    return _invalid_source(subject.script.problems[-1])


def _invalid_source(problem: Problem) -> Hit:
    return Hit(
        line=problem.line,
        message="Python cannot parse this script",
        found=problem.found,
        expected=problem.expected,
        advice=problem.fix,
    )
