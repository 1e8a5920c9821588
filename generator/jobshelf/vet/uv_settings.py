"""What uv accepts in a script's `[tool.uv]`: the keys, and the kind of value of each (measured with uv 0.13).

uv refuses to run a script with an unknown key there, or with a value of the wrong kind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement

_BOOLEANS = (
    "native-tls system-certs offline no-cache preview no-index no-build-isolation compile-bytecode no-sources upgrade "
    "reinstall no-build no-binary"
)
_STRINGS = "required-version cache-dir index-url http-proxy https-proxy"
_LISTS = (
    "extra-index-url find-links allow-insecure-host dependency-metadata no-build-isolation-package no-sources-package "
    "upgrade-package reinstall-package no-build-package no-binary-package exclude-dependencies no-proxy"
)
_REQUIREMENTS = "override-dependencies constraint-dependencies build-constraint-dependencies"
_TABLES = "config-settings config-settings-package extra-build-dependencies extra-build-variables prerelease-package"
_COUNTS = "concurrent-downloads concurrent-builds concurrent-installs"
_WORDS = {
    "index-strategy": ("first-index", "unsafe-any-match", "unsafe-first-match", "unsafe-best-match"),
    "keyring-provider": ("disabled", "subprocess"),
    "resolution": ("highest", "lowest", "lowest-direct"),
    "prerelease": ("disallow", "allow", "if-necessary", "explicit", "if-necessary-or-explicit"),
    "fork-strategy": ("fewest", "requires-python"),
    "link-mode": ("clone", "reflink", "copy", "hardlink", "symlink"),
    "python-preference": ("only-managed", "managed", "system", "only-system"),
    "python-downloads": ("auto", "automatic", "manual", "never"),
}
_SOURCE_KEYS = frozenset(
    [
        "git",
        "subdirectory",
        "rev",
        "tag",
        "branch",
        "lfs",
        "url",
        "path",
        "editable",
        "package",
        "index",
        "workspace",
        "marker",
        "extra",
        "group",
    ]
)
_STATES = frozenset({"rev", "tag", "branch"})
_TORCH = re.compile(r"auto|cpu|xpu|cu\d+|rocm\d+(\.\d+)*")
_DURATION = re.compile(
    r"[+-]?P(?=\d|T)(\d+[WD])*(T(\d+[HMS])+)?|[+-]?(\d+ ?(w|d|h|m|s|ms|us|ns)[a-z]*,? ?)+(ago)?", re.I
)
_CALENDAR = re.compile(r"\d ?mo", re.IGNORECASE)
_Test = Callable[[Any], bool]


def parse_date(text: str) -> datetime | None:
    """Return the moment that an `exclude-newer` date or timestamp means, UTC when it says no zone; None for neither."""
    try:
        moment = datetime.fromisoformat(text.upper().partition("[")[0])
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def is_duration(text: str) -> bool:
    """Tell whether `exclude-newer` is a span of time before now (uv takes no months and years)."""
    return _DURATION.fullmatch(text) is not None and _CALENDAR.search(text) is None


def _is_date(value: object) -> bool:
    return value is False or (isinstance(value, str) and (parse_date(value) is not None or is_duration(value)))


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_index(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, dict) and isinstance(one.get("url"), str) for one in value)


def _is_requirements(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) and _is_requirement(item) for item in value)


def _is_requirement(text: str) -> bool:
    try:
        Requirement(text)
    except InvalidRequirement:
        return False
    return True


def _is_sources(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    sources = [one for entry in value.values() for one in (entry if isinstance(entry, list) else [entry])]
    return all(
        isinstance(source, dict) and source.keys() <= _SOURCE_KEYS and len(source.keys() & _STATES) <= 1
        for source in sources
    )


def _are_dates(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(one, dict) or _is_date(one) for one in value.values())


def _kinds() -> dict[str, tuple[str, _Test]]:
    kinds: dict[str, tuple[str, _Test]] = {
        "preview-features": ("true, false or a list of names", lambda value: isinstance(value, bool | list)),
        "exclude-newer": ('a date such as "2026-11-20T00:00:00Z"', _is_date),
        "exclude-newer-package": ("a table of dates", _are_dates),
        "torch-backend": ('a word such as "auto" or "cu128"', lambda value: _matches(_TORCH, value)),
        "index": ("tables with a url", _is_index),
        "sources": (
            f"tables of {', '.join(sorted(_SOURCE_KEYS))}: at most one of rev, tag and branch",
            _is_sources,
        ),
    }
    kinds |= {key: ("true or false", lambda value: isinstance(value, bool)) for key in _BOOLEANS.split()}
    kinds |= {key: ("a string", lambda value: isinstance(value, str)) for key in _STRINGS.split()}
    kinds |= {key: ("a list", lambda value: isinstance(value, list)) for key in _LISTS.split()}
    kinds |= dict.fromkeys(_REQUIREMENTS.split(), ("a list of PEP 508 requirements", _is_requirements))
    kinds |= {key: ("a table", lambda value: isinstance(value, dict)) for key in _TABLES.split()}
    kinds |= dict.fromkeys(_COUNTS.split(), ("a number above 0", _is_count))
    kinds |= {key: (f"one of {', '.join(words)}", words.__contains__) for key, words in _WORDS.items()}
    return kinds


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


KINDS = _kinds()


def wrong_settings(table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (key, what it expects) of every known key of `[tool.uv]` whose value is of another kind."""
    for key, value in table.items():
        expected, accepts = KINDS.get(key, ("", lambda _: True))
        if not accepts(value):
            yield key, expected
