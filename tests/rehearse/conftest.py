"""The script that does everything right, and how to break it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

GOOD = Path(__file__).parent / "scripts" / "count_words.py"

Broken = Callable[..., Path]


@pytest.fixture
def broken(tmp_path: Path) -> Broken:
    """`broken(("old", "new"), ...)`: the good script with these texts replaced, each of which must be there once."""

    def write(*changes: tuple[str, str]) -> Path:
        text = GOOD.read_text(encoding="utf-8")
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times"
            text = text.replace(old, new)
        path = tmp_path / GOOD.name
        path.write_text(text, encoding="utf-8")
        return path

    return write
