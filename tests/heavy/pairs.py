"""Pairs and models for the tests of train_dpo.py and train_reward.py, and their command lines in one process."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.conftest import CATALOG, jsonl
from jobshelf.rehearse.tiny_model import tiny_model
from jobshelf.sample_data import questions
from row_formats import bot, user

Rows = list[dict[str, Any]]
REFUSING = (
    "{% for m in messages %}{% if m.content == 'no 9' %}{{ raise_exception('I refuse') }}{% endif %}"
    "[{{ m.role }}] {{ m.content }}\n{% endfor %}"
)
ASKED = [{"prompt": row["question"], "chosen": row["answer"], "rejected": "I do not know."} for row in questions(24)]
CHATS = [
    {
        "prompt": [user(row["prompt"])],
        "chosen": [bot(row["chosen"])],
        "rejected": [bot(f"no {number}")],
    }
    for number, row in enumerate(ASKED)
]


def implicit(rows: Rows) -> Rows:
    """Return the rows with the prompt in both answers."""
    return [{name: row["prompt"] + row[name] for name in ("chosen", "rejected")} for row in rows]


DATASETS: dict[str, Rows] = {
    "text": ASKED,
    "chats": CHATS,
    "implicit text": implicit(ASKED),
    "implicit chats": implicit(CHATS),
    "margins": [{**row, "margin": 0.25 * number} for number, row in enumerate(ASKED)],
    "a margin is missing": [{**row, "margin": None if number == 7 else 1.0} for number, row in enumerate(ASKED)],
    "tools that are no JSON": [
        {**row, "tools": "add(a, b)" if number == 3 else "[]"} for number, row in enumerate(CHATS)
    ],
    "a prompt in text, answers in messages": [{**row, "prompt": "Why?"} for row in CHATS],
    "an answer is empty": [{"chosen": "ab", "rejected": "" if number == 5 else "ac"} for number in range(12)],
    "without a common prompt": [{"chosen": [user("a"), bot("b")], "rejected": [user("z"), bot("c")]}] * 8,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command line that stops: its rows, its options, and what it says."""

    rows: str = "text"
    words: Sequence[str] = ()
    model: str = "tiny"
    code: int = 4
    said: str


def write_models(folder: Path) -> None:
    """Write the tiny model, one with fewer tokens than its tokenizer, and two with other chat templates."""
    for name in ("tiny", "few tokens", "refusing", "no template"):
        place = folder / name
        place.mkdir()
        for file, data in tiny_model().items():
            (place / file).write_bytes(data)
    change(folder / "few tokens" / "config.json", {"vocab_size": 300})
    change(folder / "refusing" / "tokenizer_config.json", {"chat_template": REFUSING})
    change(folder / "no template" / "tokenizer_config.json", {"chat_template": None})


def change(path: Path, values: Mapping[str, Any]) -> None:
    """Change values of a JSON file; None removes one."""
    found = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in found.items() if value is not None}))


def fill(folder: Path) -> None:
    """Write the models and the datasets."""
    write_models(folder)
    for name, rows in DATASETS.items():
        (folder / f"{name}.jsonl").write_bytes(jsonl(rows))


def run_all(python: Path, script: str, lines: list[list[str]], folder: Path, env: Mapping[str, str]) -> Rows:
    """Run the command lines in one process; return the code and the output of each."""
    if not (folder / "tiny").exists():
        fill(folder)
    (folder / "lines.json").write_text(json.dumps(lines))
    argv = [python, Path(__file__).with_name("one_process.py"), CATALOG / script, "lines.json", "ends.json"]
    done = subprocess.run(argv, env=dict(env), cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads((folder / "ends.json").read_text())


def dry_runs(
    python: Path, script: str, cases: Mapping[str, Case], folder: Path, env: Mapping[str, str]
) -> dict[str, Any]:
    """Return how the `--dry-run` of each case ended."""
    lines = [[f"{one.rows}.jsonl", "./out", "--model", one.model, "--dry-run", *one.words] for one in cases.values()]
    return dict(zip(cases, run_all(python, script, lines, folder, env), strict=True))


def plain_losses(python: Path, method: str, lines: list[list[str]], folder: Path, env: Mapping[str, str]) -> list[Any]:
    """Return the losses that TRL alone logs, of each command line."""
    (folder / "plain.json").write_text(json.dumps(lines))
    argv = [python, Path(__file__).with_name("plain_pairs.py"), method, "plain.json"]
    done = subprocess.run(argv, env=dict(env), cwd=folder, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


def losses(folder: Path) -> list[float]:
    """Return the losses that a training logged."""
    return [json.loads(line)["loss"] for line in (folder / "training_log.jsonl").read_text().splitlines()]
