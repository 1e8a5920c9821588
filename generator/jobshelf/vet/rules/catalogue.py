"""UVS6xx: the script fits on the shelf; and its suppressions hold."""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jobshelf.script import Header, parse_script
from jobshelf.vet.header_text import place_of_key, place_of_line
from jobshelf.vet.imports import normalised, third_party
from jobshelf.vet.placeholders import Remnant, remnants
from jobshelf.vet.rule import Audience, Edit, FixKind, Hit, Severity, Tier, registered, rule
from jobshelf.vet.subject import Subject
from jobshelf.vet.suppression import Suppression

_HEADER = ("UVS101", "UVS103")
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*|[a-z][a-z0-9]*(_[a-z0-9]+)*")
_WORD = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_RELEASE = re.compile(r"\d+(\.\d+)*")
_TIMEOUT = re.compile(r"\d+(\.\d+)?[smhd]?")
_Test = Callable[[Any], bool]
_JOBS_TEXTS = ("image", "flavor", "python", "name", "namespace", "network_group")
_MOST_TABLE_LINES = 16


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_word(value: object) -> bool:
    return isinstance(value, str) and _WORD.fullmatch(value) is not None


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(_is_word(item) for item in value)


def _is_table_of_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _one_of(*words: str) -> tuple[str, _Test]:
    return f"one of {', '.join(words)}", words.__contains__


_KINDS = ("dataset", "model", "file", "bucket", "space", "url", "webhook", "text")
_TABLE: dict[str, tuple[str, _Test]] = {
    "version": (
        "numbers and dots such as 1.0.0",
        lambda value: isinstance(value, str) and bool(_RELEASE.fullmatch(value)),
    ),
    "title": ("a short title", _is_text),
    "task": ("one lower-case word such as text-generation", _is_word),
    "tags": ("a list of lower-case words", _is_words),
    "inputs": (f"a list of {', '.join(_KINDS)}", lambda value: _is_texts(value) and set(value) <= set(_KINDS)),
    "outputs": (f"a list of {', '.join(_KINDS)}", lambda value: _is_texts(value) and set(value) <= set(_KINDS)),
    "persists": _one_of("none", "hub-dataset", "hub-model", "hub-file", "bucket", "s3", "gcs", "http"),
    "token": _one_of("none", "read", "write"),
    "license": ("an SPDX identifier", _is_text),
    "status": _one_of("stable", "preview", "deprecated", "disabled"),
    "rehearse": ("a list of arguments", _is_texts),
}
_OPTIONAL: dict[str, tuple[str, _Test]] = {
    "shardable": ("true or false", lambda value: isinstance(value, bool)),
    "aliases": ("a list of names", _is_texts),
    "replaced_by": ("the id of another script", _is_text),
    "estimate": ("a list of arguments of estimate_cost", _is_texts),
}
_JOBS: dict[str, tuple[str, _Test]] = {
    **{key: ("a string", lambda value: isinstance(value, str)) for key in _JOBS_TEXTS},
    "timeout": (
        'a duration such as "90m", or seconds',
        lambda value: (
            (isinstance(value, int) and not isinstance(value, bool))
            or (isinstance(value, str) and bool(_TIMEOUT.fullmatch(value)))
        ),
    ),
    "env": ("a table of strings", _is_table_of_texts),
    "labels": ("a table of strings", _is_table_of_texts),
    "secrets": ("a list of names", _is_texts),
    "volumes": ("a list of strings", _is_texts),
    "network_aliases": ("a list of strings", _is_texts),
}


@rule("UVS601", "catalogue-table", severity=Severity.ERROR, tier=Tier.STATIC, requires=_HEADER, since="0.1.0")
def catalogue_table(subject: Subject) -> Iterator[Hit]:
    """The tables that describe the script to the shelf or to Jobs are incomplete or wrong.

    ## What it does
    `[tool.hf-jobs]`, wherever it stands, may hold only the 12 keys that `hf jobs uv run` reads, of the right type. A
    script of the shelf has a complete `[tool.jobshelf]` of 16 lines or fewer, and the two agree: a script that needs a
    token lists `HF_TOKEN` among its secrets, one that is shardable persists.

    ## Why is this bad?
    `hf jobs uv run` refuses a script with an unknown key. The index, the page and the commands are made of this table:
    what is wrong there is wrong everywhere.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # [tool.hf-jobs]
    # flavour = "cpu-basic"
    # ///
    print("hello")
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # [tool.hf-jobs]
    # flavor = "cpu-basic"
    # ///
    print("hello")
    ```

    ## How to fix or suppress
    Mend the key that is named. To keep it: `# vet: ignore[UVS601] -- reason`.
    """
    header = subject.script.header
    if header is None:
        return
    yield from _table_hits(subject, header, "hf-jobs", _JOBS, required=())
    if not subject.candidate:
        return
    yield from _table_hits(subject, header, "jobshelf", _TABLE | _OPTIONAL, required=_TABLE)
    yield from _contradictions(subject, header)
    size = _table_lines(header)
    if size > _MOST_TABLE_LINES:
        yield _table_hit(
            subject, header, "jobshelf", "", f"{size} lines", f"{_MOST_TABLE_LINES} or fewer", Severity.WARNING
        )


def _table_hits(
    subject: Subject, header: Header, name: str, kinds: Mapping[str, tuple[str, _Test]], *, required: Iterable[str]
) -> Iterator[Hit]:
    table = header.tool(name)
    for key, value in table.items():
        if key not in kinds:
            meant = next(iter(difflib.get_close_matches(key, kinds, n=1)), None)
            expected = f"'{meant}'" if meant else f"one of {', '.join(kinds)}"
            yield _table_hit(subject, header, name, key, f"unknown key '{key}'", expected)
        elif not kinds[key][1](value):
            yield _table_hit(subject, header, name, key, f"{key} = {value!r}", kinds[key][0])
    for key in required:
        if key not in table:
            yield _table_hit(subject, header, name, "", f"no '{key}'", kinds[key][0])


def _table_hit(
    subject: Subject,
    header: Header,
    name: str,
    key: str,
    found: str,
    expected: str,
    severity: Severity | None = None,
) -> Hit:
    line = header.line_of(key, table=f"tool.{name}")
    place = place_of_key(subject, header, key, table=f"tool.{name}") if key else place_of_line(subject, line)
    return Hit(
        **place.span(),
        message=f"[tool.{name}] is not as it must be: {found}",
        found=found,
        expected=expected,
        advice=f"mend it in [tool.{name}]",
        severity=severity,
    )


def _contradictions(subject: Subject, header: Header) -> Iterator[Hit]:
    table, jobs = header.tool("jobshelf"), header.tool("hf-jobs")
    token, secrets = table.get("token"), jobs.get("secrets", [])
    if token in ("read", "write") and "HF_TOKEN" not in secrets:
        expected = 'secrets = ["HF_TOKEN"] in [tool.hf-jobs]'
        yield _table_hit(subject, header, "jobshelf", "token", f"token = {token!r} without the secret", expected)
    if table.get("persists") == "none" and table.get("shardable") is True:
        yield _table_hit(subject, header, "jobshelf", "shardable", "shardable without persistence", "false")


def _table_lines(header: Header) -> int:
    lines = [line.strip() for line in header.toml.splitlines()]
    if "[tool.jobshelf]" not in lines:
        return 0
    rest = lines[lines.index("[tool.jobshelf]") :]
    end = next((number for number, line in enumerate(rest[1:], start=1) if line.startswith("[tool.")), len(rest))
    return len([line for line in rest[:end] if line])


@rule(
    "UVS602", "name", severity=Severity.ERROR, tier=Tier.STATIC, catalogue=True, audience=Audience.SHELF, since="0.1.0"
)
def name(subject: Subject) -> Iterator[Hit]:
    """The file name cannot be the script's name for good.

    ## What it does
    A name is lower-case words joined by `-` or by `_`, not both. It must not be the name of something that the script
    imports, and it and its aliases must be the shelf's only ones of that kind, compared as PyPI compares names.

    ## Why is this bad?
    The file name is the URL. `datasets.py` shadows the package `datasets` for itself when it is run from a folder, and
    `train-sft.py` beside `train_sft.py` is a coin toss.

    ## Example
    ```python name=Train-SFT_v2.py
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # [tool.jobshelf]
    # title = "Fine-tuning"
    # ///
    print("hello")
    ```

    ## Use instead
    ```python name=train-sft-again.py
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # [tool.jobshelf]
    # title = "Fine-tuning"
    # ///
    print("hello")
    ```

    ## How to fix or suppress
    Rename the file, and keep the old name in `aliases`.
    """
    stem = subject.script.name
    if not _NAME.fullmatch(stem):
        yield _name_hit(f"'{stem}.py'", "lower-case words joined by '-' or by '_'", "rename the file")
    taken = next((one.top for one in third_party(subject) if one.top == stem.replace("-", "_")), None)
    if taken:
        yield _name_hit(f"'{stem}.py', which imports {taken}", "another name than that of an import", "rename the file")
    header = subject.script.header
    aliases = header.tool("jobshelf").get("aliases", []) if header else []
    for own in (stem, *(alias for alias in aliases if isinstance(alias, str))):
        other = _owner(subject, normalised(own))
        if other:
            yield _name_hit(f"'{own}', which {other} uses too", "a name of its own", "choose another name or alias")


def _name_hit(found: str, expected: str, advice: str) -> Hit:
    return Hit(line=1, message=f"the script's name will not do: {found}", found=found, expected=expected, advice=advice)


def _owner(subject: Subject, wanted: str) -> str | None:
    """Return the file on the shelf, other than this one, that goes by the name `wanted`."""
    if subject.shelf is None:
        return None
    here = Path(subject.script.path).absolute()
    names = _names(subject.shelf.catalog)
    return next((path.name for path, used in names if wanted in used and path.name != here.name), None)


@lru_cache(maxsize=8)
def _names(catalog: Path) -> tuple[tuple[Path, frozenset[str]], ...]:
    found = []
    for path in sorted(catalog.glob("*.py")):
        header = parse_script(path.read_bytes(), str(path)).header
        aliases = header.tool("jobshelf").get("aliases", []) if header else []
        found.append((path, frozenset(normalised(str(each)) for each in (path.stem, *aliases))))
    return tuple(found)


_MARKS = re.compile(r"TODO\((?:uvs|jobshelf)\)|@\{.*?\}@|^\s*#%[-+]?\s*(?:if|elif|else|endif|for|endfor|set|include)\b")


@rule("UVS603", "placeholder-left", severity=Severity.ERROR, tier=Tier.STATIC, since="0.1.0")
def placeholder_left(subject: Subject) -> Iterator[Hit]:
    """Something of the template is still in the script.

    ## What it does
    Lists, in one finding with their lines, the marks that templates leave for the author (`TODO(jobshelf)`), delimiters that
    were not rendered (`@{ name }@`, `#% if`, `{{ name }}` outside strings), a function that is still the template's
    placeholder, a title such as "My script" in the header or the docstring, and the file name `my-script.py`. Without a mark
    or a delimiter it is a warning.

    ## Why is this bad?
    The script looks complete and does the wrong thing, or nothing.

    ## Example
    ```python
    def process(row: dict) -> dict:
        # TODO(jobshelf): what happens to a row
        return row
    ```

    ```python
    def process(row: dict) -> dict:
        return {"characters": len(str(row))}
    ```

    ## Use instead
    ```python
    def process(row: dict) -> dict:
        return row | {"text": row["text"].strip()}
    ```

    ## How to fix or suppress
    Write what the function is for, remove the mark, and give the script a name and a title of its own. To keep it:
    `# vet: ignore[UVS603] -- reason`.
    """
    marks = list(_marks(subject))
    left = sorted([*marks, *remnants(subject.script)], key=lambda one: (one.line, one.what))
    kept = [one for one in left if any(note.covers("UVS603", one.line, one.line) for note in subject.suppressions)]
    for group in ([one for one in left if one not in kept], *([one] for one in kept)):
        if group:
            yield _left_hit(group, None if any(one in marks for one in group) else Severity.WARNING)


def _marks(subject: Subject) -> Iterator[Remnant]:
    for number, line in enumerate(subject.lines, start=1):
        if match := ("TODO(" in line or "@{" in line or "#%" in line) and _MARKS.search(line):
            yield Remnant(line=number, what=match[0].strip())
    for node in subject.nodes(ast.Set):
        inner = node.elts[0]
        if len(node.elts) == 1 and isinstance(inner, ast.Set) and isinstance(inner.elts[0], ast.Name):
            yield Remnant(line=node.lineno, what=f"{{{{{inner.elts[0].id}}}}}")


def _left_hit(left: Sequence[Remnant], severity: Severity | None) -> Hit:
    placeholders = (
        "a placeholder of the template is" if len(left) == 1 else f"{len(left)} placeholders of the template are"
    )
    return Hit(
        line=left[0].line,
        message=f"{placeholders} left",
        found=", ".join(f"{one.what} (line {one.line})" for one in left),
        expected="the script's own code, title and name",
        advice="write the code, remove the mark, and name the script after what it does",
        severity=severity,
    )


@rule("UVS604", "suppression", severity=Severity.ERROR, tier=Tier.STATIC, fix=FixKind.SAFE, since="0.1.0")
def suppression(subject: Subject) -> Iterator[Hit]:
    """A suppression has no reason, no code, or nothing to suppress.

    ## What it does
    `# vet: ignore[CODE] -- reason` at the end of a line covers the findings on that line; on a line of its own it covers
    the whole script. The reason is required. A suppression that suppresses nothing is reported, and so is one of a
    security rule, which cannot be suppressed in a script (`ignore` and `per-file-ignores` in pyproject.toml can).

    ## Why is this bad?
    A suppression without a reason cannot be reviewed, and one that outlived its finding hides the next.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    print("hello")  # vet: ignore[UVS603]
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    print("TODO(jobshelf)")  # vet: ignore[UVS603] -- prints the mark that templates leave
    ```

    ## How to fix or suppress
    Write the reason, or remove the comment; `jobshelf vet --fix` removes unused ones.
    """
    rules = registered()
    for one in subject.suppressions:
        known = rules.get(one.code)
        if known is None:
            meant = next(iter(difflib.get_close_matches(one.code, rules, n=1)), None) if one.code else None
            found = f"'{one.code}'" if one.code else "no code"
            expected = meant or "codes such as UVS202"
            yield _suppression_hit(subject, one, "a suppression of a rule that does not exist", found, expected)
        elif known.security:
            message = f"{one.code} is a security rule and cannot be suppressed in a script"
            yield _suppression_hit(subject, one, message, one.code, "the script without the finding", remove=True)
        elif not one.reason:
            yield _suppression_hit(subject, one, "a suppression without a reason", one.code, "-- and the reason")
        elif one in subject.unused:
            message = f"nothing here needs the suppression of {one.code}"
            yield _suppression_hit(subject, one, message, one.code, "no suppression", remove=True)


def _suppression_hit(
    subject: Subject, one: Suppression, message: str, found: str, expected: str, *, remove: bool = False
) -> Hit:
    return Hit(
        line=one.line,
        column=one.column,
        end_line=one.line,
        end_column=one.end_column,
        message=message,
        found=found,
        expected=expected,
        advice="write '# vet: ignore[CODE] -- reason', or remove it",
        edits=_without(subject, one) if remove else (),
    )


def _without(subject: Subject, one: Suppression) -> tuple[Edit, ...]:
    line = subject.lines[one.line - 1] if one.line <= len(subject.lines) else ""
    before, comment = line[: one.column - 1], line[one.column - 1 : one.end_column - 1]
    if one.code not in comment:  # a lone carriage return ends a line for Python, and for nobody else
        return ()
    if one.others:
        left = f"# vet: ignore[{', '.join(one.others)}]" + (f" -- {one.reason}" if one.reason else "")
        return (subject.edit_lines(one.line, one.line, before + left),)
    return (subject.edit_lines(one.line, one.line, *([before.rstrip()] if before.strip(" #") else [])),)
