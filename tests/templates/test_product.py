"""The cross product of the answers: what is refused and why, and what every rendering is like. Whole in the heavy lane."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain

import pytest
import yaml

from jobshelf import blocks
from jobshelf.interface import probe
from jobshelf.script import parse_script
from jobshelf.vet import Config, Profile, vet_scripts
from support import BIN, ROOT
from templates.combinations import Choice, each_answer, every_choice, render

DELIMITERS = re.compile(r"@\{ | \}@|#%|%#|@#|#@")


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How much of the cross product: its combinations, and how many of them, of those that make sense, of texts."""

    choices: Callable[[], Iterator[Choice]]
    asked: int
    possible: int
    texts: int


EACH = Extent(choices=each_answer, asked=5 * 8 * 3, possible=33, texts=33)
EVERY = Extent(choices=every_choice, asked=5 * 8 * 3 * 3 * 4, possible=396, texts=99)


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(EACH, id="each answer"),
        pytest.param(EVERY, id="every combination", marks=[pytest.mark.heavy, pytest.mark.data]),
    ],
)
def extent(request) -> Extent:
    return request.param


@pytest.fixture(scope="module")
def product(extent, template, tmp_path_factory):
    """(folder, choice -> why it was refused or None, seconds) of the combinations, rendered in this process's forks."""
    folder, choices = tmp_path_factory.mktemp("product"), list(extent.choices())
    workers = os.cpu_count() or 1
    began = time.perf_counter()
    with ProcessPoolExecutor(workers) as pool:
        shares = [choices[number::workers] for number in range(workers)]
        results = pool.map(partial(render, template=template, folder=folder), shares)
        made = dict(chain.from_iterable(result.items() for result in results))
    return folder, made, time.perf_counter() - began


@pytest.fixture(scope="module")
def scripts(product):
    """Choice -> parsed script, one for each text (the extras do not change the script)."""
    folder, made, _ = product
    rendered = sorted(choice for choice, reason in made.items() if reason is None)
    texts = {(folder / choice.folder / "my-script.py").read_bytes(): choice for choice in rendered}
    return {choice: parse_script(text, str(folder / choice.folder / "my-script.py")) for text, choice in texts.items()}


def test_every_combination_is_rendered_or_refused_as_it_should_be(extent, product, record_property):
    _, made, seconds = product
    possible = sum(reason is None for reason in made.values())
    figure = f"{len(made)} combinations: {possible} rendered, {len(made) - possible} refused, {seconds:.1f} s"
    record_property("figure", figure)
    assert len(made) == extent.asked
    assert {choice for choice, reason in made.items() if reason is None} == {
        choice for choice in made if choice.is_possible
    }
    assert possible == extent.possible


def test_a_refusal_says_which_answer_why_and_what_to_choose(product):
    for choice, reason in product[1].items():
        if reason is not None:
            assert re.search(r"question '(persistence|token)': .{20,}; choose [a-z0-9-]+", reason), (choice, reason)


def test_only_the_expected_files(product):
    folder, made, _ = product
    for choice, reason in made.items():
        home = folder / choice.folder
        found = {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()}
        assert found == (choice.files if reason is None else set()), choice


def test_the_extras_do_not_change_the_script(extent, scripts):
    assert len(scripts) == extent.texts


def test_nothing_of_the_template_is_left_in_any_file(product):
    folder, made, _ = product
    for choice in (choice for choice, reason in made.items() if reason is None):
        for path in choice.files:
            text = (folder / choice.folder / path).read_text(encoding="utf-8")
            assert not DELIMITERS.search(text), (choice, path)
            assert text.endswith("\n") and not text.endswith("\n\n"), (choice, path)


def test_ruff_finds_nothing_to_format_no_mistake_and_nothing_too_new(product, scripts):
    assert {script.header.requires_python for script in scripts.values()} == {">=3.11"}
    folder = product[0]
    config = ROOT / "pyproject.toml"
    formatting = [BIN / "ruff", "format", "--check", "--no-cache", "--config", config, folder]
    done = subprocess.run(formatting, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    # A syntax newer than the target is an error whatever the rules.
    rules = "E,F,W,I,B,UP,SIM,C4,PIE,RET,BLE,PTH,N,ERA,PLE"
    checking = [
        BIN / "ruff",
        "check",
        "--isolated",
        "--no-cache",
        "--line-length",
        "120",
        "--target-version",
        "py311",
        "--select",
        rules,
    ]
    done = subprocess.run(
        [*checking, "--ignore", "E501,N818", "--output-format", "concise", folder], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_vet_strict_gives_exactly_the_placeholder(scripts):
    report = vet_scripts(list(scripts.values()), Config(profile=Profile.STRICT))
    found = [(finding.path, finding.code, finding.message) for finding in report.findings]
    others = [finding for finding in found if finding[1] != "UVS603"]
    assert others == []
    assert sorted(path for path, _, _ in found) == sorted(script.path for script in scripts.values())
    assert report.inconclusive == ()


def test_the_blocks_are_the_shelfs_and_complete(scripts):
    known = blocks.list_blocks()
    for choice, script in scripts.items():
        assert blocks.find_fences(script.text), choice
        assert blocks.compare(script.text, known) == (), choice
        assert blocks.missing_needs(script.text, known) == (), choice


def test_no_name_can_hide_what_a_script_imports(scripts):
    imported = set()
    for script in scripts.values():
        for node in ast.walk(script.tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.partition(".")[0])
    questions = yaml.safe_load((ROOT / "templates/questions/script.yml").read_text(encoding="utf-8"))
    refused = set(yaml.safe_load(questions["taken"]["default"]))
    assert imported - refused == {"__future__"}


def test_help_works_and_a_missing_token_is_told_first(scripts):
    for choice, script in scripts.items():
        if choice.trigger != "none":  # what starts the Job changes neither; `vet` above has looked at all of them
            continue
        seen = probe(script)
        assert (seen.help.exit, seen.unknown_option.exit) == (0, 2), choice
        assert (seen.without_token.exit == 3) == needs_secret(choice), (choice, seen.without_token)


def needs_secret(choice: Choice) -> bool:
    return choice.token != "none" or choice.persistence in {"s3", "gcs"}
