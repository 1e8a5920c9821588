# block: formats 1
"""Which post-training methods of TRL a dataset can feed, judged from its rows: `inspect_rows(rows, features)`.

Promises: a pure function of values and types, names come second; READY is what TRL 1.16 takes as it is, NEEDS MAPPING
comes with code that makes it READY, INCOMPATIBLE with what is missing; names reach the code through repr() only.
Rules: the dataset preparation of TRL 1.16's SFT, DPO, Reward, KTO and GRPO trainers, and trl/data_utils.py.
"""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

READY = "READY"
NEEDS_MAPPING = "NEEDS MAPPING"
INCOMPATIBLE = "INCOMPATIBLE"
METHODS = ("SFT", "DPO", "GRPO", "KTO", "Reward")

PROMPT_WORDS = ("prompt", "instruction", "question", "query", "problem", "input", "user", "request", "task", "turns")
RESPONSE_WORDS = ("completion", "response", "answer", "output", "solution", "target", "reply", "ground_truth", "gold")
CHOSEN_WORDS = ("chosen", "preferred", "accepted", "better", "positive")
REJECTED_WORDS = ("rejected", "dispreferred", "worse", "negative")
LABEL_WORDS = ("label", "is_correct", "correct", "desirable", "accepted", "thumbs_up", "feedback")
CHAT_WORDS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
TEXT_WORDS = ("text", "content", "document", "body", "article", "passage", "story", "code")
CONTEXT_WORDS = ("input", "context", "passage")
# A name with one of these words holds something about the data, not the data: prompt_id, chosen_rating, answer_length.
ASIDE_WORDS = frozenset(
    (
        *("id", "ids", "idx", "index", "hash", "uuid", "type", "lang", "language", "category", "source", "model"),
        *("url", "date", "time", "timestamp", "len", "length", "num", "count", "rating", "score", "name", "format"),
        *("mask", "tokens", "embedding"),
    )
)
KNOWN_ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})
ROLE_NAMES = {
    "human": "user",
    "prompter": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "chatbot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "function_response": "tool",
    "observation": "tool",
}
CHATS = frozenset({"messages", "sharegpt", "json messages", "json sharegpt"})
TEXTS_OR_CHATS = CHATS | {"text"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column as its values show it. `unusable` are the row numbers (from 0) whose value no trainer can take."""

    name: str
    kind: str
    type: str
    nulls: int
    empty: int
    unusable: tuple[int, ...]
    roles: frozenset[str]
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one method makes of the rows. `rows` are the numbers (from 0) of rows that show the reason."""

    method: str
    status: str
    reason: str
    notes: tuple[str, ...] = ()
    rows: tuple[int, ...] = ()
    mapping: str | None = None


Table = dict[str, Column]


def inspect_rows(rows: Sequence[Mapping[str, Any]], features: Mapping[str, str] | None = None) -> tuple[Verdict, ...]:
    """Return one verdict a method, in the order of METHODS. `features` maps column names to types, where known."""
    table = profile_columns(rows, features)
    if not rows:
        return tuple(Verdict(method=method, status=INCOMPATIBLE, reason="there are no rows") for method in METHODS)
    judges = {"SFT": _sft, "DPO": _dpo, "GRPO": _grpo, "KTO": _kto, "Reward": _reward}
    return tuple(_with_image_note(judges[method](table), table) for method in METHODS)


def profile_columns(rows: Sequence[Mapping[str, Any]], features: Mapping[str, str] | None = None) -> Table:
    """Return each column by name, in the order of the file. A key that a row lacks is a null of that row."""
    names = dict.fromkeys([*(features or {}), *(name for row in rows for name in row)])
    return {name: _profile(name, [row.get(name) for row in rows], (features or {}).get(name, "")) for name in names}


def _profile(name: str, values: Sequence[Any], type_name: str) -> Column:
    kinds = [kind_of(value) for value in values]
    kind = _common_kind(Counter(item for item in kinds if item not in {"null", "empty list"}))
    chats = [_turns(value) for value, its in zip(values, kinds, strict=True) if its in CHATS]
    unusable = [
        number
        for number, (value, its) in enumerate(zip(values, kinds, strict=True))
        if its in {"null", "empty list"} or (its in CHATS and not _turns_have_content(_turns(value)))
    ]
    return Column(
        name=name,
        kind=kind,
        type=type_name or kind,
        nulls=kinds.count("null"),
        empty=sum(
            its == "empty list" or (its == "text" and not value.strip())
            for its, value in zip(kinds, values, strict=True)
        ),
        unusable=tuple(unusable),
        roles=frozenset(str(turn.get("role", turn.get("from"))) for turns in chats for turn in turns),
        values=tuple(values),
    )


def kind_of(value: object) -> str:
    """Return what `value` is to a trainer: text, messages, sharegpt, tokens, bool, int, struct ..."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return _kind_of_text(value)
    if isinstance(value, list | tuple):
        return _kind_of_list(value)
    if isinstance(value, Mapping):
        return "image" if value.keys() == {"bytes", "path"} else "struct"
    return type(value).__name__


def _kind_of_text(value: str) -> str:
    start = value.lstrip()[:2]
    if not start.startswith("[") or "{" not in value:
        return "text"
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return "text"
    inner = _kind_of_list(parsed) if isinstance(parsed, list) else "text"
    return f"json {inner}" if inner in {"messages", "sharegpt"} else "text"


def _kind_of_list(value: Sequence[Any]) -> str:
    items = [item for item in value if item is not None]
    if not items:
        return "empty list"
    if all(isinstance(item, Mapping) for item in items):
        if all("role" in item for item in items):
            return "messages"
        return "sharegpt" if all("from" in item and "value" in item for item in items) else "list of structs"
    names = {type(item).__name__ for item in items}
    return {"str": "texts", "bool": "bools", "int": "tokens"}.get(names.pop(), "list") if len(names) == 1 else "list"


def _common_kind(kinds: Counter[str]) -> str:
    if len(kinds) <= 1:
        return next(iter(kinds), "null")
    if kinds.keys() <= {"int", "float"}:
        return "float"
    if kinds.keys() <= {"text", "json messages", "json sharegpt"}:
        return "text"
    return "mixed"


def _turns(value: str | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [turn for turn in (json.loads(value) if isinstance(value, str) else value) if turn is not None]


def _turns_have_content(turns: Iterable[Mapping[str, Any]]) -> bool:
    return all(
        turn.get("tool_calls") or isinstance(turn.get("content", turn.get("value")), str | list) for turn in turns
    )


# --- judges: one a method ---


def _sft(table: Table) -> Verdict:
    tokens = _column(table, "input_ids", {"tokens"})
    if tokens:
        return _accept("SFT", [tokens], f"{_held(tokens)}: already tokenised")
    ready = _sft_as_it_is(table) if "input_ids" not in table else None
    return ready or _sft_mapped(table) or _refuse("SFT", table, "messages, a text, or a prompt with its completion")


def _sft_as_it_is(table: Table) -> Verdict | None:
    if "prompt" in table:  # TRL then looks for a completion, whatever else there is
        prompt, completion = (_column(table, name, {"text", "messages"}) for name in ("prompt", "completion"))
        if prompt and completion and prompt.kind == completion.kind and _roles_known(prompt, completion):
            return _accept("SFT", [prompt, completion], _held(prompt, completion))
        return None
    chat = _column(table, "conversations", {"sharegpt"}) or _column(table, "messages", {"messages"})
    if chat:
        return _accept("SFT", [chat], _held(chat), _chat_notes(chat)) if _roles_known(chat) else None
    text = _column(table, "text", {"text"})
    return _accept("SFT", [text], _held(text), _label_notes(table)) if text else None


def _sft_mapped(table: Table) -> Verdict | None:
    chat = _find(table, CHAT_WORDS, CHATS)
    if chat:
        return _map("SFT", [chat], {"messages": _as_chat(chat, "")}, f"{_held(chat)} {_chat_flaw(chat, table)}")
    prompt = _find_prompt(table)
    response = _find(table, RESPONSE_WORDS, TEXTS_OR_CHATS, prompt) or _find(
        table, CHOSEN_WORDS, TEXTS_OR_CHATS, prompt
    )
    if response and response.kind in CHATS and (prompt is None or _opens_with_user(response)):
        return _map("SFT", [response], {"messages": _as_chat(response, "")}, f"{_held(response)}: whole conversations")
    if prompt and response and prompt.kind == response.kind == "text" and _repeats_prompt(prompt, response):
        return _map(
            "SFT", [response], {"text": _at(response)}, f"{_held(response)} begins with {prompt.name!r}: plain text"
        )
    if prompt and response:
        fields = {"prompt": _as_prompt(table, prompt, response), "completion": _as_chat(response, "assistant")}
        return _map("SFT", [prompt, response], fields, f"{_held(prompt, response)}: a prompt and its completion")
    text = _find(table, TEXT_WORDS, {"text"})
    if text and prompt is None:
        reason = f"{_held(text)}: plain text" + (f"; the column {'prompt'!r} misleads TRL" if "prompt" in table else "")
        return _map("SFT", [text], {"text": _at(text)}, reason)
    return None


def _dpo(table: Table) -> Verdict:
    return _preference("DPO", table)


def _reward(table: Table) -> Verdict:
    return _preference("Reward", table)


def _preference(method: str, table: Table) -> Verdict:
    tokenised = [_column(table, name, {"tokens"}) for name in ("chosen_ids", "rejected_ids")]
    if method == "Reward" and all(tokenised):
        return _accept(
            method, [column for column in tokenised if column], "chosen_ids, rejected_ids: already tokenised"
        )
    verdict = _preference_as_it_is(method, table) or _preference_mapped(method, table) or _graded_pairs(method, table)
    return verdict or _refuse(method, table, "a chosen and a rejected answer")


def _preference_as_it_is(method: str, table: Table) -> Verdict | None:
    chosen, rejected = (_column(table, name, {"text", "messages"}) for name in ("chosen", "rejected"))
    if not chosen or not rejected or chosen.kind != rejected.kind or not _roles_known(chosen, rejected):
        return None
    notes = _pair_notes(chosen, rejected)
    if "prompt" in table:
        prompt = _column(table, "prompt", {chosen.kind})
        if prompt is None or not _roles_known(prompt) or _repeats_prompt(prompt, chosen):
            return None
        return _accept(method, [prompt, chosen, rejected], _held(prompt, chosen, rejected), notes)
    if method == "Reward":
        return _accept(method, [chosen, rejected], f"{_held(chosen, rejected)}, compared as a whole", notes)
    return _implicit_prompt(method, table, chosen, rejected, notes)


def _implicit_prompt(
    method: str, table: Table, chosen: Column, rejected: Column, notes: Sequence[str]
) -> Verdict | None:
    """TRL takes the common opening of both answers as the prompt; a pair without one breaks it."""
    apart = _apart(chosen, rejected)
    reason = f"{_held(chosen, rejected)}, the prompt is their common opening"
    if len(apart) == len(chosen.values) and (chosen.kind == "messages" or _find_prompt(table)):
        return None
    if chosen.kind == "text":
        empty = chosen.empty + rejected.empty
        notes = (*notes, f"{len(apart)} pairs open differently: their prompt will be empty") if apart else notes
        return (
            _accept(method, [chosen, rejected], reason, notes) if not empty else _without(method, apart, reason, notes)
        )
    return _without(method, apart, reason, notes) if apart else _accept(method, [chosen, rejected], reason, notes)


def _without(method: str, rows: Sequence[int], reason: str, notes: Sequence[str]) -> Verdict:
    """NEEDS MAPPING: the pairs that do not open alike are left out."""
    alike = 'bool(row["chosen"] and row["rejected"]) and row["chosen"][0] == row["rejected"][0]'
    return Verdict(
        method=method,
        status=NEEDS_MAPPING,
        reason=f"{reason}, but {len(rows)} pairs have none",
        notes=tuple(notes),
        rows=tuple(rows),
        mapping=f"dataset = dataset.filter(lambda row: {alike})\n",
    )


def _preference_mapped(method: str, table: Table) -> Verdict | None:
    chosen = _find(table, CHOSEN_WORDS, TEXTS_OR_CHATS)
    rejected = _find(table, REJECTED_WORDS, TEXTS_OR_CHATS)
    if chosen is None or rejected is None:
        return None
    prompt = _find_prompt(table, chosen, rejected)
    fields = {"chosen": _as_chat(chosen, "assistant"), "rejected": _as_chat(rejected, "assistant")}
    whole = chosen.kind in CHATS and rejected.kind in CHATS and _opens_with_user(chosen)
    if whole and (method == "Reward" or len(_apart(chosen, rejected)) < len(chosen.values)):
        return _map(method, [chosen, rejected], fields, f"{_held(chosen, rejected)}: conversations with their prompt")
    texts = chosen.kind == rejected.kind == "text"
    if texts and (prompt is None or (prompt.kind == "text" and _repeats_prompt(prompt, chosen))):
        plain = {"chosen": _at(chosen), "rejected": _at(rejected)}
        return _map(method, [chosen, rejected], plain, f"{_held(chosen, rejected)}: two answers that hold their prompt")
    if prompt is None and method == "Reward":
        return _map(method, [chosen, rejected], fields, f"{_held(chosen, rejected)}: a preferred and a worse answer")
    if prompt is None:
        return None
    fields = {"prompt": _as_prompt(table, prompt, chosen, rejected), **fields}
    return _map(method, [prompt, chosen, rejected], fields, f"{_held(prompt, chosen, rejected)}: a prompt, two answers")


def _kto(table: Table) -> Verdict:
    paired = _preference_as_it_is("KTO", table)
    if paired:
        return paired
    verdict = _kto_as_it_is(table) or _kto_mapped(table) or _preference_mapped("KTO", table) or _graded_rows(table)
    return verdict or _refuse("KTO", table, "a prompt, a completion and a true/false label")


def _kto_as_it_is(table: Table) -> Verdict | None:
    prompt, completion = (_column(table, name, {"text", "messages"}) for name in ("prompt", "completion"))
    label = _column(table, "label", {"bool", "int"})
    preference = {"chosen", "rejected"} <= table.keys()
    if not prompt or not completion or not label or preference or not _is_binary(label):
        return None
    if prompt.kind != completion.kind or not _roles_known(prompt, completion):
        return None
    values = {bool(value) for value in label.values if value is not None}
    notes = () if len(values) == 2 else (f"every label is {values.pop()}: there is nothing to tell apart",)
    return _accept("KTO", [prompt, completion, label], _held(prompt, completion, label), notes)


def _kto_mapped(table: Table) -> Verdict | None:
    label = _find(table, LABEL_WORDS, {"bool", "int", "float"})
    prompt = _find_prompt(table)
    response = _find(table, RESPONSE_WORDS, TEXTS_OR_CHATS, prompt)
    if not label or not prompt or not response or not _is_binary(label):
        return None
    fields = {
        "prompt": _as_prompt(table, prompt, response),
        "completion": _as_chat(response, "assistant"),
        "label": f"bool({_at(label)})",
    }
    return _map("KTO", [prompt, response, label], fields, f"{_held(prompt, response, label)}: a judged answer")


def _grpo(table: Table) -> Verdict:
    prompt = _column(table, "prompt", {"text", "messages"})
    stepwise = "completions" in table and table["completions"].kind == "texts"
    if prompt and not stepwise and _roles_known(prompt) and not _ends_with_assistant(prompt):
        return _accept("GRPO", [prompt], _held(prompt), _reward_notes(table, prompt))
    return _grpo_mapped(table, stepwise=stepwise) or _refuse("GRPO", table, "a prompt")


def _grpo_mapped(table: Table, *, stepwise: bool) -> Verdict | None:
    prompt = _find_prompt(table) or _find(table, CHAT_WORDS, CHATS) or _find(table, CHOSEN_WORDS, CHATS)
    if prompt is None:
        return None
    if stepwise:
        reason = f"{_held(prompt)}, but the rows are for stepwise supervision (completions with a label a step)"
        return _map("GRPO", [prompt], {"prompt": _as_prompt(table, prompt)}, reason)
    chat = prompt.kind in CHATS
    fields = {"prompt": f"opening({_as_chat(prompt, '')})" if chat else _as_prompt(table, prompt)}
    reason = f"{_held(prompt)}" + (": the turns before the first answer are the prompt" if chat else ": the prompt")
    verdict = _map("GRPO", [prompt], fields, reason, keep=True, notes=_reward_notes(table, prompt))
    only_asked = "dataset = dataset.filter(lambda row: bool(row['prompt']))\n"
    return replace(verdict, mapping=f"{verdict.mapping}{only_asked}") if chat else verdict


# --- graded answers: a struct a model, with a text and whether it is right ---


@dataclass(frozen=True, slots=True, kw_only=True)
class _Graded:
    prompt: Column
    answers: tuple[str, ...]
    flag: str
    text: str


def _graded(table: Table) -> _Graded | None:
    prompt = _find_prompt(table)
    structs = [column for column in table.values() if column.kind == "struct"]
    if prompt is None or prompt.kind != "text":
        return None
    fields = Counter(
        (key, kind_of(value)) for column in structs for value in column.values if value for key, value in value.items()
    )
    flags = [key for key, kind in fields if kind == "bool"]
    texts = [key for key, kind in fields if kind == "text"]
    answers = (
        tuple(c.name for c in structs if all(flags[0] in v and texts[0] in v for v in c.values if v))
        if flags and texts
        else ()
    )
    return _Graded(prompt=prompt, answers=answers, flag=flags[0], text=texts[0]) if len(answers) > 1 else None


def _graded_pairs(method: str, table: Table) -> Verdict | None:
    graded = _graded(table)
    if graded is None or not any(len(set(_flags(graded, table, row))) == 2 for row in range(len(graded.prompt.values))):
        return None
    code = f"""\
def pairs(rows):
    made = {{"prompt": [], "chosen": [], "rejected": []}}
    for number, question in enumerate(rows[{graded.prompt.name!r}]):
        answers = [rows[name][number] for name in {list(graded.answers)!r}]
        right = [answer[{graded.text!r}] for answer in answers if answer and answer[{graded.flag!r}]]
        wrong = [answer[{graded.text!r}] for answer in answers if answer and not answer[{graded.flag!r}]]
        for chosen, rejected in zip(right, wrong):
            made["prompt"].append([{{"role": "user", "content": question}}])
            made["chosen"].append([{{"role": "assistant", "content": chosen}}])
            made["rejected"].append([{{"role": "assistant", "content": rejected}}])
    return made


dataset = dataset.map(pairs, batched=True, remove_columns=dataset.column_names)
"""
    return Verdict(
        method=method,
        status=NEEDS_MAPPING,
        reason=_graded_reason(graded, "pairs of a right and a wrong one"),
        mapping=code,
    )


def _graded_rows(table: Table) -> Verdict | None:
    graded = _graded(table)
    if graded is None:
        return None
    code = f"""\
def judged(rows):
    made = {{"prompt": [], "completion": [], "label": []}}
    for number, question in enumerate(rows[{graded.prompt.name!r}]):
        for answer in (rows[name][number] for name in {list(graded.answers)!r}):
            if answer and answer[{graded.text!r}] is not None and answer[{graded.flag!r}] is not None:
                made["prompt"].append([{{"role": "user", "content": question}}])
                made["completion"].append([{{"role": "assistant", "content": answer[{graded.text!r}]}}])
                made["label"].append(answer[{graded.flag!r}])
    return made


dataset = dataset.map(judged, batched=True, remove_columns=dataset.column_names)
"""
    return Verdict(
        method="KTO", status=NEEDS_MAPPING, reason=_graded_reason(graded, "a labelled row each"), mapping=code
    )


def _graded_reason(graded: _Graded, use: str) -> str:
    return f"{_held(graded.prompt)} with {len(graded.answers)} answers marked by {graded.flag!r}: {use}"


def _flags(graded: _Graded, table: Table, row: int) -> list[bool]:
    answers = [table[name].values[row] for name in graded.answers]
    return [bool(answer[graded.flag]) for answer in answers if answer]


# --- verdicts ---


def _accept(method: str, columns: Sequence[Column], reason: str, notes: Sequence[str] = ()) -> Verdict:
    """READY, or NEEDS MAPPING when rows must be left out first."""
    bad = sorted({row for column in columns for row in column.unusable})
    notes = (*notes, *(f"{column.name!r} is empty in {column.empty} rows" for column in columns if column.empty))
    if not bad:
        return Verdict(method=method, status=READY, reason=reason, notes=tuple(notes))
    flawed = [column for column in columns if column.unusable]
    reason = f"{reason}, but {len(bad)} rows have no value in {', '.join(repr(column.name) for column in flawed)}"
    code = _filter(flawed)
    return Verdict(
        method=method, status=NEEDS_MAPPING, reason=reason, notes=tuple(notes), rows=tuple(bad), mapping=code
    )


def _map(
    method: str,
    columns: Sequence[Column],
    fields: Mapping[str, str],
    reason: str,
    *,
    keep: bool = False,
    notes: Sequence[str] = (),
) -> Verdict:
    """NEEDS MAPPING, with the code that builds `fields` (name -> expression over `row`) from `columns`."""
    bad = sorted({row for column in columns for row in column.unusable})
    flawed = [column for column in columns if column.unusable]
    body = "".join(f"        {name!r}: {expression},\n" for name, expression in fields.items())
    remove = "" if keep else ", remove_columns=dataset.column_names"
    code = f"def convert(row):\n    return {{\n{body}    }}\n\n\n"
    code = _helpers(code) + code + (_filter(flawed) if flawed else "") + f"dataset = dataset.map(convert{remove})\n"
    return Verdict(
        method=method, status=NEEDS_MAPPING, reason=reason, notes=tuple(notes), rows=tuple(bad), mapping=code
    )


def _refuse(method: str, table: Table, needed: str) -> Verdict:
    odd = [
        f"{name!r} holds {table[name].kind}"
        for name in ("prompt", "completion", "chosen", "rejected", "label")
        if name in table
    ]
    found = (
        ", ".join(odd) or "none of the columns " + ", ".join(repr(name) for name in list(table)[:8]) + " looks like it"
    )
    return Verdict(method=method, status=INCOMPATIBLE, reason=f"needs {needed}; {found}")


def _helpers(code: str) -> str:
    helpers = ""
    if "json.loads(" in code:
        helpers += "import json\n\n\n"
    if "chat(" in code:
        helpers += (
            f"ROLES = {ROLE_NAMES!r}\n\n\n"
            "def chat(turns):\n"
            '    pairs = [(turn.get("role", turn.get("from")), turn.get("content", turn.get("value"))) for turn in turns]\n'
            '    return [{"role": ROLES.get(role, role), "content": content} for role, content in pairs]\n\n\n'
        )
    if "opening(" in code:
        helpers += (
            "def opening(turns):\n"
            '    first = next((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), len(turns))\n'
            "    return turns[:first]\n\n\n"
        )
    return helpers


def _filter(columns: Iterable[Column]) -> str:
    tests = " and ".join(_usable_test(column) for column in columns)
    return f"dataset = dataset.filter(lambda row: {tests})\n"


def _usable_test(column: Column) -> str:
    if column.kind not in CHATS:
        return f"{_at(column)} is not None" if column.kind not in {"texts", "tokens"} else f"bool({_at(column)})"
    turns = f"json.loads({_at(column)})" if column.kind.startswith("json") else _at(column)
    content = 'turn.get("tool_calls") or turn.get("content", turn.get("value")) is not None'
    return f"bool({_at(column)}) and all({content} for turn in {turns})"


# --- expressions over `row` ---


def _at(column: Column) -> str:
    return f"row[{column.name!r}]"


def _as_chat(column: Column, role: str) -> str:
    """Return an expression for a list of messages; plain text becomes one message of `role`."""
    if column.kind == "text":
        return f'[{{"role": "{role}", "content": {_at(column)}}}]'
    if column.kind == "texts":
        return f'[{{"role": "{role}", "content": {_at(column)}[0]}}]'
    turns = f"json.loads({_at(column)})" if column.kind.startswith("json") else _at(column)
    renamed = column.kind.endswith("sharegpt") or bool(column.roles & ROLE_NAMES.keys())
    return f"chat({turns})" if renamed else turns


def _as_prompt(table: Table, prompt: Column, *others: Column) -> str:
    """Return an expression for the prompt's messages; an instruction takes its separate input or context along."""
    context = _find(table, CONTEXT_WORDS, {"text"}, prompt, *others)
    if prompt.kind != "text" or context is None:
        return _as_chat(prompt, "user")
    joined = f'"\\n\\n".join(part for part in ({_at(prompt)}, {_at(context)}) if part)'
    return f'[{{"role": "user", "content": {joined}}}]'


# --- finding columns ---


def _column(table: Table, name: str, kinds: Iterable[str]) -> Column | None:
    column = table.get(name)
    return column if column is not None and column.kind in kinds else None


def _find_prompt(table: Table, *taken: Column | None) -> Column | None:
    return _find(table, PROMPT_WORDS, {"text", "messages", "sharegpt", "texts"}, *taken)


def _find(table: Table, words: Sequence[str], kinds: Iterable[str], *taken: Column | None) -> Column | None:
    """Return the column of one of `kinds` whose name fits best: the word itself before a name that contains it."""
    names = {column.name for column in taken if column is not None}
    fitting = [column for column in table.values() if column.kind in kinds and column.name not in names]
    ranked = [(rank, column) for column in fitting if (rank := _fit(column.name, words)) is not None]
    return min(ranked, key=lambda item: item[0])[1] if ranked else None


def _fit(name: str, words: Sequence[str]) -> tuple[int, int] | None:
    spaced = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", name).lower()
    if spaced in words:
        return 0, words.index(spaced)
    parts = [part for part in re.split(r"[^a-z0-9]+", spaced) if part]
    if ASIDE_WORDS & set(parts):
        return None
    joined = f"_{'_'.join(parts)}_"
    return next(((1, number) for number, word in enumerate(words) if f"_{word}_" in joined), None)


# --- what the values say ---


def _roles_known(*columns: Column) -> bool:
    return not any(column.roles & ROLE_NAMES.keys() for column in columns)


def _chat_flaw(column: Column, table: Table) -> str:
    foreign = sorted(column.roles & ROLE_NAMES.keys())
    if column.kind.startswith("json"):
        return "as JSON text: it must be decoded"
    if foreign:
        return f"with the roles {', '.join(map(repr, foreign))}: TRL keeps them, chat templates do not know them"
    if "prompt" in table or "input_ids" in table:
        return f"beside a column {'prompt' if 'prompt' in table else 'input_ids'!r} that TRL would take instead"
    return "under another name or form than TRL's"


def _opens_with_user(column: Column) -> bool:
    firsts = [_turns(value)[0] for value in column.values if value]
    return any(
        ROLE_NAMES.get(role, role) in {"user", "system"} for role in (t.get("role", t.get("from")) for t in firsts)
    )


def _ends_with_assistant(column: Column) -> bool:
    return column.kind == "messages" and any(value[-1].get("role") == "assistant" for value in column.values if value)


def _repeats_prompt(prompt: Column, chosen: Column) -> bool:
    """Return whether `chosen` holds the prompt again: TRL would then train on it twice."""
    pairs = [(p, c) for p, c in zip(prompt.values, chosen.values, strict=True) if p and c]
    repeats = [c[: len(p)] == p if isinstance(p, list) else c.startswith(p) for p, c in pairs]
    return bool(repeats) and all(repeats)


def _apart(chosen: Column, rejected: Column) -> list[int]:
    """Return the rows whose two answers do not begin alike, or of which one is missing or empty."""
    pairs = enumerate(zip(chosen.values, rejected.values, strict=True))
    return [row for row, (c, r) in pairs if not c or not r or _first(c, chosen) != _first(r, rejected)]


def _first(value: str | Sequence[Mapping[str, Any]], column: Column) -> object:
    return _turns(value)[0] if column.kind in CHATS else value[0]


def _is_binary(label: Column) -> bool:
    return {value for value in label.values if value is not None} <= {0, 1}


# --- notes ---


def _held(*columns: Column) -> str:
    return ", ".join(f"{column.name!r} ({column.kind})" for column in columns)


def _pair_notes(chosen: Column, rejected: Column) -> tuple[str, ...]:
    same = [row for row, (c, r) in enumerate(zip(chosen.values, rejected.values, strict=True)) if c and c == r]
    return (f"chosen equals rejected in {len(same)} rows: no signal there",) if same else ()


def _chat_notes(column: Column) -> tuple[str, ...]:
    chats = [[turn.get("role", turn.get("from")) for turn in _turns(value)] for value in column.values if value]
    checks: dict[str, Callable[[list[str]], bool]] = {
        "have no assistant turn to learn from": lambda roles: "assistant" not in roles,
        "have two user or two assistant turns in a row": lambda roles: any(
            a == b and a in {"user", "assistant"} for a, b in itertools.pairwise(roles)
        ),
    }
    unknown = sorted(column.roles - KNOWN_ROLES)
    notes = [f"roles that chat templates may refuse: {', '.join(map(repr, unknown))}"] if unknown else []
    counts = {what: sum(map(check, chats)) for what, check in checks.items()}
    return (*notes, *(f"{count} of {len(chats)} conversations {what}" for what, count in counts.items() if count))


def _label_notes(table: Table) -> tuple[str, ...]:
    label = next((table[name] for name in ("label", "labels") if name in table), None)
    if label is None or label.kind not in {"int", "text", "bool"}:
        return ()
    return (
        f"{label.name!r} ({label.kind}) beside the text: this looks like a classification set, TRL ignores the label",
    )


def _reward_notes(table: Table, prompt: Column) -> tuple[str, ...]:
    passed = [name for name in table if name not in {prompt.name, "prompt", "completion", "completions"}]
    if not passed:
        return ("no other column: reward functions see the prompt and the completion only",)
    return (f"reward functions also get: {', '.join(map(repr, passed[:8]))}",)


def _with_image_note(verdict: Verdict, table: Table) -> Verdict:
    images = [name for name in ("image", "images") if name in table]
    if not images or verdict.status == INCOMPATIBLE:
        return verdict
    note = f"{images[0]!r} is there: only a vision-language model can train on it"
    return replace(verdict, notes=(*verdict.notes, note))
