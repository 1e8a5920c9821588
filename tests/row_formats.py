"""Row formats as they are met, with what each method makes of them: the table of dataset_inspector.py and of `formats`.

The statuses are in the order of METHODS, then PRM and Prompt-only, which only the block `formats` knows: R is READY,
m NEEDS MAPPING, - INCOMPATIBLE. The heavy tests ask the installed TRL itself about the same rows.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Sequence
from typing import Any

from catalog.conftest import module

METHODS = ["SFT", "DPO", "GRPO", "KTO", "Reward", "RLOO"]
Rows = list[dict[str, Any]]


def turn(role: str | None, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


def user(content: Any) -> dict[str, Any]:
    return turn("user", content)


def bot(content: Any) -> dict[str, Any]:
    return turn("assistant", content)


def system(content: str) -> dict[str, Any]:
    return turn("system", content)


def part(text: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text}]


def shared(*turns: tuple[str, str]) -> list[dict[str, str]]:
    """Turns in the form of ShareGPT."""
    return [{"from": who, "value": said} for who, said in turns]


def png() -> bytes:
    """A red square of 4 x 4 pixels."""
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress((b"\0" + b"\xff\0\0" * 4) * 4)),
        (b"IEND", b""),
    )
    packed = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(packed)


IMAGE = {"bytes": png(), "path": None}
CHAT = [user("Hi"), bot("Hello")]
CHAT2 = [user("What?"), bot("That.")]
PAIR = {"chosen": [user("a"), bot("b")], "rejected": [user("a"), bot("c")]}
APART = {"chosen": [user("a"), bot("b")], "rejected": [user("z"), bot("c")]}
SHAREGPT = shared(("human", "Hi"), ("gpt", "Hello"))
USUAL = shared(("user", "Hi"), ("assistant", "Yo"))
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}]
CALLS = [{"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}]
CALL = [
    user("1+1?"),
    {"role": "assistant", "tool_calls": CALLS},
    {"role": "tool", "name": "add", "content": "2"},
    bot("2"),
]


def judged(*labels: Any) -> Rows:
    return [
        {"prompt": "a", "completion": answer, "label": label} for answer, label in zip("bcde", labels, strict=False)
    ]


CASES: dict[str, tuple[str, Rows]] = {
    # conversations
    "messages": ("R-m--m-m", [{"messages": CHAT}, {"messages": CHAT2}]),
    "messages with a system turn": ("R-m--m-m", [{"messages": [system("Be brief"), *CHAT]}]),
    "messages of parts": ("R-m--m-m", [{"messages": [user(part("Hi")), bot(part("Hello"))]}]),
    "messages under another name": ("m-m--m-m", [{"conversation": CHAT}]),
    "messages in a column conversations": ("m-m--m-m", [{"conversations": CHAT}]),
    "messages as JSON text": ("m-m--m-m", [{"messages": json.dumps(CHAT)}]),
    "messages beside a prompt": ("m-R--R-R", [{"prompt": "Hi", "messages": CHAT}]),
    "messages beside a text": ("R-m--m-m", [{"messages": CHAT, "text": "Hi Hello"}]),
    "a conversation without turns": ("m-m--m-m", [{"messages": CHAT}, {"messages": []}]),
    "a conversation that is null": ("m-m--m-m", [{"messages": CHAT}, {"messages": None}]),
    "first conversation without turns": ("m-m--m-m", [{"messages": []}, {"messages": CHAT}]),
    "a turn without content": ("m-m--m-m", [{"messages": CHAT}, {"messages": [user("a"), bot(None)]}]),
    "two user turns in a row": ("R-m--m-m", [{"messages": [user("a"), user("b"), bot("c")]}]),
    "a conversation that opens with an answer": ("R-------", [{"messages": [bot("b"), user("a"), bot("c")]}]),
    "a conversation without answer": ("R-m--m-m", [{"messages": [user("a")]}]),
    "turns of a role nobody knows": ("m-m--m-m", [{"messages": [turn("narrator", "a"), bot("b")]}]),
    "a turn whose role is null": ("m-m--m-m", [{"messages": CHAT}, {"messages": [turn(None, "a"), bot("b")]}]),
    "turns without role": ("--------", [{"messages": [{"content": "a"}, {"content": "b"}]}]),
    "turns with the content under text": (
        "m-m--m-m",
        [{"messages": [{"role": "user", "text": "a"}, {"role": "assistant", "text": "b"}]}],
    ),
    "messages of strings": ("--------", [{"messages": ["Hi", "Hello"]}]),
    "messages as a struct of lists": (
        "--------",
        [{"messages": {"role": ["user", "assistant"], "content": ["a", "b"]}}],
    ),
    "tool calls with tools": ("R-m--m-m", [{"messages": CALL, "tools": TOOLS}]),
    "tools as JSON text": ("R-m--m-m", [{"messages": CHAT, "tools": json.dumps(TOOLS)}]),
    "tools that are no JSON": ("m-m--m-m", [{"messages": CHAT, "tools": "add(a, b)"}]),
    "tools that are null": (
        "R-m--m-m",
        [{"messages": CHAT, "tools": json.dumps(TOOLS)}, {"messages": CHAT, "tools": None}],
    ),
    "template arguments": ("R-m--m-m", [{"messages": CHAT, "chat_template_kwargs": {"enable_thinking": False}}]),
    "template arguments that are null": (
        "m-m--m-m",
        [
            {"messages": CHAT, "chat_template_kwargs": {"enable_thinking": False}},
            {"messages": CHAT, "chat_template_kwargs": None},
        ],
    ),
    "ShareGPT, its own role names": ("m-m--m-m", [{"conversations": SHAREGPT}]),
    "ShareGPT, usual role names": ("R-m--m-m", [{"conversations": USUAL}]),
    "ShareGPT under another name": ("m-m--m-m", [{"messages": SHAREGPT}]),
    "ShareGPT that opens with an answer": ("m-m--m-m", [{"conversations": SHAREGPT}, {"conversations": SHAREGPT[1:]}]),
    "ShareGPT beside a system text": ("m-m--m-m", [{"system": "Be brief", "conversations": SHAREGPT}]),
    "ShareGPT with a null": ("m-m--m-m", [{"conversations": USUAL}, {"conversations": None}]),
    # text
    "text": ("R-------", [{"text": "Once upon a time"}, {"text": "The end"}]),
    "text under another name": ("m-------", [{"content": "Once upon a time"}]),
    "text with a class label": ("R-------", [{"text": "Bad film", "label": 0}, {"text": "Good", "label": 1}]),
    "text with labels": ("m-------", [{"text": "Bad film", "labels": 0}, {"text": "Good", "labels": 1}]),
    "text with nulls": ("m-------", [{"text": "a"}, {"text": None}]),
    "text that is empty": ("R-------", [{"text": "a"}, {"text": ""}]),
    "text of numbers": ("--------", [{"text": 1}, {"text": 2}]),
    "text in lists": ("--------", [{"text": ["a", "b"]}]),
    "nothing but nulls": ("--------", [{"text": None}]),
    # prompt and completion
    "question and answer": ("m-m--m-m", [{"question": "1+1?", "answer": "2"}]),
    "instruction, input, output": (
        "m-m--m-m",
        [{"instruction": "Add", "input": "1 1", "output": "2"}, {"instruction": "Say hi", "input": "", "output": "hi"}],
    ),
    "prompt and completion": ("R-R--R-R", [{"prompt": "1+1?", "completion": "2"}]),
    "prompt and completion as chats": ("R-R--R-R", [{"prompt": [user("a")], "completion": [bot("b")]}]),
    "text prompt, chat completion": ("m-R--R-R", [{"prompt": "a", "completion": [bot("b")]}]),
    "chat prompt, text completion": ("m-R--R-R", [{"prompt": [user("a")], "completion": "b"}]),
    "prompt with a null completion": (
        "m-R--R-R",
        [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": None}],
    ),
    "prompt with an empty completion": (
        "R-R--R-R",
        [{"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": ""}],
    ),
    "empty prompt": ("R-m--m-m", [{"prompt": "", "completion": "b"}]),
    "null prompt": ("m-m--m-m", [{"prompt": "a", "completion": "b"}, {"prompt": None, "completion": "b"}]),
    "prompt and completion of numbers": ("--------", [{"prompt": 1, "completion": 2}]),
    "prompt and completion beside a text": ("m-R--R-R", [{"prompt": "a", "completion": "b", "text": "c"}]),
    "prompt alone": ("--R--R-R", [{"prompt": "1+1?"}]),
    "prompt as a chat": ("--R--R-R", [{"prompt": [user("1+1?")]}]),
    "prompt that ends with an answer": ("--m--m-m", [{"prompt": CHAT}]),
    "prompt that ends with a system turn": ("--R--R-R", [{"prompt": [system("Be brief")]}]),
    "prompt as JSON text": ("--m--m-m", [{"prompt": json.dumps([user("a")])}]),
    "prompt as an empty chat": ("--m--m-m", [{"prompt": [user("a")]}, {"prompt": []}]),
    "prompt of ShareGPT turns": ("--m--m-m", [{"prompt": [{"from": "human", "value": "a"}]}]),
    "prompt of strings": ("--m--m-m", [{"prompt": ["a", "b"]}]),
    "prompt of numbers": ("--------", [{"prompt": 7}]),
    "prompt as a struct": ("--------", [{"prompt": {"text": "a"}}]),
    "prompt with a solution": ("m-R--R-R", [{"prompt": "1+1?", "solution": "2"}]),
    "prompt beside completions": ("--m--m-R", [{"prompt": "a", "completions": ["b", "c"]}]),
    "prompt beside prompts": ("--m--m-R", [{"prompt": "a", "prompts": ["b", "c"]}]),
    "two turns of questions": ("--m--m-m", [{"id": 1, "turns": ["a", "b"]}]),
    "an id that looks like a prompt": ("--------", [{"prompt_id": "x1", "score": 1.0}]),
    # tokens
    "tokens": ("R-------", [{"input_ids": [1, 2, 3]}]),
    "tokens with labels": ("R-------", [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}]),
    "tokens with an attention mask": ("R-------", [{"input_ids": [1, 2, 3], "attention_mask": [1, 1, 1]}]),
    "tokens with a completion mask": ("R-------", [{"input_ids": [1, 2, 3], "completion_mask": [0, 1, 1]}]),
    "tokens, one row without": ("m-------", [{"input_ids": [1, 2, 3]}, {"input_ids": []}]),
    "tokens, one row null": ("m-------", [{"input_ids": [1, 2, 3]}, {"input_ids": None}]),
    "tokens beside a text": ("R-------", [{"input_ids": [1, 2, 3], "text": "a"}]),
    "tokens with labels of another length": ("m-------", [{"input_ids": [1, 2, 3], "labels": [1, 2]}]),
    "tokens with one label a row": ("m-------", [{"input_ids": [1, 2, 3], "labels": 1}]),
    "tokens as text": ("--------", [{"input_ids": "1 2 3"}]),
    "tokens that are floats": ("--------", [{"input_ids": [1.0, 2.0]}]),
    "tokens of a tokeniser's batch": ("--------", [{"input_ids": [[1, 2], [3, 4]]}]),
    "tokens of an answer pair": ("----R---", [{"chosen_ids": [1, 2], "rejected_ids": [1, 3]}]),
    "tokens of an answer pair, old names": ("----R---", [{"chosen_input_ids": [1, 2], "rejected_input_ids": [1, 3]}]),
    "tokens of an answer pair with a prompt": (
        "----R---",
        [{"prompt_ids": [1], "chosen_ids": [2], "rejected_ids": [3]}],
    ),
    # preference
    "explicit preference": ("mRRRRR-R", [{"prompt": "a", "chosen": "b", "rejected": "c"}]),
    "explicit preference as chats": (
        "mRRRRR-R",
        [{"prompt": [user("a")], "chosen": [bot("b")], "rejected": [bot("c")]}],
    ),
    "explicit preference with a null": (
        "mmRmmR-R",
        [{"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a", "chosen": "b", "rejected": None}],
    ),
    "explicit preference with an empty answer": ("mRRRRR-R", [{"prompt": "a", "chosen": "b", "rejected": ""}]),
    "explicit preference, answers alike": ("mRRRRR-R", [{"prompt": "a", "chosen": "b", "rejected": "b"}]),
    "explicit preference with a margin": ("mRRRRR-R", [{"prompt": "a", "chosen": "b", "rejected": "c", "margin": 0.5}]),
    "explicit preference with a margin in words": (
        "mRRRmR-R",
        [{"prompt": "a", "chosen": "b", "rejected": "c", "margin": "big"}],
    ),
    "explicit preference with a null margin": (
        "mRRRmR-R",
        [
            {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 0.5},
            {"prompt": "a", "chosen": "b", "rejected": "c", "margin": None},
        ],
    ),
    "implicit preference": ("mRmRRm-m", [{**PAIR}]),
    "implicit preference as text": (
        "-R-RR---",
        [{"chosen": "Human: a\nAssistant: b", "rejected": "Human: a\nAssistant: c"}],
    ),
    "implicit preference as JSON text": (
        "mmmmmm-m",
        [{"chosen": json.dumps([user("a"), bot("b")]), "rejected": json.dumps([user("a"), bot("c")])}],
    ),
    "implicit preference of ShareGPT turns": (
        "mmmmmm-m",
        [{"chosen": SHAREGPT, "rejected": [SHAREGPT[0], {"from": "gpt", "value": "No"}]}],
    ),
    "implicit preference, conversations alike": ("mRmRRm-m", [{"chosen": CHAT, "rejected": CHAT}]),
    "implicit preference, one text begins the other": ("-R-RR---", [{"chosen": "ab", "rejected": "abc"}]),
    "implicit preference, texts apart": ("-R-RR---", [{"chosen": "Yes", "rejected": "No"}]),
    "implicit preference, an empty text": ("----R---", [{"chosen": "Yes it is", "rejected": ""}]),
    "preference without a common prompt": ("m-m-Rm-m", [{**APART}]),
    "some pairs without a common prompt": ("mmmmRm-m", [{**PAIR}, {**APART}]),
    "prompt repeated in the answers": ("mmRmmR-R", [{"prompt": "a", **PAIR}]),
    "prompt repeated in the answers, all chats": ("mmRmmR-R", [{"prompt": [user("a")], **PAIR}]),
    "prompt repeated in the answers, all text": (
        "mmRmmR-R",
        [{"prompt": "Q: a", "chosen": "Q: a A: b", "rejected": "Q: a A: c"}],
    ),
    "text prompt, chat answers": ("mmRmmR-R", [{"prompt": "a", "chosen": [bot("b")], "rejected": [bot("c")]}]),
    "chat prompt, text answers": ("mmRmmR-R", [{"prompt": [user("a")], "chosen": "b", "rejected": "c"}]),
    "text chosen, chat rejected": ("mmRmmR-R", [{"prompt": "a", "chosen": "b", "rejected": [bot("c")]}]),
    "preference under other names": (
        "mmmmmm-m",
        [{"question": "a", "preferred_answer": "b", "dispreferred_answer": "c"}],
    ),
    "ratings beside the answers": (
        "mRRRRR-R",
        [{"prompt": "a", "chosen_rating": 5.0, "rejected_rating": 1.0, "chosen": "b", "rejected": "c"}],
    ),
    "preference of numbers": ("--R--R-R", [{"prompt": "a", "chosen": 1, "rejected": 0}]),
    "preference of strings in lists": ("--R--R-R", [{"prompt": "a", "chosen": ["b"], "rejected": ["c"]}]),
    "two responses and which is better": (
        "m-R--R-R",
        [{"prompt": "a", "response_a": "b", "response_b": "c", "winner": "a"}],
    ),
    # judged
    "judged completion": ("R-RR-R-R", judged(True, False)),
    "judged completion as chats": (
        "R-RR-R-R",
        [
            {"prompt": [user("a")], "completion": [bot("b")], "label": True},
            {"prompt": [user("a")], "completion": [bot("c")], "label": False},
        ],
    ),
    "judged completion, 0 and 1": ("R-RR-R-R", judged(1, 0)),
    "judged completion, 1 to 5": ("R-Rm-R-R", judged(4, 1)),
    "judged completion, 0.0 and 1.0": ("R-RR-R-R", judged(1.0, 0.0)),
    "judged completion, a score": ("R-Rm-R-R", judged(0.7, 0.2)),
    "judged completion, -1 and 1": ("R-Rm-R-R", judged(1, -1)),
    "judged completion, true and false as text": ("R-Rm-R-R", judged("true", "False")),
    "judged completion, good and bad": ("R-Rm-R-R", judged("good", "bad")),
    "judged completion with a null label": ("R-Rm-R-R", judged(True, None)),
    "judged completion, all good": ("R-RR-R-R", judged(True, True)),
    "judged completion with a null completion": (
        "m-Rm-R-R",
        [{"prompt": "a", "completion": "b", "label": True}, {"prompt": "a", "completion": None, "label": False}],
    ),
    "judged completion under other names": (
        "m-mm-m-m",
        [
            {"question": "a", "response": "b", "is_correct": True},
            {"question": "a", "response": "c", "is_correct": False},
        ],
    ),
    "judged completion, text and chat": (
        "m-Rm-R-R",
        [
            {"prompt": "a", "completion": [bot("b")], "label": True},
            {"prompt": "a", "completion": [bot("c")], "label": False},
        ],
    ),
    "judged pair": ("mRRmRR-R", [{"prompt": "a", "chosen": "b", "rejected": "c", "label": True}]),
    "stepwise supervision": ("--m--mRR", [{"prompt": "a", "completions": ["b", "c"], "labels": [True, False]}]),
    "stepwise supervision, 0 and 1": ("--m--mRR", [{"prompt": "a", "completions": ["b", "c"], "labels": [1, 0]}]),
    "stepwise supervision, a label missing": (
        "--m--m-R",
        [{"prompt": "a", "completions": ["b", "c"], "labels": [True]}],
    ),
    "stepwise supervision under other names": (
        "--m--mmm",
        [{"question": "a", "steps": ["b", "c"], "step_labels": [True, False]}],
    ),
    "stepwise supervision, scores": ("--m--mmR", [{"prompt": "a", "completions": ["b", "c"], "labels": [0.9, 0.1]}]),
    "graded answers": (
        "-mmmmm-m",
        [{"question": "a", "m1": {"is_correct": True, "text": "b"}, "m2": {"is_correct": False, "text": "c"}}],
    ),
    # other
    "no column that fits": ("--------", [{"x": 1, "y": 2.0}]),
    "mixed kinds": ("--------", [{"messages": CHAT}, {"messages": "Hi"}]),
    "messages in capitals": ("m-m--m-m", [{"messages": [turn("User", "Hi"), turn("Assistant", "Yo")]}]),
    "messages with a null turn": ("m-m--m-m", [{"messages": CHAT}, {"messages": [None, *CHAT]}]),
    "tools beside a conversation of another name": ("m-m--m-m", [{"conversation": CALL, "tools": json.dumps(TOOLS)}]),
    "system text, question, response": ("m-m--m-m", [{"system_prompt": "Be brief", "question": "a", "response": "b"}]),
    "messages beside a rejected text": ("m-m--m-m", [{"messages": CHAT, "rejected": "No"}]),
    "text beside a conversation": ("m-m--m-m", [{"text": "a", "chosen": CHAT}]),
    "prompt and completion beside a conversation": ("m-R--R-R", [{"prompt": "a", "completion": "b", "messages": CHAT}]),
    "preference with its conversations and a prompt": (
        "mmRmmR-R",
        [{"prompt": "a", "prompt_id": "x", "messages": [user("a"), bot("b")], **PAIR, "score_chosen": 8.0}],
    ),
    "implicit preference beside a conversation in JSON": ("mmmmmm-m", [{**PAIR, "messages": json.dumps([user("a")])}]),
    "an image": ("R-m--m-m", [{"image": IMAGE, "messages": CHAT}, {"image": IMAGE, "messages": CHAT2}]),
    "images in a list": ("R-m--m-m", [{"images": [IMAGE], "messages": CHAT}]),
    "an image, prompt and completion": (
        "R-R--R-R",
        [{"image": IMAGE, "prompt": [user("a")], "completion": [bot("b")]}],
    ),
    "an image, prompt and completion as text": ("m-m--m-m", [{"image": IMAGE, "prompt": "a", "completion": "b"}]),
    "an image, question and answer": ("m-m--m-m", [{"image": IMAGE, "question": "a", "answer": "b"}]),
    "an image and a text": ("m-------", [{"image": IMAGE, "text": "a"}]),
    "an image and a preference": (
        "mRRmRR-R",
        [{"images": [IMAGE], "prompt": [user("a")], "chosen": [bot("b")], "rejected": [bot("c")]}],
    ),
    "an image and a judged completion": (
        "R-RR-R-R",
        [
            {"image": IMAGE, "prompt": [user("a")], "completion": [bot("b")], "label": True},
            {"image": IMAGE, "prompt": [user("a")], "completion": [bot("b")], "label": False},
        ],
    ),
    "an image that is null": ("m-m--m-m", [{"image": None, "messages": CHAT}]),
    "images under another name": ("R-m--m-m", [{"picture": IMAGE, "messages": CHAT}]),
}


def inspect_rows(rows: Rows) -> Sequence[Any]:
    """Return the verdicts of dataset_inspector.py, in the order of METHODS."""
    script = module("dataset_inspector.py")
    names = dict.fromkeys(name for row in rows for name in row)
    return script.judge([script.profile(name, [row.get(name) for row in rows]) for name in names])


def statuses(name: str) -> str:
    """Return the letters of a format, one for each of METHODS."""
    changed = {
        "messages of parts": "m-m--m",  # the templates of text models do not take parts
        "graded answers": "--m--m",
        "an image and a preference": "mRR-RR",
    }
    return changed.get(name, CASES[name][0][: len(METHODS)])
