"""UVS503, UVS504: under which licence the script may be used, and whether it stands by itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from jobshelf.vet.imports import third_party
from jobshelf.vet.rule import Edit, FixKind, Hit, Severity, Tier, rule
from jobshelf.vet.subject import Subject

_SPDX = re.compile(r"#\s*SPDX-License-Identifier:\s*(?P<license>\S.*?)\s*")
_EXPRESSION = re.compile(r"[A-Za-z0-9.+-]+(\s+(AND|OR|WITH)\s+[A-Za-z0-9.+-]+)*")
_MOST_BYTES = 100 * 1024
_MOST_LINES = 600


@rule("UVS503", "no-license", severity=Severity.WARNING, tier=Tier.STATIC, fix=FixKind.SAFE, since="0.1.0")
def no_license(subject: Subject) -> Iterator[Hit]:
    """The script does not say under which licence it may be used.

    ## What it does
    Looks for a comment line `SPDX-License-Identifier: <id>` above the code, and compares it with `license` in
    `[tool.jobshelf]` when that is there.

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


def _spdx_edit(subject: Subject, license_id: str) -> tuple[Edit, ...]:
    if not _EXPRESSION.fullmatch(license_id) or subject.script.text.startswith("\ufeff"):
        return ()
    first = 2 if subject.script.text.startswith("#!") else 1
    return (subject.edit_lines(first, first - 1, f"# SPDX-License-Identifier: {license_id}"),)


@rule("UVS504", "not-self-contained", severity=Severity.ERROR, tier=Tier.STATIC, since="0.1.0")
def not_self_contained(subject: Subject) -> Iterator[Hit]:
    """The script needs more than its own file, or is too large to be read.

    ## What it does
    Reports relative imports, imports of a file that lies beside the script, the use of `__file__`, changes of `sys.path`,
    and a size above 100 KiB. More than 600 lines get a hint. Fenced blocks do not count: they are the shelf's, and known.

    ## Why is this bad?
    Run from a URL, the script is alone: nothing lies beside it, and on standard input (`uv run -`) `__file__` does not
    even exist. A script that nobody can read in one sitting is trusted unread.

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
    for one in third_party(subject):
        if not one.optional and _lies_beside(subject.script.path, one.top):
            yield _alone(
                subject, one.node, f"an import of {one.top}.py, which lies beside the script", "its code in here"
            )
    for node in subject.nodes(ast.Name):
        if node.id == "__file__" and isinstance(node.ctx, ast.Load):
            yield _alone(subject, node, "the use of __file__", "no file beside the script")
    for node in subject.nodes(ast.Attribute):
        if (
            node.attr == "path"
            and isinstance(node.value, ast.Name)
            and node.value.id == "sys"
            and _changes(subject, node)
        ):
            yield _alone(subject, node, "a change of sys.path", "only declared dependencies")


def _alone(subject: Subject, node: ast.AST, found: str, expected: str) -> Hit:
    return Hit(
        **subject.span(node),
        message=f"{found}: a script that runs from a URL has only its own file",
        found=found,
        expected=expected,
        advice="put what is needed into the script, or fetch it from the Hub",
    )


def _changes(subject: Subject, node: ast.Attribute) -> bool:
    """Tell whether `sys.path` is assigned to, or one of its methods is called, here."""
    parent = subject.parent(node)
    return (
        not isinstance(node.ctx, ast.Load)
        or isinstance(parent, ast.Attribute)
        or (isinstance(parent, ast.Subscript) and not isinstance(parent.ctx, ast.Load))
    )


def _lies_beside(path: str, module: str) -> bool:
    folder = Path(path).parent
    return "://" not in path and ((folder / f"{module}.py").is_file() or (folder / module / "__init__.py").is_file())


def _size_hits(subject: Subject) -> Iterator[Hit]:
    size = len(subject.script.data) - sum(len(fence.body.encode()) for fence in subject.blocks)
    if size > _MOST_BYTES:
        shown = f"{size // 1024} KiB" if subject.script.text else f"more than {(size - 1) // 1024} KiB"
        yield _large(f"{shown} of its own", "at most 100 KiB", Severity.ERROR)
    inside = sum(fence.last_line - fence.first_line + 1 for fence in subject.blocks)
    own = len(subject.lines) - inside
    if own > _MOST_LINES:
        yield _large(f"{own} lines of its own", f"at most {_MOST_LINES}", Severity.HINT)


def _large(found: str, expected: str, severity: Severity) -> Hit:
    return Hit(
        line=1,
        message="the script is too large to be read before it is run",
        found=found,
        expected=expected,
        advice="split it, or move data out of it",
        severity=severity,
    )
