"""What the tests of the shared functions have in common: how a block is loaded, and how it stops."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import module_from_spec
from types import ModuleType

import pytest

from support import READ_TOKEN, ROOT, TOKEN

BLOCKS = ROOT / "templates" / "blocks"


@cache
def _package() -> str:
    """Make the folder a package, so that `from .stop import stop` finds its sibling."""
    spec = ModuleSpec("shared_functions", None, is_package=True)
    spec.submodule_search_locations = [str(BLOCKS)]
    sys.modules[spec.name] = module_from_spec(spec)
    return spec.name


def block(name: str) -> ModuleType:
    """Return a shared function's module; all tests of one process share it."""
    return import_module(f"{_package()}.{name}")


class Stopped:
    """`stopped(call, 4)` is the one line that `call` prints when it stops with 4; no part of a token is in it."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, call: Callable[[], object], code: int) -> str:
        self._capture.readouterr()
        with pytest.raises(SystemExit) as stop:
            call()
        out, said = self._capture.readouterr()
        assert (stop.value.code, said.count("\n")) == (code, 1), said
        assert said.startswith("error: ")
        assert ". Fix: " in said
        assert not any(token[3:9] in out + said for token in (TOKEN, READ_TOKEN)), said
        return said
