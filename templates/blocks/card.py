# block: card 2
"""The dataset card: what was run, on what, with which result. Every sentence comes from the run itself.

Promises: front matter and text that others wrote stay; text from outside is escaped; "ran as a Job" only when JOB_ID
says so; no clock, so that the same run gives the same card; imports nothing slow before it is used.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CARD_BEGIN = "<!-- jobshelf: this part is rewritten by each run -->"
CARD_END = "<!-- jobshelf: end -->"
CARD_TAGS = ("uv-script", "jobshelf")
_FRONT_MATTER = re.compile(r"\A\ufeff?---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptStamp:
    """Which script ran: its name, the URL it is published at, its version."""

    name: str
    url: str
    version: str

    def sha256(self) -> str:
        """Return the digest of the file that runs, or why there is none (a script on stdin has no file)."""
        file = getattr(sys.modules["__main__"], "__file__", None)
        path = Path(file) if file else None
        if path is None or path.name != self.name or not path.is_file():
            return "not known (the script was not run from a file of its name)"
        return hashlib.sha256(path.read_bytes()).hexdigest()


def render_card(
    existing: str | None,
    *,
    front_matter: Mapping[str, Any],
    body: str,
) -> str:
    """Return `existing` with `body` in the part that belongs to the script, and `front_matter` merged in.

    Tags are united, `configs` are replaced by name, any other key that is already there stays as it is.
    """
    from huggingface_hub.utils import yaml_dump

    old, text = split_card(existing or "")
    merged = {**front_matter, **old}
    merged["tags"] = _united(old.get("tags"), [*CARD_TAGS, *front_matter.get("tags", ())])
    merged["configs"] = _replaced(old.get("configs"), front_matter.get("configs", ()))
    if not merged["configs"]:
        del merged["configs"]
    ours = f"{CARD_BEGIN}\n\n{body.strip()}\n\n{CARD_END}"
    before, begin, rest = text.partition(CARD_BEGIN)
    after = rest.partition(CARD_END)[2] if begin else ""
    parts = [part.strip() for part in (before, ours, after) if part.strip()]
    return f"---\n{yaml_dump(merged).strip()}\n---\n\n" + "\n\n".join(parts) + "\n"


def split_card(card: str) -> tuple[dict[str, Any], str]:
    """Return (front matter, text). Front matter that is no YAML mapping counts as text, so that nothing is lost."""
    import yaml

    match = _FRONT_MATTER.match(card)
    if match is None:
        return {}, card
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError:
        return {}, card
    return (data, card[match.end() :]) if isinstance(data, dict) else ({}, card)


def provenance(
    stamp: ScriptStamp, *, source: str, identity: str, arguments: Sequence[str], packages: Sequence[str]
) -> str:
    """Return the Markdown section that says what ran, on what, and how to run it again."""
    from importlib.metadata import version

    command = shlex.join(["uv", "run", stamp.url, *arguments])
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    rows = [
        ("Source", f"{md(source)} at `{md(identity)}`"),
        ("Script", f"[{md(stamp.name)}]({stamp.url}) {md(stamp.version)}"),
        ("Script sha256", md(stamp.sha256())),
        ("Versions", f"Python {sys.version.split()[0]}, {md(versions)}"),
    ]
    if os.environ.get("JOB_ID"):
        rows.append(("Ran as", "a Hugging Face Job" + _on_hardware()))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"## Provenance\n\n| | |\n|---|---|\n{table}\n\nRun it again:\n\n{fenced(command)}"


def _on_hardware() -> str:
    accelerator = os.environ.get("ACCELERATOR")
    return f" on {md(accelerator)}" if accelerator else ""


def md(text: object) -> str:
    """Return `text` as literal Markdown for one line or one table cell."""
    from html import escape

    escaped = escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", escaped)


def fenced(text: str) -> str:
    """Return `text` in a code fence that it cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def md_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return `rows` as a Markdown table; the columns are those of the first row."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(c if c == "---" else md(c) for c in line) + " |" for line in lines)


def _united(old: object, new: Sequence[str]) -> list[str]:
    kept = [str(tag) for tag in old] if isinstance(old, list) else []
    return kept + [tag for tag in dict.fromkeys(new) if tag not in kept]


def _replaced(old: object, new: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    names = {config["config_name"] for config in new}
    kept = [item for item in old if isinstance(item, dict)] if isinstance(old, list) else []
    return [item for item in kept if item.get("config_name") not in names] + list(new)
