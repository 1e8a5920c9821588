"""The regular expressions of a script: compiled in one run, known in the next ones.

As with the methods of `generated`: a run tells which it had to compile, the warmed process compiles them too, and `re` has them in
its cache in every run that is forked afterwards.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Hashable
from itertools import takewhile

_MAX_TEXT = 1 << 12
_MAX_PATTERNS = 500  # of which `re` keeps 512
# Since 3.12 only the second of two caches is in the order of compiling.
_COMPILED: dict[Hashable, re.Pattern[str]] = getattr(re, "_cache2", re._cache)


def newest() -> Hashable:
    """Return the pattern that was compiled last: the mark from which `compiled_since` looks."""
    return next(reversed(_COMPILED), None)


def compiled_since(mark: Hashable) -> list[tuple[str, int]]:
    """Return the patterns over text that were compiled after `mark`, the last one first, each with its flags."""
    fresh = takewhile(lambda key: key != mark, reversed(_COMPILED))
    return [(pattern, int(flags)) for kind, pattern, flags in fresh if kind is str]


def compile_all(patterns: object) -> None:
    """Compile those that are patterns and of which nobody has to be warned; what a run says is not to be trusted."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # else only the first run of a script would show its warning
        for item in reversed(patterns[:_MAX_PATTERNS]) if isinstance(patterns, list) else ():
            match item:
                case [str(pattern), int(flags)] if len(pattern) <= _MAX_TEXT:
                    _compile(pattern, flags)


def _compile(pattern: str, flags: int) -> None:
    try:
        re.compile(pattern, flags)
    except (re.error, ValueError, OverflowError, RecursionError, MemoryError, Warning):
        return
