"""The schema of index.json: what is written is in it, what is in it is written, and the tool's own reader agrees with a real one."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

import pytest
from jsonschema import Draft202012Validator

from jobshelf.index import build_index, schema_text
from jobshelf.index.schema import problem
from jobshelf.record import Outcome, Record, Verdict, Versions
from support import ROOT

SCHEMA = json.loads(schema_text())
# A script that says everything that an index can say of one.
FULL = '''\
# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: Somebody
# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# [[tool.uv.index]]
# url = "https://example.org/packages"
# [tool.hf-jobs]
# flavor = "cpu-basic"
# image = "ghcr.io/astral-sh/uv:python3.12-bookworm"
# secrets = ["HF_TOKEN"]
# env = {WORD = "x"}
# timeout = 600
# python = "3.12"
# name = "all-of-it"
# namespace = "jobshelf"
# network_group = "group"
# network_aliases = ["alias"]
# labels = {kind = "test"}
# volumes = ["hf://datasets/jobshelf/scripts:/input"]
# [tool.jobshelf]
# version = "1.0"
# title = "All of it"
# task = "other"
# tags = ["test"]
# inputs = ["dataset"]
# outputs = ["text"]
# persists = "none"
# token = "read"
# shardable = false
# license = "Apache-2.0"
# aliases = ["everything"]
# status = "deprecated"
# replaced_by = "plain"
# rehearse = ["one", "{input}"]
# ///
"""Say all of it

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/full.py one user/data
"""
import argparse

parser = argparse.ArgumentParser()
commands = parser.add_subparsers(required=True)
one = commands.add_parser("one", help="the first")
one.add_argument("input", metavar="INPUT", nargs="+")
one.add_argument("--mode", choices=["a", "b"], default="a", action="append")
group = one.add_mutually_exclusive_group()
group.add_argument("--yes", action="store_true", help=argparse.SUPPRESS)
group.add_argument("--no", action="store_true")
print(parser.parse_args())  # vet: ignore[UVS301] -- shows what an ignored rule looks like
# --- block: exits 1 (jobshelf) ---
# --- end block ---
'''


@pytest.fixture
def documents(make_shelf):
    """A released index with one script that says everything and one that says little; and the committed index."""
    shelf = make_shelf({"plain": "1"}, version="2.0.0")
    (shelf.catalog / "full.py").write_text(FULL)
    record = Record(
        name="full",
        sha256="0" * 64,
        date=date(2026, 11, 21),
        arguments=("one", "{input}"),
        versions=Versions(jobshelf="0.1.0", python="3.11", uv="0.13", packages={"polars": "2.1"}),
        seconds=1.5,
        peak_memory_mib=10,
        verdicts=(Verdict(step="help", outcome=Outcome.PASSED, seconds=0.1, figures={"lines": 3}),),
    )
    (shelf.catalog / "records").mkdir(exist_ok=True)
    (shelf.catalog / "records" / "full.json").write_text(record.to_text())
    index = build_index(shelf)
    released = replace(index, entries=tuple(entry.pinned("2.0.0") for entry in index.entries))
    return [json.loads(released.to_text()), json.loads((ROOT / "index.json").read_text())]


def test_the_schema_is_one():
    Draft202012Validator.check_schema(SCHEMA)


def test_every_index_is_valid_and_says_nothing_that_the_schema_does_not_name(documents):
    """Here, unknown names are refused: readers of the schema shall find all that is written."""
    closed = Draft202012Validator(close(copy.deepcopy(SCHEMA)), format_checker=Draft202012Validator.FORMAT_CHECKER)
    for document in documents:
        assert [f"{'/'.join(map(str, error.path))}: {error.message}" for error in closed.iter_errors(document)] == []
        assert problem(document) is None


def close(schema):
    """Return the schema with no property allowed but those it names."""
    if isinstance(schema, dict):
        for inner in schema.values():
            close(inner)
        if "properties" in schema and isinstance(schema["properties"], dict):
            schema.setdefault("additionalProperties", False)
    elif isinstance(schema, list):
        for inner in schema:
            close(inner)
    return schema


def test_everything_that_the_schema_names_is_written(documents):
    """No property is promised that no index has."""
    promised = {
        f"{name}:{path}" for name, part in {"": SCHEMA, **SCHEMA["$defs"]}.items() for path in properties(part, "")
    }
    assert promised - written(documents[0], SCHEMA, "") == set()


def properties(schema, path) -> Iterator[str]:
    for key, inner in schema.get("properties", {}).items():
        yield f"{path}.{key}"
        yield from properties(inner, f"{path}.{key}")


def written(value, schema, path, name="") -> set[str]:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return written(value, SCHEMA["$defs"][name], "", name)
    if "oneOf" in schema:
        return written(value, schema["oneOf"][-1], path, name) if value is not None else set()
    found = set()
    if isinstance(value, list) and "items" in schema:
        return found.union(*(written(item, schema["items"], path, name) for item in value))
    for key, inner in schema.get("properties", {}).items() if isinstance(value, dict) else ():
        if key in value:
            found |= {f"{name}:{path}.{key}", *written(value[key], inner, f"{path}.{key}", name)}
    return found


def test_our_reader_and_a_real_one_agree_on_a_thousand_broken_indexes(documents):
    real = Draft202012Validator(SCHEMA)
    draw, refused = random.Random(6), 0
    for _ in range(1000):
        broken = break_something(copy.deepcopy(documents[0]), draw)
        found = problem(broken)
        errors = [error.message for error in real.iter_errors(broken)]
        assert (found is None) == (not errors), (found, errors)
        refused += found is not None
    assert 300 < refused < 1000, refused


def break_something(document, draw):
    """Return the document with one value, somewhere, removed or put in the place of another."""
    place, path = document, []
    while isinstance(place, dict | list) and place and (len(path) < 2 or draw.random() < 0.8):
        keys = sorted(place) if isinstance(place, dict) else range(len(place))
        path.append((place, draw.choice(list(keys))))
        place = path[-1][0][path[-1][1]]
    owner, key = path[-1]
    if draw.random() < 0.3:
        del owner[key]
    else:
        owner[key] = draw.choice([None, True, 0, -1, 1.5, 2.0, "", "x", "A/b", "2026-11-21", [], [None], {}, {"x": 1}])
    return document


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("entries", 0, "source", "bytes"), "many", "entries[0].source.bytes is 'many', expected a whole number"),
        (("entries", 0, "status"), "new", "entries[0].status is 'new', expected one of stable, preview, deprecated"),
        (("count",), True, "count is True, expected a whole number"),
        (("entries", 0, "commands", "jobs", "argv", 0), 1, "entries[0].commands.jobs.argv[0] is 1, expected a string"),
        (("entries", 0, "rehearsal", "steps"), {}, "entries[0].rehearsal.steps is {}, expected a list"),
    ],
)
def test_what_is_wrong_is_named(documents, path, value, said):
    document = documents[0]
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert (problem(document) or "").startswith(said)
