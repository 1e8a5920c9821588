# block: formats 2
"""Which post-training methods of TRL a dataset can feed, judged from its rows: `inspect_rows(rows, features)`.

Promises: a pure function of values and types, names come second; READY is what TRL 1.16 takes as it is, NEEDS MAPPING
comes with code that makes it READY, INCOMPATIBLE with what is missing; names reach the code through repr() only.
Rules: the dataset preparation of TRL 1.16's SFT, DPO, Reward, KTO, GRPO and RLOO trainers, and trl/data_utils.py. It has
no trainer for stepwise supervision: PRM is judged by the format its documentation gives.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

READY = "READY"
NEEDS_MAPPING = "NEEDS MAPPING"
INCOMPATIBLE = "INCOMPATIBLE"
METHODS = ("SFT", "DPO", "GRPO", "KTO", "Reward", "RLOO", "PRM", "Prompt-only")

PROMPT_WORDS = ("prompt", "instruction", "question", "query", "problem", "input", "user", "request", "task", "turns")
RESPONSE_WORDS = ("completion", "response", "answer", "output", "solution", "target", "reply", "ground_truth", "gold")
CHOSEN_WORDS = ("chosen", "preferred", "accepted", "better", "positive")
REJECTED_WORDS = ("rejected", "dispreferred", "worse", "negative")
LABEL_WORDS = ("label", "is_correct", "correct", "desirable", "accepted", "thumbs_up", "feedback")
CHAT_WORDS = ("messages", "conversations", "conversation", "dialogue", "dialog", "chat", "turns")
TEXT_WORDS = ("text", "content", "document", "body", "article", "passage", "story", "code")
CONTEXT_WORDS = ("input", "context", "passage")
SYSTEM_WORDS = ("system", "system_prompt", "system_message")
STEP_WORDS = ("completions", "steps", "step")
STEP_LABEL_WORDS = ("labels", "step_labels", "ratings", "correctness")
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
    "function_call": "assistant",
    "function_response": "tool",
    "observation": "tool",
}
GOOD_WORDS = frozenset({"true", "yes", "1", "good", "correct", "right", "positive", "desirable", "chosen", "accepted"})
BAD_WORDS = frozenset({"false", "no", "0", "bad", "incorrect", "wrong", "negative", "undesirable", "rejected"})
ROLE_KEYS = ("role", "from", "speaker")
CONTENT_KEYS = ("content", "value", "text")
CHATS = frozenset({"messages", "sharegpt", "turns", "json messages", "json sharegpt", "json turns"})
TEXTS_OR_CHATS = CHATS | {"text"}
IMAGES = frozenset({"image", "images"})
# The columns in which TRL looks for conversations; it asks one of them, which one is left to chance.
CONVERSATION_COLUMNS = ("prompt", "completion", "chosen", "rejected", "messages")


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
    if not rows:
        return tuple(Verdict(method=method, status=INCOMPATIBLE, reason="there are no rows") for method in METHODS)
    table = profile_columns(rows, features)
    judges: dict[str, Callable[[str, Table], Verdict]] = {"SFT": _sft, "DPO": _pairs, "Reward": _pairs, "KTO": _kto}
    judges |= {"PRM": _prm, "GRPO": _prompts, "RLOO": _prompts, "Prompt-only": _prompts}
    return tuple(_with_image_note(judges[method](method, table), table) for method in METHODS)


def profile_columns(rows: Sequence[Mapping[str, Any]], features: Mapping[str, str] | None = None) -> Table:
    """Return each column by name, in the order of the file. A key that a row lacks is a null of that row."""
    names = dict.fromkeys([*(features or {}), *(name for row in rows for name in row)])
    return {name: _profile(name, [row.get(name) for row in rows], (features or {}).get(name, "")) for name in names}


def _profile(name: str, values: Sequence[Any], type_name: str) -> Column:
    kinds = [kind_of(value) for value in values]
    kind = _common_kind(Counter(item for item in kinds if item not in {"null", "empty list"}))
    pairs = list(zip(values, kinds, strict=True))
    turns = [turn for value, its in pairs if its in CHATS for turn in _turns(value)]
    unusable = [
        number
        for number, (value, its) in enumerate(pairs)
        if its in {"null", "empty list"} or (its in CHATS and not _turns_have_content(value))
    ]
    return Column(
        name=name,
        kind=kind,
        type=type_name or kind,
        nulls=kinds.count("null"),
        empty=sum(its == "empty list" or (its == "text" and not value.strip()) for value, its in pairs),
        unusable=tuple(unusable),
        roles=frozenset(str(_role(turn)) for turn in turns),
        values=tuple(values),
    )


# --- kinds: what a value is to a trainer ---


def kind_of(value: object) -> str:
    """Return what `value` is to a trainer: text, messages, sharegpt, tokens, bool, int, image, struct ..."""
    if value is None:
        return "null"
    if isinstance(value, str):
        return _kind_of_text(value)
    if isinstance(value, list | tuple):
        return _kind_of_list(value)
    if isinstance(value, Mapping):
        return "image" if _is_image(value) else "struct"
    return type(value).__name__


def _is_image(value: Mapping[str, Any]) -> bool:
    """An image as a file stores it (`bytes`, `path`), or as the dataset viewer shows it (`src`, `height`, `width`)."""
    return value.keys() == {"bytes", "path"} or {"src", "height", "width"} <= value.keys()


def _kind_of_text(value: str) -> str:
    start = value.lstrip()[:2]
    if not start.startswith("[") or "{" not in value:
        return "text"
    try:
        parsed = json.loads(value)
    except (ValueError, RecursionError):
        return "text"
    inner = _kind_of_list(parsed) if isinstance(parsed, list) else "text"
    return f"json {inner}" if inner in CHATS else "text"


def _kind_of_list(value: Sequence[Any]) -> str:
    items = [item for item in value if item is not None]
    if not items:
        return "empty list"
    if all(isinstance(item, Mapping) for item in items):
        return _kind_of_structs(items)
    names = {type(item).__name__ for item in items}
    return {"str": "texts", "bool": "bools", "int": "tokens"}.get(names.pop(), "list") if len(names) == 1 else "list"


def _kind_of_structs(items: Sequence[Mapping[str, Any]]) -> str:
    if all("role" in item for item in items) and any("content" in item or "tool_calls" in item for item in items):
        return "messages"
    if all("from" in item and "value" in item for item in items):
        return "sharegpt"
    if all(any(key in item for key in ROLE_KEYS) and any(key in item for key in CONTENT_KEYS) for item in items):
        return "turns"
    return "images" if all(map(_is_image, items)) else "list of structs"


def _common_kind(kinds: Counter[str]) -> str:
    if len(kinds) <= 1:
        return next(iter(kinds), "null")
    if kinds.keys() <= {"int", "float"}:
        return "float"
    if all(kind == "text" or kind.startswith("json") for kind in kinds):
        return "text"
    return "mixed"


def _turns(value: str | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [turn for turn in (json.loads(value) if isinstance(value, str) else value) if turn is not None]


def _role(turn: Mapping[str, Any]) -> str | None:
    return next((turn[key] for key in ROLE_KEYS if key in turn), None)


def _content(turn: Mapping[str, Any]) -> str | list[Any] | None:
    return next((turn[key] for key in CONTENT_KEYS if turn.get(key) is not None), None)


def _turns_have_content(value: str | Sequence[Mapping[str, Any]]) -> bool:
    turns = json.loads(value) if isinstance(value, str) else value
    return all(turn and (turn.get("tool_calls") or isinstance(_content(turn), str | list)) for turn in turns)


# --- judges: each takes the method and the columns ---


def _sft(method: str, table: Table) -> Verdict:
    tokens = _column(table, "input_ids", {"tokens"})
    tokenised = tokens and _accept(method, table, [tokens], f"{_held(tokens)}: already tokenised")
    wanted = "messages, a text, or a prompt with its completion"
    return tokenised or _sft_as_it_is(method, table) or _sft_mapped(method, table) or _refuse(method, table, wanted)


def _sft_as_it_is(method: str, table: Table) -> Verdict | None:
    if "prompt" in table:  # TRL then looks for a completion, whatever else there is
        prompt, completion = (_column(table, name, {"text", "messages"}) for name in ("prompt", "completion"))
        if prompt and completion and _go_together(table, prompt, completion):
            return _accept(method, table, [prompt, completion], _held(prompt, completion))
        return None
    chat = _column(table, "conversations", {"sharegpt"}) or _column(table, "messages", {"messages"})
    if chat:
        return _accept(method, table, [chat], _held(chat), _chat_notes(chat)) if _go_together(table, chat) else None
    text = _column(table, "text", {"text"})
    return _accept(method, table, [text], _held(text), _label_notes(table)) if text else None


def _sft_mapped(method: str, table: Table) -> Verdict | None:
    chat = _find(table, CHAT_WORDS, CHATS)
    if chat:
        reason = f"{_held(chat)} {_chat_flaw(chat, table)}"
        return _map(method, table, [chat], {"messages": _as_whole_chat(table, chat)}, reason)
    prompt = _find_prompt(table)
    response = _find(table, RESPONSE_WORDS, TEXTS_OR_CHATS, prompt) or _find(
        table, CHOSEN_WORDS, TEXTS_OR_CHATS, prompt
    )
    if response and response.kind in CHATS and (prompt is None or _opens_with_user(response)):
        fields = {"messages": _as_whole_chat(table, response)}
        return _map(method, table, [response], fields, f"{_held(response)}: whole conversations")
    if prompt and response and prompt.kind == response.kind == "text" and _repeats_prompt(prompt, response):
        reason = f"{_held(response)} begins with {prompt.name!r}: plain text"
        return _map(method, table, [response], {"text": _at(response)}, reason)
    if prompt and response:
        fields = {"prompt": _as_prompt(table, prompt, response), "completion": _as_chat(response, "assistant")}
        reason = f"{_held(prompt, response)}: a prompt and its completion"
        return _map(method, table, [prompt, response], fields, reason)
    return _sft_from_text(method, table) if prompt is None else None


def _sft_from_text(method: str, table: Table) -> Verdict | None:
    text = _find(table, TEXT_WORDS, {"text"})
    if text is None:
        return None
    reason = f"{_held(text)}: plain text" + ("; the column 'prompt' misleads TRL" if "prompt" in table else "")
    return _map(method, table, [text], {"text": _at(text)}, reason)


def _pairs(method: str, table: Table) -> Verdict:
    verdict = _pairs_tokenised(method, table) or _pairs_as_they_are(method, table) or _pairs_mapped(method, table)
    return verdict or _graded_pairs(method, table) or _refuse(method, table, "a chosen and a rejected answer")


def _pairs_tokenised(method: str, table: Table) -> Verdict | None:
    for names in (("chosen_ids", "rejected_ids"), ("chosen_input_ids", "rejected_input_ids")):
        chosen, rejected = (_column(table, name, {"tokens"}) for name in names)
        if method == "Reward" and chosen and rejected:
            return _accept(method, table, [chosen, rejected], f"{_held(chosen, rejected)}: already tokenised")
    return None


def _pairs_as_they_are(method: str, table: Table) -> Verdict | None:
    chosen, rejected = (_column(table, name, {"text", "messages"}) for name in ("chosen", "rejected"))
    if not chosen or not rejected or not _go_together(table, chosen, rejected):
        return None
    notes = _pair_notes(chosen, rejected)
    if "prompt" in table:
        prompt = _column(table, "prompt", {chosen.kind})
        if prompt is None or not _go_together(table, prompt) or _repeats_prompt(prompt, chosen):
            return None
        return _accept(method, table, [prompt, chosen, rejected], _held(prompt, chosen, rejected), notes)
    if method == "Reward":
        return _accept(method, table, [chosen, rejected], f"{_held(chosen, rejected)}, compared as a whole", notes)
    return _implicit_prompt(method, table, chosen, rejected, notes)


def _implicit_prompt(
    method: str, table: Table, chosen: Column, rejected: Column, notes: Sequence[str]
) -> Verdict | None:
    """TRL takes the common opening of both answers as the prompt; a pair without one breaks it, an empty text too."""
    apart = _apart(chosen, rejected)
    reason = f"{_held(chosen, rejected)}, the prompt is their common opening"
    if len(apart) == len(chosen.values) and (
        chosen.kind == "messages" or chosen.empty + rejected.empty or _find_prompt(table)
    ):
        return None
    if apart and (chosen.kind == "messages" or chosen.empty + rejected.empty):
        # A pair of which one side is missing is apart as well.
        alike = 'bool(row["chosen"] and row["rejected"]) and row["chosen"][0] == row["rejected"][0]'
        code = f"dataset = dataset.filter(lambda row: {alike})\n"
        reason = f"{reason}, but {len(apart)} pairs have none"
        return _needs(method, reason, notes, apart, code + _removal(_misread(method, table, [chosen, rejected])))
    notes = (*notes, f"{len(apart)} pairs open differently: their prompt will be empty") if apart else notes
    return _accept(method, table, [chosen, rejected], reason, notes)


def _pairs_mapped(method: str, table: Table) -> Verdict | None:
    chosen = _find(table, CHOSEN_WORDS, TEXTS_OR_CHATS)
    rejected = _find(table, REJECTED_WORDS, TEXTS_OR_CHATS)
    if chosen is None or rejected is None:
        return None
    prompt, both = _find_prompt(table, chosen, rejected), _held(chosen, rejected)
    fields = {"chosen": _as_chat(chosen, "assistant"), "rejected": _as_chat(rejected, "assistant")}
    whole = chosen.kind in CHATS and rejected.kind in CHATS and _opens_with_user(chosen)
    if whole and (method == "Reward" or len(_apart(chosen, rejected)) < len(chosen.values)):
        return _map(method, table, [chosen, rejected], fields, f"{both}: conversations with their prompt")
    texts = chosen.kind == rejected.kind == "text"
    if texts and (prompt is None or (prompt.kind == "text" and _repeats_prompt(prompt, chosen))):
        plain = {"chosen": _at(chosen), "rejected": _at(rejected)}
        if method != "Reward" and chosen.empty + rejected.empty:
            return None
        return _map(method, table, [chosen, rejected], plain, f"{both}: two answers that hold their prompt")
    if prompt is None:
        better = f"{both}: a preferred and a worse answer"
        return _map(method, table, [chosen, rejected], fields, better) if method == "Reward" else None
    fields = {"prompt": _as_prompt(table, prompt, chosen, rejected), **fields}
    return _map(method, table, [prompt, chosen, rejected], fields, f"{_held(prompt)}, {both}: a prompt, two answers")


def _kto(method: str, table: Table) -> Verdict:
    if _has_images(table):  # TRL unpairs text only
        verdict = _kto_unpaired(method, table) or _kto_as_it_is(method, table) or _kto_mapped(method, table)
        return verdict or _refuse(method, table, "a prompt, a completion and a true/false label beside the images")
    verdict = _pairs_as_they_are(method, table) or _kto_as_it_is(method, table) or _kto_mapped(method, table)
    verdict = verdict or _pairs_mapped(method, table) or _graded_rows(method, table)
    return verdict or _refuse(method, table, "a prompt, a completion and a true/false label")


def _kto_unpaired(method: str, table: Table) -> Verdict | None:
    columns = [_column(table, name, {"messages"}) for name in ("prompt", "chosen", "rejected")]
    used = [column for column in columns if column and _roles_known(column)]
    if len(used) < len(columns) or any(column.unusable for column in used):
        return None
    code = """\
def unpaired(rows):
    made = {name: values + values for name, values in rows.items() if name not in ("chosen", "rejected")}
    made["completion"] = rows["chosen"] + rows["rejected"]
    made["label"] = [True] * len(rows["chosen"]) + [False] * len(rows["rejected"])
    return made


dataset = dataset.map(unpaired, batched=True, remove_columns=dataset.column_names)
"""
    return _needs(method, f"{_held(*used)} beside images: TRL unpairs text only", (), (), code)


def _kto_as_it_is(method: str, table: Table) -> Verdict | None:
    prompt, completion = (_column(table, name, {"text", "messages"}) for name in ("prompt", "completion"))
    label = _column(table, "label", {"bool", "int", "float"})
    if not prompt or not completion or not label or {"chosen", "rejected"} <= table.keys():
        return None
    if not _go_together(table, prompt, completion) or not _is_binary(label):
        return None
    values = {bool(value) for value in label.values if value is not None}
    notes = () if len(values) == 2 else (f"every label is {values.pop()}: there is nothing to tell apart",)
    return _accept(method, table, [prompt, completion, label], _held(prompt, completion, label), notes)


def _kto_mapped(method: str, table: Table) -> Verdict | None:
    label = _find(table, LABEL_WORDS, {"bool", "int", "float", "text"})
    prompt = _find_prompt(table)
    response = _find(table, RESPONSE_WORDS, TEXTS_OR_CHATS, prompt, label)
    verdict = _as_label(label) if label else None
    if not label or not prompt or not response or verdict is None:
        return None
    expression, meaning = verdict
    fields = {"prompt": _as_prompt(table, prompt, response), "completion": _as_chat(response, "assistant")}
    reason = f"{_held(prompt, response, label)}: a judged answer{meaning}"
    return _map(method, table, [prompt, response, label], fields | {"label": expression}, reason)


def _as_label(label: Column) -> tuple[str, str] | None:
    """Return the expression that makes a true/false label of the column, and what it takes for true where it chose."""
    values = [value for value in label.values if value is not None]
    if label.kind == "text":
        if not {value.strip().lower() for value in values} <= GOOD_WORDS | BAD_WORDS:
            return None
        good = sorted({value for value in values if value.strip().lower() in GOOD_WORDS})
        return f"{_at(label)} in {good!r}", f", good when it is {' or '.join(map(repr, good)) or 'nothing seen here'}"
    if _is_binary(label):
        return f"bool({_at(label)})", ""
    middle = (min(values) + max(values)) / 2
    return f"{_at(label)} > {middle!r}", f", good above {middle:g}, the middle of what was seen: set your own threshold"


def _prm(method: str, table: Table) -> Verdict:
    prompt = _column(table, "prompt", {"text"})
    steps, marks = _column(table, "completions", {"texts"}), _column(table, "labels", _MARKS)
    if not prompt or not steps or not marks or _uneven(steps, marks) or not _marks(marks) <= {0, 1}:
        wanted = "a prompt, its completions (one a step) and a true/false label a step"
        return _prm_mapped(method, table) or _refuse(method, table, wanted)
    verdict = _accept(method, table, [prompt, steps, marks], _held(prompt, steps, marks), _PRM_NOTES)
    return verdict or _refuse(method, table, "rows that lack nothing")


_MARKS = frozenset({"bools", "tokens", "list"})
_PRM_NOTES = ("TRL 1.16 has the format (stepwise supervision) but no trainer for it",)


def _prm_mapped(method: str, table: Table) -> Verdict | None:
    prompt = _find_prompt(table)
    steps = _find(table, STEP_WORDS, {"texts"}, prompt)
    marks = _find(table, STEP_LABEL_WORDS, _MARKS, steps)
    values = sorted(_marks(marks)) if marks else []
    if not prompt or prompt.kind != "text" or not steps or not marks or not values or math.isnan(sum(values)):
        return None
    rule = "bool(mark)" if set(values) <= {0, 1} else f"mark > {(values[0] + values[-1]) / 2!r}"
    fields = {"prompt": _at(prompt), "completions": _at(steps), "labels": f"[{rule} for mark in {_at(marks)}]"}
    even = f"dataset = dataset.filter(lambda row: len({_at(steps)} or []) == len({_at(marks)} or []))\n"
    reason, uneven = f"{_held(prompt, steps, marks)}: steps with a label each", _uneven(steps, marks)
    return _map(method, table, [prompt, steps, marks], fields, reason, notes=_PRM_NOTES, also=uneven, before=even)


def _marks(column: Column) -> set[float]:
    """Return the labels of all steps; what is no number is not one."""
    marks = [mark for value in column.values if value for mark in value]
    return {mark if isinstance(mark, int | float) else math.nan for mark in marks}


def _uneven(steps: Column, marks: Column) -> list[int]:
    pairs = enumerate(zip(steps.values, marks.values, strict=True))
    return [row for row, (some, given) in pairs if len(some or ()) != len(given or ())]


def _prompts(method: str, table: Table) -> Verdict:
    prompt = _column(table, "prompt", {"text", "messages"})
    if prompt and _go_together(table, prompt) and not _ends_with_assistant(prompt):
        asked = replace(prompt, unusable=tuple(row for row, value in enumerate(prompt.values) if not value))
        verdict = _accept(
            method,
            table,
            [asked if prompt.kind == "text" else prompt],
            _held(prompt),
            _reward_notes(method, table, prompt),
        )
        if verdict:
            return verdict
    return _prompts_mapped(method, table) or _refuse(method, table, "a prompt")


def _prompts_mapped(method: str, table: Table) -> Verdict | None:
    prompt = _find_prompt(table) or _find(table, CHAT_WORDS, CHATS) or _find(table, CHOSEN_WORDS, CHATS)
    if prompt is None:
        return None
    notes = _reward_notes(method, table, prompt)
    if prompt.kind not in CHATS:
        fields, reason = {"prompt": _as_prompt(table, prompt)}, f"{_held(prompt)}: the prompt"
        return _map(method, table, [prompt], fields, reason, keep=True, notes=notes)
    fields = {"prompt": f"opening({_as_whole_chat(table, prompt)})"}
    names = _role_names([prompt])
    unasked = [row for row, value in enumerate(prompt.values) if not value or not _opening(names, value)]
    asked = "dataset = dataset.filter(lambda row: bool(row['prompt']))\n" if unasked else ""
    reason = f"{_held(prompt)}: the turns before the first answer are the prompt"
    return _map(method, table, [prompt], fields, reason, keep=True, notes=notes, also=unasked, after=asked)


def _opening(names: Mapping[str, str], value: str | Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return list(itertools.takewhile(lambda turn: names.get(_role(turn), _role(turn)) != "assistant", _turns(value)))


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
    return _needs(method, _graded_reason(graded, "pairs of a right and a wrong one"), (), (), code)


def _graded_rows(method: str, table: Table) -> Verdict | None:
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
    return _needs(method, _graded_reason(graded, "a labelled row each"), (), (), code)


def _graded_reason(graded: _Graded, use: str) -> str:
    return f"{_held(graded.prompt)} with {len(graded.answers)} answers marked by {graded.flag!r}: {use}"


def _flags(graded: _Graded, table: Table, row: int) -> list[bool]:
    answers = [table[name].values[row] for name in graded.answers]
    return [bool(answer[graded.flag]) for answer in answers if answer]


# --- verdicts ---


def _accept(
    method: str, table: Table, columns: Sequence[Column], reason: str, notes: Sequence[str] = ()
) -> Verdict | None:
    """READY; NEEDS MAPPING when rows or columns must go first; None when no row would be left."""
    bad = sorted({row for column in columns for row in column.unusable})
    if len(bad) == len(columns[0].values):
        return None
    misread = _misread(method, table, columns)
    notes = (*notes, *(f"{column.name!r} is empty in {column.empty} rows" for column in columns if column.empty))
    if not bad and not misread:
        return Verdict(method=method, status=READY, reason=reason, notes=tuple(notes))
    flawed = [column for column in columns if column.unusable]
    if flawed:
        reason += f", but {len(bad)} rows have no value in {', '.join(repr(column.name) for column in flawed)}"
    reason += "".join(f"; {name!r} {why}" for name, why in misread.items())
    return _needs(method, reason, notes, bad, _filter(flawed) + _removal(misread))


def _map(
    method: str,
    table: Table,
    columns: Sequence[Column],
    fields: Mapping[str, str],
    reason: str,
    *,
    keep: bool = False,
    notes: Sequence[str] = (),
    also: Sequence[int] = (),
    before: str = "",
    after: str = "",
) -> Verdict | None:
    """NEEDS MAPPING, with the code that builds `fields` (name -> expression over `row`); None when no row is left.

    `keep` keeps the other columns; `also` are more rows that cannot be used, `before` and `after` the code that drops
    them before or after the mapping.
    """
    bad = sorted({row for column in columns for row in column.unusable} | set(also))
    if len(bad) == len(columns[0].values):
        return None
    kept = {} if keep or "text" in fields else {name: _at(table[name]) for name in _carried(method, table)}
    body = "".join(f"        {name!r}: {expression},\n" for name, expression in {**fields, **kept}.items())
    remove = "" if keep else ", remove_columns=dataset.column_names"
    code = f"def convert(row):\n    return {{\n{body}    }}\n\n\n"
    code += _filter([column for column in columns if column.unusable]) + (before if also else "")
    code += f"dataset = dataset.map(convert{remove})\n{after}"
    misread = {name for name in _misread(method, table, columns) if name not in fields} if keep else ()
    return _needs(method, reason, notes, bad, _helpers(code, _role_names(columns)) + code + _removal(misread))


def _needs(method: str, reason: str, notes: Sequence[str], rows: Sequence[int], code: str) -> Verdict:
    return Verdict(
        method=method, status=NEEDS_MAPPING, reason=reason, notes=tuple(notes), rows=tuple(rows), mapping=code
    )


def _refuse(method: str, table: Table, needed: str) -> Verdict:
    odd = [
        f"{name!r} holds {table[name].kind}"
        for name in ("prompt", "completion", "chosen", "rejected", "label", "messages", "text")
        if name in table
    ]
    names = ", ".join(repr(name) for name in list(table)[:8])
    found = ", ".join(odd) or f"none of the columns {names} looks like it"
    return Verdict(method=method, status=INCOMPATIBLE, reason=f"needs {needed}; {found}")


# --- the printed code; names and values reach it through repr() only ---


def _helpers(code: str, roles: Mapping[str, str]) -> str:
    helpers = "import json\n\n\n" if "json.loads(" in code else ""
    if "chat(" in code or "renamed(" in code:
        helpers += f"ROLES = {dict(roles)!r}\n\n\n"
    if "chat(" in code:
        helpers += (
            "def chat(turns, role, content):\n"
            '    return [{"role": ROLES.get(turn[role], turn[role]), "content": turn[content]} for turn in turns]\n\n\n'
        )
    if "renamed(" in code:
        helpers += (
            "def renamed(turns):\n"
            '    return [{**turn, "role": ROLES.get(turn["role"], turn["role"])} for turn in turns]\n\n\n'
        )
    if "system(" in code:
        helpers += 'def system(text):\n    return [{"role": "system", "content": text}] if text else []\n\n\n'
    if "opening(" in code:
        helpers += (
            "def opening(turns):\n"
            '    first = next((i for i, turn in enumerate(turns) if turn["role"] == "assistant"), len(turns))\n'
            "    return turns[:first]\n\n\n"
        )
    return helpers


def _filter(columns: Sequence[Column]) -> str:
    if not columns:
        return ""
    return f"dataset = dataset.filter(lambda row: {' and '.join(map(_usable_test, columns))})\n"


def _removal(names: Iterable[str]) -> str:
    return f"dataset = dataset.remove_columns({list(names)!r})\n" if names else ""


def _usable_test(column: Column) -> str:
    if column.kind not in CHATS:
        empties = column.kind in {"texts", "tokens", "bools"} or any(
            column.values[row] == "" for row in column.unusable
        )
        return f"bool({_at(column)})" if empties else f"{_at(column)} is not None"
    _, key = _turn_keys(column)
    said = f"turn and (turn.get({key!r}) is not None or turn.get('tool_calls'))"
    return f"bool({_at(column)}) and all({said} for turn in {_decoded_turns(column)})"


def _at(column: Column) -> str:
    return f"row[{column.name!r}]"


def _decoded_turns(column: Column) -> str:
    return f"json.loads({_at(column)})" if column.kind.startswith("json") else _at(column)


def _as_chat(column: Column, role: str) -> str:
    """Return an expression for a list of messages; plain text becomes one message of `role`."""
    if column.kind == "text":
        return f'[{{"role": "{role}", "content": {_at(column)}}}]'
    if column.kind == "texts":
        return f'[{{"role": "{role}", "content": {_at(column)}[0]}}]'
    turns = _decoded_turns(column)
    if not column.kind.endswith("messages"):
        role_key, content_key = _turn_keys(column)
        return f"chat({turns}, {role_key!r}, {content_key!r})"
    return turns if _roles_known(column) else f"renamed({turns})"


def _as_whole_chat(table: Table, column: Column) -> str:
    return _led_by_system(table, _as_chat(column, ""), column)


def _as_prompt(table: Table, prompt: Column, *others: Column) -> str:
    """Return an expression for the prompt's messages; an instruction takes its separate input or context along."""
    context = _find(table, CONTEXT_WORDS, {"text"}, prompt, *others)
    if prompt.kind != "text" or context is None:
        return _led_by_system(table, _as_chat(prompt, "user"), prompt)
    joined = f'"\\n\\n".join(part for part in ({_at(prompt)}, {_at(context)}) if part)'
    return _led_by_system(table, f'[{{"role": "user", "content": {joined}}}]', prompt)


def _led_by_system(table: Table, expression: str, chat: Column) -> str:
    told = _find(table, SYSTEM_WORDS, {"text"})
    return expression if told is None or "system" in chat.roles else f"system({_at(told)}) + {expression}"


# --- columns that TRL reads beside those it is meant to ---


def _misread(method: str, table: Table, used: Sequence[Column]) -> dict[str, str]:
    """Return the columns beside `used` that TRL takes for something they are not, and what comes of it."""
    names = {column.name for column in used}
    found = {name: "is no image" for name in IMAGES & table.keys() if not _may_be_image(table[name])}
    if used[0].kind == "tokens":
        found = _misread_beside_tokens(table, used[0])
    elif method in {"SFT", "DPO", "KTO", "Reward"}:
        found |= _misread_beside_rows(method, table, used)
    if method in {"GRPO", "RLOO"}:
        clash = "clashes with what reward functions get under this name"
        found |= dict.fromkeys(("prompts", "completions"), clash)
    if method == "Reward" and "margin" in table and (table["margin"].kind not in _NUMBERS or table["margin"].nulls):
        found["margin"] = "is taken for a number and is none in every row"
    return {name: why for name, why in sorted(found.items()) if name in table and name not in names}


_NUMBERS = frozenset({"int", "float", "bool"})


def _misread_beside_rows(method: str, table: Table, used: Sequence[Column]) -> dict[str, str]:
    chats, names = used[0].kind in {"messages", "sharegpt"}, {column.name for column in used}
    found = {
        name: "is of another kind, and TRL asks any of them whether the rows are conversations"
        for name in CONVERSATION_COLUMNS
        if name in table and (table[name].kind == "messages") != chats
    }
    if not _are_tools(table.get("tools")):
        found["tools"] = "is no list of tools"
    if not _are_template_arguments(table.get("chat_template_kwargs")):
        found["chat_template_kwargs"] = "is not a struct in every row"
    if method == "SFT":
        found["labels"] = "is taken for the labels of the tokens"
    if method == "SFT" and not chats and "text" not in names:
        found["text"] = "gets the end-of-text token that the completion must have"
    if not chats and method == "SFT":
        found |= dict.fromkeys(IMAGES, "is beside plain text, TRL puts images into conversations")
    if method == "KTO" and "chosen" in names:
        found |= dict.fromkeys(("completion", "label"), "takes the place of what TRL makes of the pairs")
    return found


def _misread_beside_tokens(table: Table, tokens: Column) -> dict[str, str]:
    wrong = [
        name
        for name in ("labels", "completion_mask", "assistant_masks")
        if name in table
        and any(
            not isinstance(mask, list) or len(mask) != len(ids or ())
            for mask, ids in zip(table[name].values, tokens.values, strict=True)
        )
    ]
    return dict.fromkeys(wrong, f"is not one number for each of {tokens.name!r}")


def _carried(method: str, table: Table) -> list[str]:
    """Return the columns that a mapping must not lose: tools, arguments of the template, images, the margin."""
    names = ["tools"] if "tools" in table and _are_tools(table["tools"]) else []
    if "chat_template_kwargs" in table and _are_template_arguments(table["chat_template_kwargs"]):
        names.append("chat_template_kwargs")
    if method == "Reward":
        return [*names, "margin"] if "margin" in table and not _misread(method, table, [table["margin"]]) else names
    return names + [name for name in sorted(IMAGES & table.keys()) if _may_be_image(table[name])]


def _are_tools(column: Column | None) -> bool:
    if column is None or column.kind in {"null", "list of structs", "empty list"}:
        return True
    return column.kind == "text" and all(value is None or _is_json_list(value) for value in column.values)


def _is_json_list(text: str) -> bool:
    try:
        return isinstance(json.loads(text), list | type(None))
    except (ValueError, RecursionError):
        return False


def _are_template_arguments(column: Column | None) -> bool:
    return column is None or (column.kind == "struct" and not column.nulls)


def _may_be_image(column: Column) -> bool:
    """An image, a list of them, or the path of one."""
    return column.kind in {"image", "images", "text", "texts"} and not column.nulls


def _has_images(table: Table) -> bool:
    return any(_may_be_image(table[name]) for name in IMAGES & table.keys())


# --- finding columns ---


def _column(table: Table, name: str, kinds: Iterable[str]) -> Column | None:
    column = table.get(name)
    return column if column is not None and column.kind in kinds else None


def _find_prompt(table: Table, *taken: Column | None) -> Column | None:
    return _find(table, PROMPT_WORDS, TEXTS_OR_CHATS | {"texts"}, *taken)


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


def _go_together(table: Table, *columns: Column) -> bool:
    """Whether TRL takes these as they are: of one kind, with roles that templates know, text without images."""
    kinds = {column.kind for column in columns}
    return len(kinds) == 1 and _roles_known(*columns) and not (kinds == {"text"} and _has_images(table))


def _roles_known(*columns: Column) -> bool:
    return all(column.roles <= KNOWN_ROLES for column in columns)


def _role_names(columns: Sequence[Column]) -> dict[str, str]:
    """Return role -> the role that templates know: by its name, else by whether it opens conversations."""
    found = sorted({role for column in columns for role in column.roles} - KNOWN_ROLES - ROLE_NAMES.keys())
    opening = {str(_role(turns[0])) for column in columns for turns in _chats_of(column) if turns}
    names = {role: ROLE_NAMES.get(role.lower(), role.lower()) for role in found}
    guessed = {role: "user" if role in opening else "assistant" for role in found if names[role] not in KNOWN_ROLES}
    return ROLE_NAMES | names | guessed


def _chats_of(column: Column) -> list[list[Mapping[str, Any]]]:
    return [_turns(value) for value in column.values if value] if column.kind in CHATS else []


def _turn_keys(column: Column) -> tuple[str, str]:
    """Return the keys under which the turns of a conversation hold their role and their content."""
    if column.kind.endswith("messages"):
        return "role", "content"
    first = next(turn for turns in _chats_of(column) for turn in turns)
    return next(key for key in ROLE_KEYS if key in first), next(
        (key for key in CONTENT_KEYS if first.get(key) is not None), "content"
    )


def _chat_flaw(column: Column, table: Table) -> str:
    foreign = sorted(column.roles - KNOWN_ROLES)
    if column.kind.startswith("json"):
        return "as JSON text: it must be decoded"
    if foreign:
        guessed = [role for role in foreign if role.lower() not in ROLE_NAMES.keys() | KNOWN_ROLES]
        advice = f"; {', '.join(map(repr, guessed))} is a guess, see ROLES" if guessed else ""
        return f"with the roles {', '.join(map(repr, foreign))}, which chat templates do not know{advice}"
    if "prompt" in table:
        return "beside a column 'prompt' that TRL would take instead"
    return "under another name or form than TRL's"


def _opens_with_user(column: Column) -> bool:
    names = _role_names([column])
    return any(
        names.get(str(_role(turns[0])), _role(turns[0])) in {"user", "system"} for turns in _chats_of(column) if turns
    )


def _ends_with_assistant(column: Column) -> bool:
    return any(_role(turns[-1]) == "assistant" for turns in _chats_of(column) if turns)


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
    chats = [[_role(turn) for turn in turns] for turns in _chats_of(column)]
    checks: dict[str, Callable[[list[str]], bool]] = {
        "have no assistant turn to learn from": lambda roles: "assistant" not in roles,
        "open with an assistant turn": lambda roles: roles[:1] == ["assistant"],
        "have two user or two assistant turns in a row": lambda roles: any(
            a == b and a in {"user", "assistant"} for a, b in itertools.pairwise(roles)
        ),
    }
    counts = {what: sum(map(check, chats)) for what, check in checks.items()}
    return tuple(f"{count} of {len(chats)} conversations {what}" for what, count in counts.items() if count)


def _label_notes(table: Table) -> tuple[str, ...]:
    label = next((table[name] for name in ("label", "labels") if name in table), None)
    if label is None or label.kind not in {"int", "text", "bool"}:
        return ()
    return (
        f"{label.name!r} ({label.kind}) beside the text: this looks like a classification set, TRL ignores the label",
    )


def _reward_notes(method: str, table: Table, prompt: Column) -> tuple[str, ...]:
    if method == "Prompt-only":
        return ()
    passed = [name for name in table if name not in {prompt.name, "prompt", "prompts", "completion", "completions"}]
    if not passed:
        return ("no other column: reward functions see the prompt and the completion only",)
    return (f"reward functions also get: {', '.join(map(repr, passed[:8]))}",)


def _with_image_note(verdict: Verdict, table: Table) -> Verdict:
    if verdict.status == INCOMPATIBLE:
        return verdict
    others = [name for name, column in table.items() if column.kind in {"image", "images"} and name not in IMAGES]
    notes = [f"{name!r} holds images: TRL sees them only in a column 'image' or 'images'" for name in others]
    if _has_images(table):
        named = next(name for name in sorted(IMAGES & table.keys()))
        notes.append(f"{named!r} is there: only a vision-language model can train on it")
    return replace(verdict, notes=(*verdict.notes, *notes))
