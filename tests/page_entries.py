"""Indexes for tests of the page: the real entries, varied, as many as are wanted, the same every time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from jobshelf.forms import script_url
from jobshelf.index import Entry, Index
from jobshelf.index.entry import addressed

SOURCE = b"".join(b"print(%d)\n" % number for number in range(1, 201))
TASKS = ("text-generation", "dataset-statistics", "data-validation", "fine-tuning", "embedding", "conversion")
FLAVORS = (("cpu-basic", 0.01), ("t4-small", 0.4), ("l4x1", 0.8), ("a100-large", 2.5), ("h200", 5.0))
TOKENS = ("none", "read", "write")
WORDS = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heath", "islet", "jetty", "knoll", "ledge")


def varied(index: Index, count: int) -> Index:
    """Return the index with `count` entries made of its own, different in every facet."""
    return replace(index, entries=tuple(_entry(index, number) for number in range(count)))


def changed(entry: Entry, **values: Any) -> Entry:
    """Return the entry with these top-level values, merged where both are objects."""
    data = json.loads(json.dumps(entry.data))
    for key, value in values.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) and isinstance(data[key], dict) else value
    return Entry(data=data)


def _entry(index: Index, number: int) -> Entry:
    base = index.entries[number % len(index.entries)]
    first, second = WORDS[number % 12], WORDS[number // 12 % 12]
    name = f"{first}-{second}-{number:05}"
    flavor, price = FLAVORS[number % 5]
    shown = base.rehearsal or next(entry.rehearsal for entry in index.entries if entry.rehearsal)
    day = f"2026-{1 + number % 11:02}-{1 + number % 28:02}"
    entry = changed(
        base,
        id=name,
        aliases=[f"old-{name}"],
        title=f"{first.title()} of the {second} {number}",
        summary=f"Turn {first} into {second}, number {number}",
        classification={"task": TASKS[number % 6], "tags": [first, second]},
        needs={
            "token": TOKENS[number % 3],
            "hardware": {**base.hardware, "flavor": flavor},
            "launch": {**base.launch, "flavor": flavor},
        },
        cost={"as_of": "2026-11-20", "flavor": flavor, "usd_per_hour": price, "usd_at_timeout": price * (number % 9)},
        rehearsal={**shown, "date": day, "stale": number % 7 == 3, "passed": number % 11 != 5},
        status="preview" if number % 10 == 9 else "stable",
        source={
            "path": f"{name}.py",
            "urls": {**base.data["source"]["urls"], "latest": script_url(index.dataset, "x")},
        },
    )
    return Entry(data=addressed(entry.data, index.dataset))
