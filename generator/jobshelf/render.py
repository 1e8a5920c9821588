"""Render the texts that ship with the tool. An undefined name is an error; HTML is escaped, and so is Markdown, by filters.

What scripts say of themselves may come from other people's shelves: in Markdown it goes through `inline` or `fenced`.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

# Not `_` between letters, which is no emphasis and stands in many names.
_SPECIAL = re.compile(r"[\\`*\[\]|~&<>]|(?<![^\W_])_|_(?![^\W_])")
# What makes the beginning of a line a heading, a list or a rule.
_LEADING = re.compile(r"^(\d{1,9}(?=[.)])|(?=[#+=-]))")
_TICKS = re.compile("`+")


def render(template: str, **values: Any) -> str:  # noqa: ANN401 (whatever the template needs)
    """Return the template `pages/<template>` filled with `values`."""
    return _environment().get_template(template).render(**values)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("jobshelf", "pages"),
        autoescape=select_autoescape(("html", "html.jinja", "xml.jinja")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"inline": inline, "code": code, "fenced": fenced}
    return environment


def inline(text: str) -> str:
    """Return `text` as one line of Markdown that shows it: no markup, no tag, no end of a table cell."""
    return _LEADING.sub(r"\1\\", _SPECIAL.sub(lambda match: f"\\{match[0]}", one_line(text)))


def code(text: str) -> str:
    """Return `text` as a Markdown code span in a table."""
    line = one_line(text).replace("|", "\\|")
    ticks = "`" * (1 + max((len(run) for run in _TICKS.findall(line)), default=0))
    space = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{ticks}{space}{line}{space}{ticks}"


def fenced(text: str, language: str = "") -> str:
    """Return `text` as a Markdown code block, whatever it holds."""
    ticks = "`" * max(3, 1 + max((len(run) for run in _TICKS.findall(text)), default=0))
    body = "\n".join(printable(line) for line in text.splitlines())
    return f"{ticks}{language}\n{body}\n{ticks}"


def one_line(text: str) -> str:
    """Return `text` without line breaks and control characters."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return one line of text without what steers a terminal or hides text."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "\ufffd" for c in text)
