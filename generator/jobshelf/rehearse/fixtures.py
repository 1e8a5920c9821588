"""The data that scripts are rehearsed on: small, with the names and types of real data sets, the same on every run.

A placeholder of the rehearsal's arguments names one: `{input:finepdfs}`. `{input}` alone stands for the fixture whose
columns the script's source mentions most, else for `questions`. `{input:./rows.jsonl}` (a path with a `/`) stands for
files of one's own. `{model}` stands for a tiny language model, `{model:self-instruct}` for one that writes a question.
`{output}` and `{output:NAME}` are repos of the rehearsal's user that do not exist yet.

Naming a fixture says that the script needs its columns: it is then also given an input without them.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobshelf import sample_data
from jobshelf.errors import EnvironmentFault, InputError, UsageError
from jobshelf.rehearse.environment import cache_folder, locked, synced
from jobshelf.rehearse.tiny_model import speaking_model, tiny_model
from jobshelf.script import read_script

Files = Mapping[str, bytes]
_QUESTIONS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixture:
    """A repo for scripts to read: `columns` are those of a data set that a script may need, `make` returns its files.

    `kind` is the plural that stands in the Hub's API paths.
    """

    kind: str = "datasets"
    name: str
    columns: tuple[str, ...]
    make: Callable[[], Files]


def find_fixture(name: str) -> Fixture:
    """Return the fixture called `name`, or the files at the path `name`. Raises UsageError or InputError."""
    if "/" in name:
        path = Path(name)
        named = re.sub(r"[^A-Za-z0-9]+", "-", path.stem).strip("-") or "given"
        return Fixture(name=named, columns=(), make=lambda: _read_files(path))
    if name not in FIXTURES:
        known = ", ".join(FIXTURES)
        fix = f"write one of {{input:{known}}}, or a path such as {{input:./{name}}}"
        raise UsageError(f"no fixture is called '{name}'", fix=fix)
    return FIXTURES[name]


def find_model(name: str | None) -> Fixture:
    """Return the model called `name`, the random one for None. Raises UsageError."""
    if name is not None and name not in MODELS:
        raise UsageError(f"no model is called '{name}'", fix=f"write {{model}}, or {{model:{', '.join(MODELS)}}}")
    return MODELS[name] if name else MODEL


def choose_fixture(tree: ast.Module | None) -> Fixture:
    """Return the fixture whose columns are mentioned most often in a script's own strings, the first when none is."""
    mentioned = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)} if tree else set()
    return max(FIXTURES.values(), key=lambda fixture: sum(column in mentioned for column in fixture.columns))


def without_columns() -> Files:
    """Return a data set that has none of the columns that any fixture has."""
    return {"train.jsonl": _jsonl({"number_of_row": number, "nothing": "of use"} for number in range(_QUESTIONS))}


def _questions() -> Files:
    return {"train.jsonl": _jsonl(sample_data.questions(_QUESTIONS))}


def _seeds() -> Files:
    """Questions with a column of their own, for scripts that make questions of another kind from them."""
    rows = sample_data.questions(_QUESTIONS)
    return {"train.jsonl": _jsonl({"seed_id": number, **row} for number, row in enumerate(rows))}


def _conversations() -> Files:
    rows = (
        {"messages": [_message("user", row["question"]), _message("assistant", row["answer"])]}
        for row in sample_data.questions(_QUESTIONS)
    )
    return {"train.jsonl": _jsonl(rows)}


def _preferences() -> Files:
    """A right and a wrong answer to each question; the wrong one ends in another number."""
    rows = (
        {"prompt": row["question"], "chosen": row["answer"], "rejected": row["answer"].rsplit(" ", 1)[0] + " 0"}
        for row in sample_data.questions(_QUESTIONS)
    )
    return {"train.jsonl": _jsonl(rows)}


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _finepdfs() -> Files:
    """Parquet needs a package that the tool does not have: the script that makes it for the demo makes it here, once."""
    source = Path(sample_data.__file__)
    folder = cache_folder() / "fixtures" / hashlib.sha256(source.read_bytes()).hexdigest()[:24]
    if not folder.exists():
        _make_samples(source, folder)
    return _read_files(folder / "finepdfs")


def _make_samples(source: Path, folder: Path) -> None:
    environment = synced(source, read_script(source).require())
    with locked(folder.with_suffix(".lock")):
        if folder.exists():
            return
        made = Path(tempfile.mkdtemp(dir=folder.parent))
        done = subprocess.run([environment.python, source, made], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise EnvironmentFault(f"{source.name} failed: {done.stderr[-300:]}", fix=f"uv run {source} /tmp/samples")
        made.rename(folder)


def _read_files(path: Path) -> Files:
    if path.is_file():
        return {path.name: path.read_bytes()}
    files = {item.relative_to(path).as_posix(): item.read_bytes() for item in sorted(path.rglob("*")) if item.is_file()}
    if not files:
        raise InputError(f"{path} is neither a file nor a folder with files", fix="name the data to rehearse on")
    return files


def _jsonl(rows: Iterator[Any]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


SELF_INSTRUCT = (
    "The examples are sums about shops. A plan: two kinds of goods, one price each.",
    "[New Question]",
    "A baker sells 12 rolls for 2 dollars each and 6 cakes for 3 dollars each. How many dollars is that?",
    "[End of Question]",
    "12 times 2 is 24, 6 times 3 is 18, and 24 plus 18 is 42.",
    "[Final Answer]",
    "\\boxed{42}",
    "[End of Answer]",
)
MODEL = Fixture(kind="models", name="tiny-llama", columns=(), make=tiny_model)
MODELS = {
    "self-instruct": Fixture(
        kind="models", name="tiny-llama-self-instruct", columns=(), make=lambda: speaking_model(SELF_INSTRUCT)
    )
}
FIXTURES = {
    fixture.name: fixture
    for fixture in (
        Fixture(name="questions", columns=("question", "answer"), make=_questions),
        Fixture(name="conversations", columns=("messages",), make=_conversations),
        Fixture(name="preferences", columns=("chosen", "rejected"), make=_preferences),
        Fixture(name="seeds", columns=("seed_id", "question", "answer"), make=_seeds),
        Fixture(name="finepdfs", columns=("dump", "token_count", "fw_edu_scores", "is_truncated"), make=_finepdfs),
    )
}
