"""A clone of the repository as it is in the working tree, and what somebody does in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from docs.snippets import snippets
from support import ROOT


def fresh_clone(folder: Path) -> Path:
    """Clone the repository into `folder`, what is not committed yet included; nothing that git ignores comes along."""
    source = folder / "source"
    argv = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    names = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    author = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*author, "commit", "-qm", "All"]):
        subprocess.run(["git", *words], cwd=source, check=True)
    subprocess.run(["git", "clone", "-q", source, folder / "jobshelf"], check=True)
    return folder / "jobshelf"


def lines_under(file: str, heading: str = "") -> list[str]:
    """Return the shell lines of a text, those below one heading where it is given; comments at their ends left out."""
    text = (ROOT / file).read_text(encoding="utf-8")
    first = text.index(f"\n## {heading}\n") if heading else 0
    last = text.find("\n## ", first + 1) if heading else len(text)
    numbers = range(text.count("\n", 0, first) + 1, text.count("\n", 0, last if last > 0 else len(text)) + 2)
    blocks = (one.body for one in snippets(ROOT / file, "bash") if one.line in numbers)
    return [re.sub(r"\s+#.*", "", line) for block in blocks for line in block.splitlines() if line.strip()]
