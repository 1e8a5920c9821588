"""The metadata at the top of a README.md."""

from __future__ import annotations

import re
from typing import Any

import yaml

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*$", re.DOTALL | re.MULTILINE)


def front_matter(text: str) -> dict[str, Any] | None:
    """Return the YAML between the first two `---` lines; None when there is none.

    Raises ValueError, with the parser's own words, for what is not a YAML mapping.
    """
    match = _FRONT_MATTER.match(text)
    if match is None:
        return None
    try:
        loaded = yaml.safe_load(match.group(1))
    # PyYAML raises plain ValueError for an impossible date, RecursionError for deep nesting
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"Invalid YAML in README.md: {error}") from error
    if loaded is not None and not isinstance(loaded, dict):
        raise ValueError(f"Invalid metadata in README.md: expected a mapping, found {type(loaded).__name__}")
    return loaded
