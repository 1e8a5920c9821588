"""Render the texts that ship with the tool. An undefined name is an error; HTML is escaped, Markdown cells are."""

from __future__ import annotations

from typing import Any


def render(template: str, **values: Any) -> str:  # noqa: ANN401 (whatever the template needs)
    """Return the template `pages/<template>` filled with `values`."""
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("jobshelf", "pages"),
        autoescape=select_autoescape(("html", "html.jinja")),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["cell"] = cell
    return environment.get_template(template).render(**values)


def cell(text: str) -> str:
    """Return `text` as one line that neither ends a Markdown table cell nor starts a tag."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
