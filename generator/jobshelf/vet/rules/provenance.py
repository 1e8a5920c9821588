"""UVS503, UVS504: under which licence the script may be used, and whether it stands by itself."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from jobshelf.vet.imports import third_party
from jobshelf.vet.rule import Audience, Edit, FixKind, Hit, Severity, Tier, rule
from jobshelf.vet.subject import Subject

_SPDX = re.compile(r"#\s*SPDX-License-Identifier:\s*(?P<license>\S.*?)\s*")
_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+(\s+(AND|OR|WITH)\s+[A-Za-z0-9.+-]+)*")
# A sentence of each licence that its text or its notice has.
_LICENCE_TEXT = re.compile(
    r"licensed under the \S+|permission is hereby granted, free of charge|permission to use, copy, modify"
    r"|redistribution and use in source and binary forms|GNU (?:lesser |affero )?general public license"
    r"|subject to the terms of the Mozilla public license|apache license,? version 2\.0",
    re.IGNORECASE,
)
_SAME_FILE = frozenset({"Path", "abspath", "absolute", "expanduser", "fspath", "realpath", "resolve", "str"})
_OTHER_FILE = frozenset(
    {"dirname", "glob", "iterdir", "join", "joinpath", "parent", "parents", "replace", "rglob", "split", "splitext"}
    | {"with_name", "with_stem", "with_suffix"}
)
_MOST_BYTES = 100 * 1024
# What a person reads in one sitting.
_MOST_LINES, _MOST_READABLE_BYTES = 900, 45_000


@rule(
    "UVS503",
    "no-license",
    severity=Severity.WARNING,
    tier=Tier.STATIC,
    fix=FixKind.SAFE,
    audience=Audience.SHELF,
    since="0.1.0",
)
def no_license(subject: Subject) -> Iterator[Hit]:
    """The script does not say under which licence it may be used.

    ## What it does
    Looks for a comment line `SPDX-License-Identifier: <id>` above the code, and compares it with `license` in
    `[tool.jobshelf]` when that is there. Outside a shelf, the text or the notice of a well-known licence at the top will do.

    ## Why is this bad?
    A single file is copied without the repository around it. Without the line nobody may use, change or pass it on.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    print("hello")
    ```

    ## Use instead
    ```python
    # SPDX-License-Identifier: Apache-2.0
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    print("hello")
    ```

    ## How to fix or suppress
    Add the line at the top. `jobshelf vet --fix` does when `[tool.jobshelf] license` names the licence.
    To keep it: `# vet: ignore[UVS503] -- reason`.
    """
    if not subject.script.text:
        return
    declared = subject.script.header.tool("jobshelf").get("license") if subject.script.header else None
    found = _spdx_line(subject)
    if found is None:
        if not subject.candidate and _LICENCE_TEXT.search(_words_at_top(subject)):
            return
        yield Hit(
            line=1,
            message="the script names no licence",
            found="no SPDX-License-Identifier line",
            expected="one above the code",
            advice=f"add '# SPDX-License-Identifier: {declared or 'Apache-2.0'}' as the first line",
            edits=_spdx_edit(subject, declared) if isinstance(declared, str) else (),
        )
        return
    line, license_id = found
    wrong = not _EXPRESSION.fullmatch(license_id)
    if wrong or (isinstance(declared, str) and declared != license_id):
        yield Hit(
            line=line,
            message="this is no SPDX licence expression" if wrong else "the header names another licence",
            found=license_id,
            expected="an identifier such as Apache-2.0" if wrong else f"{declared}, as in [tool.jobshelf]",
            advice="write the identifier of https://spdx.org/licenses, the same in both places",
        )


def _spdx_line(subject: Subject) -> tuple[int, str] | None:
    for number, line in enumerate(subject.lines, start=1):
        if line.strip() and not line.startswith(("#", "\ufeff#")):
            return None
        if match := _SPDX.fullmatch(line.removeprefix("\ufeff")):
            return number, match["license"]
    return None


def _words_at_top(subject: Subject) -> str:
    """Return the comments above the code and the docstring, their words one blank apart."""
    comments = itertools.takewhile(lambda line: not line.strip() or line.startswith("#"), subject.lines)
    text = " ".join([*(line.lstrip("# ") for line in comments), subject.script.docstring])
    return " ".join(text.split())


def _spdx_edit(subject: Subject, license_id: str) -> tuple[Edit, ...]:
    if not _EXPRESSION.fullmatch(license_id) or subject.script.text.startswith("\ufeff"):
        return ()
    first = 2 if subject.script.text.startswith("#!") else 1
    return (subject.edit_lines(first, first - 1, f"# SPDX-License-Identifier: {license_id}"),)


@rule("UVS504", "not-self-contained", severity=Severity.ERROR, tier=Tier.STATIC, since="0.1.0")
def not_self_contained(subject: Subject) -> Iterator[Hit]:
    """The script needs more than its own file, or is too large to be read.

    ## What it does
    Reports relative imports, imports of a file that lies beside the script, a path built from `__file__` that leads to
    another file, changes of `sys.path`, and a size above 100 KiB. More than 900 lines or 45 kB get a hint. A script that
    reads its own text (to hash it, to start itself again) is fine. Without the Hub only relative imports are reported,
    which never work in a script; the size only on a shelf.

    ## Why is this bad?
    Run from a URL, the script is alone: nothing lies beside it. A script that nobody can read in one sitting is trusted
    unread.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    from pathlib import Path

    prompt = (Path(__file__).parent / "prompt.txt").read_text()
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # ///
    prompt = "Answer in one sentence."
    ```

    ## How to fix or suppress
    Move the neighbour's content into the script, or read it from the Hub.
    To keep it: `# vet: ignore[UVS504] -- reason`.
    """
    yield from _size_hits(subject)
    for node in subject.nodes(ast.ImportFrom):
        if node.level:
            yield _alone(subject, node, "a relative import", "an import of an installed package")
    if Audience.HUB not in subject.audiences:
        return
    for one in third_party(subject):
        if not one.optional and lies_beside(subject.script.path, one.top):
            yield _alone(
                subject, one.node, f"an import of {one.top}.py, which lies beside the script", "its code in here"
            )
    changes = list(_path_changes(subject))
    for node in _ways_to_other_files(subject):
        if node.lineno not in {change.lineno for change in changes}:
            yield _alone(subject, node, "a path from __file__ to another file", "no file beside the script")
    for node in changes:
        yield _alone(subject, node, "a change of sys.path", "only declared dependencies")


def _path_changes(subject: Subject) -> Iterator[ast.Attribute]:
    """Yield where sys.path gets another folder than the one the user works in."""
    for node in subject.nodes(ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        if (owner, node.attr) == ("sys", "path") and _changes(subject, node):
            call = next((one for one in subject.ancestors(node) if isinstance(one, ast.Call)), None)
            if call is None or "cwd()" not in ast.unparse(call):
                yield node


def _alone(subject: Subject, node: ast.AST, found: str, expected: str) -> Hit:
    return Hit(
        **subject.span(node),
        message=f"{found}: a script that runs from a URL has only its own file",
        found=found,
        expected=expected,
        advice="put what is needed into the script, or fetch it from the Hub",
    )


def _ways_to_other_files(subject: Subject) -> Iterator[ast.AST]:
    """Yield the uses of `__file__`, and of names that stand for its path, that lead to another file."""
    seen, waiting = {"__file__"}, ["__file__"]
    while waiting:
        name = waiting.pop()
        for node in subject.nodes(ast.Name):
            if node.id != name or not isinstance(node.ctx, ast.Load):
                continue
            path = _whole_path(subject, node)
            if _leads_elsewhere(subject, path):
                yield node
            elif (target := _assigned_name(subject, path)) and target not in seen:
                seen.add(target)
                waiting.append(target)


def _whole_path(subject: Subject, node: ast.expr) -> ast.expr:
    """Return the largest expression around `node` that is still the path of the same file, as `Path(__file__).resolve()` is."""
    while True:
        parent = subject.parent(node)
        if isinstance(parent, ast.Call) and node in parent.args and _last(parent.func) in _SAME_FILE:
            node = parent
        elif isinstance(parent, ast.Attribute) and parent.attr in _SAME_FILE and subject.parent(parent):
            node = subject.parent(parent)
        else:
            return node


def _leads_elsewhere(subject: Subject, path: ast.expr) -> bool:
    parent = subject.parent(path)
    if isinstance(parent, ast.Attribute):
        return parent.attr in _OTHER_FILE
    if isinstance(parent, ast.Call):
        return path in parent.args and _last(parent.func) in _OTHER_FILE
    return isinstance(parent, ast.BinOp)


def _assigned_name(subject: Subject, path: ast.expr) -> str | None:
    parent = subject.parent(path)
    if isinstance(parent, ast.Assign) and len(parent.targets) == 1 and isinstance(parent.targets[0], ast.Name):
        return parent.targets[0].id
    return parent.target.id if isinstance(parent, ast.NamedExpr) else None


def _last(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _changes(subject: Subject, node: ast.Attribute) -> bool:
    """Tell whether `sys.path` is assigned to, or one of its methods is called, here."""
    parent = subject.parent(node)
    return (
        not isinstance(node.ctx, ast.Load)
        or isinstance(parent, ast.Attribute)
        or (isinstance(parent, ast.Subscript) and not isinstance(parent.ctx, ast.Load))
    )


def lies_beside(path: str, module: str) -> bool:
    """Tell whether the module is a file or a package in the folder of the script."""
    folder = Path(path).parent
    return "://" not in path and ((folder / f"{module}.py").is_file() or (folder / module / "__init__.py").is_file())


def _size_hits(subject: Subject) -> Iterator[Hit]:
    size, lines = len(subject.script.data), len(subject.lines)
    if Audience.SHELF not in subject.audiences and subject.script.text:
        return
    if size > _MOST_BYTES:
        shown = f"{size // 1024} KiB" if subject.script.text else f"more than {(size - 1) // 1024} KiB"
        yield _large(shown, "at most 100 KiB", Severity.ERROR)
    if lines > _MOST_LINES:
        yield _large(f"{lines} lines", f"at most {_MOST_LINES}", Severity.HINT)
    elif _MOST_READABLE_BYTES < size <= _MOST_BYTES:
        yield _large(f"{size:,} bytes", f"at most {_MOST_READABLE_BYTES:,}", Severity.HINT)


def _large(found: str, expected: str, severity: Severity) -> Hit:
    return Hit(
        line=1,
        message="the script is too large to be read before it is run",
        found=found,
        expected=expected,
        advice="split it, or move data out of it",
        severity=severity,
    )
