"""One dataset's name replaced by another's, and nothing else that looks like it."""

from __future__ import annotations

import pytest

from jobshelf.index.rename import rename_bytes, rename_dataset

HUB = "https://huggingface.co"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{HUB}/datasets/us/scripts/resolve/main/x.py", f"{HUB}/datasets/me/mine/resolve/main/x.py"),
        ("hf://datasets/us/scripts@v1/x.py", "hf://datasets/me/mine@v1/x.py"),
        ('REPO = "us/scripts"', 'REPO = "me/mine"'),
        ("It is in us/scripts.", "It is in me/mine."),
        ("us/scripts", "me/mine"),
    ],
)
def test_it_is_replaced(text, expected):
    assert rename_dataset(text, "us/scripts", "me/mine") == expected
    assert rename_bytes(text.encode(), "us/scripts", "me/mine") == expected.encode()


@pytest.mark.parametrize(
    "text",
    [
        f"{HUB}/datasets/us/scripts-extra/resolve/main/x.py",
        f"{HUB}/datasets/us/scripts.old/resolve/main/x.py",
        f"{HUB}/datasets/us/scripts_2/resolve/main/x.py",
        f"{HUB}/datasets/plus-us/scripts/resolve/main/x.py",
        f"{HUB}/datasets/a.us/scripts/resolve/main/x.py",
        f"{HUB}/spaces/us/scripts",
        f"{HUB}/us/scripts",
        "https://github.com/us/scripts/blob/main/x.py",
        "copier copy gh:us/scripts",
        "./us/scripts/x.py",
        "us/scripting",
        "us/Scripts",
    ],
)
def test_it_stays(text):
    assert rename_dataset(text, "us/scripts", "me/mine") == text


def test_a_dot_in_a_name_is_a_dot():
    assert rename_dataset("us/a.b us/axb", "us/a.b", "me/mine") == "me/mine us/axb"


def test_bytes_that_are_not_text_stay():
    assert rename_bytes(b"\xff us/scripts \xfe", "us/scripts", "me/mine") == b"\xff me/mine \xfe"
