"""The cross product of the answers: what is refused and why, and what every rendering is like. Whole in the heavy lane."""

from __future__ import annotations

import ast
import keyword
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from jobshelf.interface import probe
from jobshelf.script import parse_script
from jobshelf.vet import Config, Profile, vet_scripts
from support import BIN, ROOT
from templates.combinations import Choice, each_answer, every_choice, render
from templates.written import written

# A block is called after its function, or after its class.
NAMES = {"output": "Output", "training_output": "TrainingOutput"}
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


def test_vet_strict_gives_one_finding_that_lists_all_that_is_left(scripts):
    report = vet_scripts(list(scripts.values()), Config(profile=Profile.STRICT))
    assert [(one.path, one.code, one.message) for one in report.findings if one.code != "UVS603"] == []
    assert report.inconclusive == ()
    found = {one.path: one.found for one in report.findings}
    assert len(report.findings) == len(found) == len(scripts)
    for choice, script in scripts.items():
        for left in (
            "file name my-script.py",
            "title 'My script'",
            "docstring 'My script'",
            "TODO(jobshelf)",
            "function ",
        ):
            assert left in found[script.path], choice


def test_vet_strict_finds_nothing_once_the_script_is_written(scripts):
    finished = [
        parse_script(written(script.text, choice.kind).encode(), f"{choice.folder}/count-things.py")
        for choice, script in scripts.items()
    ]
    report = vet_scripts(finished, Config(profile=Profile.STRICT))
    assert [(one.path, one.line, one.code, one.message) for one in report.findings] == []
    assert report.inconclusive == ()


def test_the_shared_functions_are_those_of_the_blocks_word_for_word_and_used(scripts):
    blocks = {path.stem: body_of_block(path) for path in sorted((ROOT / "templates/blocks").glob("*.py"))}
    used = set()
    for choice, script in scripts.items():
        held = {name for name, body in blocks.items() if f"\n\n\n{body}\n\n\n" in script.text}
        defined = {node.name for node in script.tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
        assert held == {name for name in blocks if NAMES.get(name, name) in defined}, choice
        named = {node.id for node in ast.walk(script.tree) if isinstance(node, ast.Name)}
        assert defined <= named, (choice, defined - named)
        used |= held
    catalog = [path.read_text(encoding="utf-8") for path in (ROOT / "catalog").glob("*.py")]
    used |= {name for name, body in blocks.items() if any(f"\n\n\n{body}\n\n\n" in text for text in catalog)}
    assert used == blocks.keys()


def body_of_block(path: Path) -> str:
    """Return a shared function as it must stand in a script: from its first definition on."""
    text = path.read_text(encoding="utf-8")
    return text[re.search(r"^(def|class) ", text, re.MULTILINE).start() :].strip()


def test_no_name_can_hide_what_a_script_imports(scripts):
    imported = set()
    for script in scripts.values():
        for node in ast.walk(script.tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.partition(".")[0])
    assert imported - reserved("modules") == set()


def test_no_name_can_hide_a_module_of_python_or_of_a_package_that_scripts_need():
    names = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
    assert {name for name in sys.stdlib_module_names if names.fullmatch(name)} <= reserved("modules")
    assert {word for word in keyword.kwlist if word.islower()} <= reserved("reserved")
    needed, pending = set(), ["datasets", "huggingface-hub", "s3fs", "gcsfs", "tenacity"]
    while pending:
        if (name := canonicalize_name(pending.pop())) not in needed:
            needed.add(name)
            given = map(Requirement, metadata.requires(name) or ())
            pending += [one.name for one in given if one.marker is None or one.marker.evaluate({"extra": ""})]
    provided = metadata.packages_distributions().items()
    modules = {module for module, names in provided if needed & set(map(canonicalize_name, names))}
    assert len(modules) > 30
    assert {module for module in modules if names.fullmatch(module)} <= reserved("modules")


def reserved(question: str) -> set[str]:
    questions = yaml.safe_load((ROOT / "templates/questions/script.yml").read_text(encoding="utf-8"))
    return set(yaml.safe_load(questions[question]["default"]))


def test_help_works_and_a_missing_token_is_told_first(scripts):
    for choice, script in scripts.items():
        if choice.trigger != "none":  # what starts the Job changes neither; `vet` above has looked at all of them
            continue
        seen = probe(script)
        assert seen.help.exit == 0, choice
        # A trainer asks TRL what its options are, and for that it must first be installed and allowed to write.
        assert seen.unknown_option.exit == 2 or choice.kind == "training", choice
        assert (seen.without_token.exit == 3) == needs_secret(choice), (choice, seen.without_token)


def needs_secret(choice: Choice) -> bool:
    return choice.token != "none" or choice.persistence in {"s3", "gcs"}
