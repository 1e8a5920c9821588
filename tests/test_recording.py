"""The record of a stub run: what its recorder writes is read; everything else is called forged, and never anything worse."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobshelf.recording import MAX_EVENTS, MAX_ITEMS, MAX_RECORDING, Forged, Recording, read_interface, read_recording

TOKEN = "0123"
ARGUMENT = {
    "name": "rows",
    "kind": "option",
    "flags": ["--rows"],
    "metavar": None,
    "type": "int",
    "choices": None,
    "default": {"a": [1, 2.5, None, True, "x"]},
    "nargs": None,
    "required": False,
    "repeated": False,
    "exclusive": None,
    "hidden": False,
    "help": "rows",
}
COMMAND = {"prog": "a.py", "description": "", "arguments": [ARGUMENT], "commands": []}
INTERFACE = {"library": "argparse", **COMMAND}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def record(*messages: object) -> str:
    return "".join(f"{TOKEN}{json.dumps(message)}\n" for message in messages)


def test_what_a_recorder_writes_is_read() -> None:
    text = record(["event", ["call", "torch.load", ["'x'"]]], ["interface", INTERFACE], ["end", "ValueError: no"])
    found = read_recording(text + TOKEN + '["event", ["ca', TOKEN)
    assert [event.name for event in found.events] == ["torch.load"]
    assert found.interface.command.arguments[0].default == ARGUMENT["default"]
    assert (found.error, found.ended, found.stopped) == ("ValueError: no", True, None)
    assert read_recording("", TOKEN) == Recording()


@pytest.mark.parametrize(
    "text",
    [
        "x\n",
        "[]\n",
        '["end", null]\n',
        f"{TOKEN}[\n",
        f"{TOKEN}" + "[" * 50_000 + "\n",
        f"{TOKEN}" + "1" * 5_000 + "\n",
        record(["end", None], ["end", None]),
        record(["end", None], ["event", ["call", "x", []]]),
        record(["stop", "x"], ["end", None]),
        record(["interface", INTERFACE], ["interface", INTERFACE]),
        record(["patterns", [["a", 0]]]),
        record([["end"], None]),
        record(["end"]),
        record(["end", "x" * 100_000]),
        record(["event", ["call", "x" * 1_000, []]]),
        record(["event", ["call", "x", ["y"] * 100]]),
        record(["event", [[], "x", []]]),
        record(["event", ["import", "x", []]]),
        record(*[["event", ["call", "x", []]]] * (MAX_EVENTS + 1)),
        "x" * (MAX_RECORDING + 1),
    ],
    ids=range(20),
)
def test_what_no_recorder_writes_is_forged(text: str) -> None:
    with pytest.raises(Forged):
        read_recording(text, TOKEN)


@pytest.mark.parametrize(
    "change",
    [
        {"name": 3},
        {"name": "x" * 100_000},
        {"kind": "neither"},
        {"kind": []},
        {"flags": "--rows"},
        {"flags": []},
        {"flags": ["x"] * (MAX_ITEMS + 1)},
        {"choices": {}},
        {"default": [[[[[[[1]]]]]]]},
        {"default": 1 << 70},
        {"default": float("nan")},
        {"default": ["x"] * (MAX_ITEMS + 1)},
        {"nargs": 2.5},
        {"required": 1},
        {"exclusive": True},
        {"more": 1},
    ],
    ids=str,
)
def test_an_argument_of_another_shape_is_forged(change: dict[str, object]) -> None:
    with pytest.raises(Forged):
        read_interface({**INTERFACE, "arguments": [ARGUMENT | change]})


def test_subcommands_have_few_levels() -> None:
    command = COMMAND
    for _ in range(3):
        command = {**COMMAND, "commands": [{"name": "x", "help": "", **command}]}
    assert read_interface({"library": "click", **command})
    with pytest.raises(Forged):
        read_interface({"library": "click", **COMMAND, "commands": [{"name": "x", "help": "", **command}]})


def test_a_text_that_cannot_be_printed_is_made_printable() -> None:
    found = read_recording(record(["event", ["call", "\ud800", []]]), TOKEN)
    assert found.events[0].name == "?"


@given(st.lists(json_values, max_size=5), st.sampled_from(["event", "interface", "end", "stop", "unreadable", "x"]))
def test_any_json_is_read_or_forged(values: list[object], kind: str) -> None:
    for text in (record(*values), record(*([kind, value] for value in values))):
        try:
            assert isinstance(read_recording(text, TOKEN), Recording)
        except Forged:
            continue


@given(json_values, st.sampled_from(sorted(ARGUMENT)))
def test_any_field_of_an_argument_is_read_or_forged(value: object, field: str) -> None:
    data = json.loads(json.dumps({**INTERFACE, "arguments": [{**ARGUMENT, field: value}]}))
    try:
        found = read_interface(data)
    except Forged:
        return
    assert found.command.usage
    json.dumps(found.as_data(), allow_nan=False).encode()
