"""Compile a script's text in a process of its own, as a run is one: forked, fenced, limited.

The compiler is not made for hostile text: it can take all memory, all time, or fall down. And what it took for a long text would
stay with the warmed process, whose every fork would have to map it anew.
"""

from __future__ import annotations

import marshal
import os
import warnings
from types import CodeType
from typing import NoReturn

from jobshelf.stub import fence


def compiled(source: str, path: str) -> CodeType | None:
    """Return the code of `source`; None where it does not compile."""
    try:
        return compile(source, path, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError):
        return None


def compiled_apart(source: str, path: str, limits: fence.Limits, ruleset: int | None) -> CodeType | None:
    """Return the code of `source`; None where it does not compile within `limits`. Its warnings are not shown."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        _compile_into(write, source, path, limits, ruleset)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        data = pipe.read()
    _, status = os.waitpid(child, 0)
    return marshal.loads(data) if status == 0 else None  # noqa: S302 -- written by the process that we have forked


def _compile_into(handle: int, source: str, path: str, limits: fence.Limits, ruleset: int | None) -> NoReturn:
    try:
        fence.limit(limits)
        fence.enclose(ruleset)
        warnings.simplefilter("ignore")  # they would name this machine's paths on the tool's own stderr
        code = compiled(source, path)
        if code is not None:
            with os.fdopen(handle, "wb") as pipe:
                marshal.dump(code, pipe)
            os._exit(0)
    finally:
        os._exit(1)  # whatever happened: a forked child must not return into the server's loop
