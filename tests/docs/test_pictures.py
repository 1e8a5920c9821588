"""The README's pictures: small, of this shelf, and with nothing of the machine that made them."""

from __future__ import annotations

import re
import struct
from xml.etree import ElementTree

from docs.snippets import commands, trouble
from support import ROOT

PICTURES = ROOT / "docs" / "pictures"


def test_the_picture_of_the_demo_shows_its_steps():
    text = (PICTURES / "demo.svg").read_text(encoding="utf-8")
    lines = [node.text or "" for node in ElementTree.fromstring(text).iter() if node.tag.endswith("}text")]
    titles = [line.partition("] ")[2] for line in lines if line.startswith("[")]
    source = (ROOT / "generator" / "jobshelf" / "demo.py").read_text(encoding="utf-8")
    assert titles == re.findall(r'_step\(\s*"([^"]+)"', source)
    typed = [line.strip().removeprefix("$ ") for line in lines if line.strip().startswith("$")]
    assert typed[0] == "uv run jobshelf demo"
    assert [
        line for line in typed if not line.endswith("…") and "--script" not in line and trouble(next(commands(line)))
    ] == []
    assert len(text) < 20_000
    assert not re.search(r"href|url\(|<image|/(?:root|home)/|hf_[A-Za-z0-9]{10}", text)


def test_the_picture_of_the_page_is_one():
    data = (PICTURES / "page.png").read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and len(data) < 150_000
    width, height = struct.unpack(">II", data[16:24])
    assert 900 <= width <= 1400 and 600 <= height <= 1000
