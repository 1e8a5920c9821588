"""`run_identity`: what makes another run, and what does not, however the script is started."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from blocks.shared import BLOCKS
from support import BIN

FUNCTION = (BLOCKS / "run_identity.py").read_text().partition('"""')[2].partition('"""')[2]
SCRIPT = f'''\
# SPDX-License-Identifier: Apache-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Counts rows.

    uv run https://example.org/a.py
"""
{FUNCTION}

class Counter:
    """Counts."""

    def count(self, rows):  # how many
        """Return the number."""
        return len(rows) + 5


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--commit", default="c0ffee")
    for name, default in [("seed", 0), ("commit-every", 240.0), ("max-samples", None)]:
        parser.add_argument("--" + name, type=float, default=default)
    parser.add_argument("--shard")
    for name in ("private", "public", "keep", "overwrite", "dry-run"):
        parser.add_argument("--" + name, action="store_true")
    args = parser.parse_args()
    print(json.dumps(run_identity(args, args.__dict__.pop("commit"))))


if __name__ == "__main__":
    main()
'''
WORDS = ("in", "out", "--seed", "1")


def identity(text: str, *words: str, folder: Path) -> dict[str, str]:
    """The identity of a run of the script, in this Python."""
    (folder / "script.py").write_text(text, encoding="utf-8")
    return answer([sys.executable, "script.py", *words], folder)


def answer(argv: list[str], folder: Path, **options: object) -> dict[str, str]:
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=60, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return identity(SCRIPT, *WORDS, folder=tmp_path_factory.mktemp("usual"))


@pytest.mark.parametrize(
    ("pattern", "new", "same"),
    [
        ("$", "\n\n# the end\n", True),
        ("# how many", "# how many there are", True),
        ('"""Counts."""', '"""Counts.\n\n    Well.\n    """', True),
        ('    """Counts."""\n', "", True),
        (r"import argparse", '"""Second text."""\nimport argparse', True),
        ("https://example.org/a.py", "https://huggingface.co/datasets/alice/scripts/resolve/main/a.py", True),
        (r"\n\n\nclass", "\n\n\n\n\n\nclass", True),
        (r"len\(rows\) \+ 5", "(len(rows)\n            + 5)", True),
        (r"dependencies = \[\]", 'dependencies = [ ]\n# [tool.x]\n# y = "1"', True),
        (r"\+ 5", "+ 6", False),
        (r"\+ 5", "- 5", False),
        ("class Counter", "class Counts", False),
        (r"\n\nclass Counter", "\n\nLIMIT = 5\n\nclass Counter", False),
    ],
)
def test_edits(pattern: str, new: str, same: bool, usual: dict[str, str], tmp_path: Path) -> None:
    text, changes = re.subn(pattern, lambda _: new, SCRIPT, count=1)
    assert changes == 1
    found = identity(text, *WORDS, folder=tmp_path)
    assert {key for key in usual if usual[key] != found[key]} == (set() if same else {"script"})


def test_a_value_counts(tmp_path: Path) -> None:
    """Constants are dropped where they are texts that do nothing, and nowhere else."""
    first, second = (identity(f"{SCRIPT}\nLIMIT = {n}\n", *WORDS, folder=tmp_path) for n in (5, 6))
    assert first["script"] != second["script"]


@pytest.mark.parametrize(
    ("words", "differing"),
    [
        (("in", "elsewhere", "--seed", "1"), set()),
        (("in", "out", "--seed", "2"), {"arguments"}),
        ((*WORDS, "--max-samples", "5"), {"arguments"}),
        ((*WORDS, "--commit", "beef"), {"input"}),
        ((*WORDS, "--commit-every", "0"), set()),
        ((*WORDS, "--shard", "1/3"), set()),
        *(((*WORDS, f"--{name}"), set()) for name in ("private", "public", "keep", "overwrite", "dry-run")),
    ],
)
def test_arguments(words: tuple[str, ...], differing: set[str], usual: dict[str, str], tmp_path: Path) -> None:
    found = identity(SCRIPT, *words, folder=tmp_path)
    assert {key for key in usual if usual[key] != found[key]} == differing


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/script.py"
        server.shutdown()


@pytest.mark.parametrize("how", ["file", "elsewhere", "link", "optimized", "text", "uv", "uv-address", "uv-text"])
def test_ways_to_start(
    how: str, usual: dict[str, str], address: str, tmp_path: Path, environment: dict[str, str]
) -> None:
    script, other = tmp_path / "script.py", tmp_path / "other"
    script.write_text(SCRIPT)
    other.mkdir()
    (tmp_path / "link.py").symlink_to(script)
    uv = [str(BIN / "uv"), "run", "--no-project", "--python", sys.executable]
    argv = {
        "file": [sys.executable, "script.py"],
        "elsewhere": [sys.executable, "../script.py"],
        "link": [sys.executable, "link.py"],
        "optimized": [sys.executable, "-OO", "script.py"],
        "text": [sys.executable, "-O", "-c", SCRIPT],
        "uv": [*uv, "script.py"],
        "uv-address": [*uv, address],
        "uv-text": [*uv, "-"],
    }[how]
    options = {"input": SCRIPT} if how == "uv-text" else {}
    folder = other if how == "elsewhere" else tmp_path
    # options that look like Python's own
    assert answer([*argv, *WORDS], folder, env=environment | {"PYTHONPATH": os.pathsep}, **options) == usual
