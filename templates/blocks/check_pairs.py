"""Preference data: checking that rows are pairs that TRL reads as they are meant."""

from typing import Any

from .stop import stop


def check_pairs(rows: Any, source: str) -> None:
    """Stop with 4 unless `chosen`, `rejected` and a `prompt`, if any, are all text or all messages.

    TRL looks at one column of the first row and takes the others to be alike; a prompt that the answers repeat is
    trained on twice.
    """
    names = [name for name in ("chosen", "rejected", "prompt") if name in rows.column_names]
    expected, repeats = "", "prompt" in names and len(rows) > 0
    for number, row in enumerate(rows.select_columns(names)):
        for name in names:
            kind = kind_of_answer(row[name])
            expected = expected or (kind if kind in {"text", "messages"} else "text or messages")
            if kind != expected:
                fix = "correct or remove the row; dataset_inspector.py prints the code that maps other formats"
                if name == "prompt" and expected == "messages" and row["chosen"][0]["role"] != "assistant":
                    fix = "the answers hold it too: --map prompt=question"
                stop(4, f"row {number} of {source}: {name} is {kind}, expected {expected}", fix)
        prompt = row.get("prompt")
        repeats = repeats and all(prompt and row[name][: len(prompt)] == prompt for name in names[:2])
    if repeats:
        found = f"each chosen and rejected answer of {source} begins with its prompt"
        stop(4, found, "TRL finds the prompt in them without that column: --map prompt=question")


def kind_of_answer(value: Any) -> str:
    """Return `text`, `messages`, or what the value is instead."""
    if isinstance(value, str):
        return "text"
    if not isinstance(value, list) or not value:
        return "empty" if value in (None, []) else f"a {type(value).__name__}"
    for turn in value:
        if not isinstance(turn, dict) or not isinstance(turn.get("role"), str):
            return "a list of something other than messages with role and content"
        if turn.get("content") is None and not turn.get("tool_calls"):
            return f"messages of which one of role {turn['role']!r} has no content"
    return "messages"
