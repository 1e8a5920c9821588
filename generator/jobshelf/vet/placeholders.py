"""What the templates leave for the author to replace: functions, titles, the file name.

`PLACEHOLDERS` maps the name of a function to the bodies that templates give it, as `ast.unparse` writes them, without docstring and
comments. A test renders the templates and compares.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from jobshelf.script import Script

PLACEHOLDERS: dict[str, tuple[str, ...]] = {
    "conversation": ("return [{'role': 'user', 'content': str(row[column])}]",),
    "look_into": ("return {'columns': sorted({name for row in rows for name in row})}",),
    "make": (
        "names = sorted((path.relative_to(model).as_posix() for path in model.rglob('*') if path.is_file()))\n"
        "(folder / 'files.txt').write_text('\\n'.join(names) + '\\n', encoding='utf-8')",
    ),
    "prepare": ("return row",),
    "process": ("return {'characters': len(str(row))}",),
}
_FILE_NAME = "my-script"
# The default title, `My script`, and its like: at most four words.
_TITLE = re.compile(r"My(?: [\w-]+){1,3}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Remnant:
    """Something of the template in a script: what it is, and the 1-based line it stands on."""

    line: int
    what: str


def remnants(script: Script) -> Iterator[Remnant]:
    """Yield the file name, titles and functions of `script` that are still the template's."""
    if script.name.replace("_", "-") == _FILE_NAME:
        yield Remnant(line=1, what=f"the file name {script.name}.py")
    title = script.header.tool("jobshelf").get("title") if script.header else None
    if isinstance(title, str) and _TITLE.fullmatch(title):
        yield Remnant(line=script.header.line_of("title", table="tool.jobshelf"), what=f"the title {title!r}")
    if script.tree is None:
        return
    summary = (script.docstring or "").partition("\n")[0].removesuffix(".")
    if _TITLE.fullmatch(summary):
        yield Remnant(line=script.tree.body[0].lineno, what=f"the docstring {summary!r}")
    for node in script.tree.body:
        known = PLACEHOLDERS.get(node.name, ()) if isinstance(node, ast.FunctionDef) else ()
        if known and body_of(node) in known:
            yield Remnant(line=node.lineno, what=f"the function {node.name} as the template wrote it")


def body_of(function: ast.FunctionDef) -> str:
    """Return the statements of a function as `ast.unparse` writes them, without its docstring."""
    documented = ast.get_docstring(function, clean=False) is not None
    return "\n".join(ast.unparse(statement) for statement in function.body[documented:])
