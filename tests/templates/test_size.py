"""How long the scripts are that the templates make, by kind: a person reads one in one sitting."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from itertools import product

import pytest

from support import ROOT
from templates.combinations import KINDS, PERSISTENCE, TRIGGERS, Choice, render

# The design's limits for the default answers and for the largest combination, and the bytes a line has on average.
LINES = {"dataset": 300, "inference": 300, "training": 300, "artifact": 300, "utility": 150}
LARGEST = 350
BYTES_A_LINE = 50
# Clarity may take a tenth more.
TOLERANCE = 1.1
# What is still above the limits, with its ceiling: (lines, lines of the largest combination, bytes a line). The shared
# functions of a dataset script alone are 244 lines of 61 bytes; without them, it has 163 lines of 39.
ABOVE = {
    "dataset": (410, 440, 54.0),
    "inference": (435, 465, 55.0),
    "training": (444, 473, 55.2),
    "artifact": (350, 380, 52.2),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Lines and bytes of a script, and the lines and bytes of the shared functions in it."""

    lines: int
    size: int
    shared_lines: int
    shared_size: int

    @property
    def average(self) -> float:
        """Bytes a line."""
        return self.size / self.lines

    @property
    def own_average(self) -> float:
        """Bytes a line, of the lines that are no shared function."""
        return (self.size - self.shared_size) / (self.lines - self.shared_lines)


def shared_names() -> set[str]:
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "templates" / "blocks").glob("*.py"))
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def size_of(text: str, shared: set[str]) -> Size:
    lines = text.splitlines(keepends=True)
    nodes = [node for node in ast.parse(text).body if getattr(node, "name", "") in shared]
    held = [line for node in nodes for line in lines[node.lineno - 1 : node.end_lineno]]
    return Size(
        lines=len(lines),
        size=len(text.encode()),
        shared_lines=len(held),
        shared_size=len("".join(held).encode()),
    )


@pytest.fixture(scope="module")
def sizes(template, tmp_path_factory) -> dict[Choice, Size]:
    """The size of each script; extras do not change it."""
    folder, shared = tmp_path_factory.mktemp("sizes"), shared_names()
    choices = [
        Choice(kind, persistence, token, trigger, ())
        for kind, persistence, token, trigger in product(KINDS, PERSISTENCE, ("none", "read", "write"), TRIGGERS)
    ]
    possible = [choice for choice in choices if choice.is_possible]
    render(possible, template, folder)
    texts = {choice: (folder / choice.folder / "my-script.py").read_text(encoding="utf-8") for choice in possible}
    return {choice: size_of(text, shared) for choice, text in texts.items()}


@pytest.mark.parametrize(
    ("kind", "persistence"),
    [
        ("dataset", "hub-dataset"),
        ("inference", "hub-dataset"),
        ("training", "hub-model"),
        ("artifact", "hub-model"),
        ("utility", "none"),
    ],
)
def test_a_script_is_read_in_one_sitting(sizes, record_property, kind, persistence):
    default = sizes[Choice(kind, persistence, "none" if persistence == "none" else "write", "none", ())]
    of_kind = {choice: size for choice, size in sizes.items() if choice.kind == kind}
    largest = max(size.lines for size in of_kind.values())
    record_property(
        "figure",
        f"{kind}: {default.lines} lines, {default.size:,} bytes, {default.average:.1f} bytes a line; shared functions "
        f"{default.shared_lines} lines, {default.shared_size:,} bytes; own {default.own_average:.1f} bytes a line; "
        f"largest combination {largest} lines",
    )
    lines, largest_lines, average = ABOVE.get(kind, (LINES[kind] * TOLERANCE, LARGEST * TOLERANCE, BYTES_A_LINE))
    assert default.lines <= lines
    assert largest <= largest_lines
    assert max(size.average for size in of_kind.values()) <= average
    assert max(size.own_average for size in of_kind.values()) <= BYTES_A_LINE
    assert max(size.shared_lines for size in of_kind.values()) <= 250 * TOLERANCE
