"""What a run left behind, and whether it is what an uninterrupted run leaves: rows, card, other files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from jobshelf.rehearse.repo_files import RepoFiles, RepoName
from jobshelf.rehearse.rows import Row, RowReader, difference, is_table, same

CARD = "README.md"
_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)
_RAN_AS_JOB = re.compile(r"\bran as\W+an? (?:Hugging Face )?Job\b", re.IGNORECASE)
# what differs between two equal runs: when, how long, and the commits that were made
# Which shard did what differs by nature: the option in a card's command line, and the markers of finished shards.
_SHARD = re.compile(r" --shard \d+/\d+")
_MARKERS = "/completions/"
_PASSING = re.compile(
    r"\b[0-9a-f]{40}\b"
    r"|\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?\b"
    r"|\b\d+(?:\.\d+)? ?(?:ms|s|seconds?|min|minutes?)\b"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run printed and what the repos that it wrote to hold; `endpoint` is the Hub it ran on."""

    repos: Mapping[RepoName, RepoFiles]
    stdout: str
    endpoint: str

    @property
    def tables(self) -> dict[str, bytes]:
        """The files of rows of all repos, `repo/path` -> content."""
        return {name: data for name, data in self.files() if is_table(name)}

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Yield every file as (`repo/path`, content)."""
        for repo, held in self.repos.items():
            yield from ((f"{repo}/{path}", data) for path, data in held.files.items())

    def cards(self) -> dict[str, str]:
        """Return the cards, by repo."""
        cards = {str(repo): held.files.get(CARD) for repo, held in self.repos.items()}
        return {repo: card.decode(errors="replace") for repo, card in cards.items() if card is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Two uninterrupted runs. Where they differ in a card or in a file that holds no rows (a date, a duration), so may others."""

    result: Result
    twin: Result

    def differences(self, found: Result, reader: RowReader) -> list[str]:
        """Return what `found` has otherwise than the reference, in words; nothing when it is the same result."""
        wrong = self._row_differences(found, reader)
        wrong += _file_differences(self.result, self.twin, found)
        for repo, card in self.result.cards().items():
            wrong += _card_differences(repo, self, card, found)
        return wrong

    def _row_differences(self, found: Result, reader: RowReader) -> list[str]:
        if found.tables == self.result.tables:
            return []
        try:
            there = reader.tables(found.tables)
        except ValueError as error:
            return [str(error)]
        wrong = []
        for columns, table in reader.tables(self.result.tables).items():
            rows = there.pop(columns).rows if columns in there else ()
            differs = difference(table.rows, rows)
            wrong += [f"in the table of {_named(columns)}: {differs}"] if differs else []
        return wrong + [f"a table of {_named(columns)} that should not be there" for columns in there]


def same_output(one: str, other: str) -> bool:
    """Whether two texts on standard output say the same: JSON by value, other text line by line."""
    try:
        return same(json.loads(one), json.loads(other))
    except ValueError:
        return one == other


def settled(text: str, result: Result) -> str:
    """Return text of a run without what differs by nature: the Hub's address, commits, dates and durations."""
    return _PASSING.sub("<passing>", _SHARD.sub("", text.replace(result.endpoint, "<hub>")))


def card_problems(result: Result, sources: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the cards; `sources` are the commits of the data sets that were read.

    A card has front matter with the tags of the shelf, names the source and its commit, claims no Job, its configs have
    files.
    """
    wrong = []
    cards = result.cards()
    for repo, held in result.repos.items():
        if repo.kind != "buckets":
            card = cards.get(str(repo))
            problems = _problems_of(card, held, sources) if card is not None else ["there is none"]
            wrong += [f"the card of {repo}: {problem}" for problem in problems]
    return wrong


def carried_over(
    given: Mapping[tuple[str, ...], tuple[Row, ...]], made: tuple[Row, ...], *, all_of_them: bool
) -> str | None:
    """Return why rows that carry the columns of an input are not the rows of that input; None when they are.

    Only for a table that has every column of an input: there each row keeps what it was given, none comes twice, and with
    `all_of_them` none is missing.
    """
    for columns, rows in given.items():
        if not made or not all(set(columns) <= row.keys() for row in made):
            continue
        kept = tuple({column: row[column] for column in columns} for row in made)
        differs = difference(rows, kept)
        if differs and differs.extra:
            return f"the columns {', '.join(columns)} of the input came out otherwise: {differs}"
        if differs and all_of_them:
            return f"{differs.lost} of {len(rows)} rows of the input are missing"
    return None


def _problems_of(card: str, held: RepoFiles, sources: Mapping[str, str]) -> list[str]:
    match = _FRONT_MATTER.match(card)
    front_matter = yaml.safe_load(match[1]) if match else None
    if not isinstance(front_matter, dict):
        return ["it has no front matter"]
    problems = [
        f"it lacks the tag {tag}" for tag in ("uv-script", "jobshelf") if tag not in front_matter.get("tags", ())
    ]
    for source, commit in sources.items():
        problems += [] if source in card else [f"it does not name the input {source}"]
        problems += [] if commit in card else [f"it does not name the commit of {source}"]
    if _RAN_AS_JOB.search(card):
        problems.append("it says that this ran as a Job, which it did not")
    return problems + list(_empty_configs(front_matter, held))


def _empty_configs(front_matter: Mapping[str, Any], held: RepoFiles) -> Iterator[str]:
    for config in front_matter.get("configs") or ():
        for entry in config.get("data_files") or () if isinstance(config.get("data_files"), list) else ():
            paths = entry["path"] if isinstance(entry["path"], list) else [entry["path"]]
            if not any(_globbed(pattern).fullmatch(path) for pattern in paths for path in held.files):
                yield f"the config {config.get('config_name')} names {entry['path']}, which is not there"


def _globbed(pattern: str) -> re.Pattern[str]:
    """Return the Hub's reading of a pattern: `*` stays inside a folder, `**` does not."""
    parts = re.split(r"(\*\*/?|\*)", pattern)
    return re.compile(
        "".join({"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*"}.get(part, re.escape(part)) for part in parts)
    )


def _file_differences(reference: Result, twin: Result, found: Result) -> list[str]:
    expected, again, there = (_other_files(result) for result in (reference, twin, found))
    missing = [name for name in expected if name not in there]
    steady = [name for name, content in expected.items() if name in there and again.get(name) == content]
    changed = [name for name in steady if there[name] != expected[name] and not name.endswith(f"/{CARD}")]
    return [f"{name} is missing" for name in missing] + [f"{name} has other content" for name in changed]


def _other_files(result: Result) -> dict[str, bytes | str]:
    """Return the files that hold no rows, markers of shards aside; texts without what differs by nature."""
    files = ((name, data) for name, data in result.files() if not is_table(name) and _MARKERS not in name)
    return {name: _content(data, result) for name, data in files}


def _content(data: bytes, result: Result) -> bytes | str:
    try:
        return settled(data.decode(), result)
    except UnicodeDecodeError:
        return data


def _card_differences(repo: str, reference: Reference, expected: str, result: Result) -> list[str]:
    card = result.cards().get(repo)
    if card is None:
        return []  # already named as a missing file
    lines = settled(expected, reference.result).splitlines()
    twins = settled(reference.twin.cards().get(repo, ""), reference.twin).splitlines()
    steady = [one == other for one, other in zip(lines, twins, strict=True)] if len(lines) == len(twins) else []
    found = settled(card, result).splitlines()
    if not steady or len(found) != len(lines):
        return [f"the card of {repo} has {len(found)} lines, expected {len(lines)}"] if found != lines else []
    wrong = [(one, other) for one, other, fixed in zip(lines, found, steady, strict=True) if fixed and one != other]
    return [f"the card of {repo} says {wrong[0][1]!r}, expected {wrong[0][0]!r}"] if wrong else []


def _named(columns: tuple[str, ...]) -> str:
    return ", ".join(columns)[:120]
