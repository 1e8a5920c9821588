"""What vet knows of the templates' placeholders (UVS603) is what the templates render."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from jobshelf.scaffold import QUESTIONS, new
from jobshelf.vet.placeholders import PLACEHOLDERS, body_of

MARK = "TODO(jobshelf)"


def marked_function(text: str) -> ast.FunctionDef:
    """Return the function that the mark stands in."""
    (line,) = (number for number, one in enumerate(text.splitlines(), start=1) if MARK in one)
    (function,) = (
        node
        for node in ast.parse(text).body
        if isinstance(node, ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0)
    )
    return function


@pytest.fixture(scope="module")
def functions(tmp_path_factory: pytest.TempPathFactory) -> dict[str, ast.FunctionDef]:
    """The function to be written, by kind of script."""
    folder = tmp_path_factory.mktemp("kinds")
    made = {kind: folder / new(folder, {"kind": kind, "name": kind}).script for kind in QUESTIONS["kind"]}
    return {kind: marked_function(Path(path).read_text(encoding="utf-8")) for kind, path in made.items()}


@pytest.mark.parametrize("kind", QUESTIONS["kind"])
def test_the_function_to_be_written_is_known(functions: dict[str, ast.FunctionDef], kind: str) -> None:
    assert body_of(functions[kind]) in PLACEHOLDERS[functions[kind].name]


def test_no_placeholder_is_known_that_no_template_has(functions: dict[str, ast.FunctionDef]) -> None:
    rendered = {(function.name, body_of(function)) for function in functions.values()}
    assert {(name, body) for name, bodies in PLACEHOLDERS.items() for body in bodies} == rendered
