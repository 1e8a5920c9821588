"""The methods that `dataclasses` writes for a script: compiled in one run, known in the next ones.

Compiling them is half of what a run of a large script costs. A run tells which texts it had to compile; the warmed process compiles
them too, executes none of them, and hands the code to the runs that it forks afterwards.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from types import CodeType
from typing import Any

from jobshelf.stub.compiling import compiled

_MAX_TEXT = 1 << 16
_MAX_TEXTS = 2_000


def use(known: Mapping[str, CodeType]) -> list[str]:
    """Have `dataclasses` take code from `known`; return the list to which it adds the texts that were not there."""
    fresh: list[str] = []

    def execute(text: str, names: dict[str, Any], local_names: dict[str, Any]) -> None:
        code = known.get(text)
        if code is None:
            code = compile(text, "<string>", "exec", dont_inherit=True)
            fresh.append(text)
        exec(code, names, local_names)  # noqa: S102 -- in the place of the built-in one

    dataclasses.exec = execute
    return fresh


def compile_all(texts: object) -> dict[str, CodeType]:
    """Return the code of those texts that are Python; what a run says is not to be trusted."""
    code: dict[str, CodeType] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for text in texts[:_MAX_TEXTS] if isinstance(texts, list) else ():
            if isinstance(text, str) and len(text) <= _MAX_TEXT and (made := compiled(text, "<string>")) is not None:
                code[text] = made
    return code
