# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "datasets>=5.2,<6",
#     "fsspec>=2026.2,<2028",
#     "httpx2>=2.16,<3",
#     "huggingface-hub>=2.4,<3",
#     "jinja2>=3.1,<4",
#     "math-verify>=0.9,<0.10",
#     "openai>=2,<4",
#     "pyarrow>=26,<27",
#     "rapidfuzz>=3.14,<4",
#     "tenacity>=9.1,<10",
#     "torch>=2.13,<3",
#     "transformers>=5.19,<6",
#     "vllm>=0.32,<0.33; sys_platform == 'linux'",
#     "zstandard>=0.25,<1",  # used by: fsspec
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# [tool.hf-jobs]
# flavor = "a100-large"
# timeout = "12h"
# secrets = ["HF_TOKEN"]
#
# [tool.jobshelf]
# version = "0.2.0"
# title = "Synthetic prompts by CoT-Self-Instruct"
# task = "text-generation"
# tags = ["dataset", "vllm", "synthetic-data", "reasoning", "self-instruct"]
# inputs = ["dataset", "model"]
# outputs = ["dataset"]
# persists = "hub-dataset"
# token = "write"
# shardable = true
# license = "Apache-2.0"
# aliases = ["cot_self_instruct", "self-instruct"]
# status = "stable"
# rehearse = ["{input:seeds}", "{output}", "--model", "{model:self-instruct}", "--engine", "transformers", "--num-samples", "6", "--k-responses", "3", "--max-tokens", "24", "--part-rows", "2", "--commit-every", "0"]
# ///
"""Write new prompts from a few seeds with a language model, and keep the good ones; resumable.

CoT-Self-Instruct (https://arxiv.org/abs/2507.23751): the model reasons about two seeds, plans, and writes one new prompt;
for reasoning its answer too. `answer-consistency` keeps a question when most of K solutions agree with its answer, `rip`
(https://arxiv.org/abs/2501.18578) a prompt when the lowest reward of its K responses is not among the lowest of all.
OUTPUT gets every candidate with its history (config `candidates`) and those that were kept (config `default`). Run the
same command again after a crash or a timeout: only missing parts are computed.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/cot-self-instruct.py user/seeds user/prompts --num-samples 5000
    hf jobs uv run --secrets HF_TOKEN https://huggingface.co/datasets/jobshelf/scripts/resolve/main/cot-self-instruct.py user/seeds user/prompts --num-samples 5000

vLLM uses all GPUs of the machine; several Jobs share one OUTPUT with `--shard I/N`. `--engine openai --base-url URL` asks
an API (key in OPENAI_API_KEY). Most of the cost is N x K responses, paid by the hour of the GPU. Needs a write token.
Exit codes: 0 done; 2 usage; 3 token; 4 input or output; 5 network or machine; 6 computed, but not persisted.
"""

import argparse
import ast
import asyncio
import atexit
import csv
import glob
import hashlib
import io
import json
import os
import random
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache, partial, reduce
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

URL = "https://huggingface.co/datasets/jobshelf/scripts/resolve/main/cot-self-instruct.py"
MODEL = "Qwen/Qwen3-30B-A3B-Thinking-2507"
REWARD_MODEL = "Skywork/Skywork-Reward-V2-Qwen3-8B"
VOTING, REWARDING = ("answer-consistency", "both"), ("rip", "both")
PROMPTS = ("question", "problem", "prompt", "instruction", "messages", "conversations", "turns")  # columns
ANSWERS = ("answer", "solution", "final_answer", "expected_answer")
PACKAGES = {"vllm": ("vllm", "torch"), "openai": ("openai",), "transformers": ("transformers", "torch")}
ALIKE = 90  # percent of two texts that are near copies
INSIDE = reduce(lambda inside, _: rf"(?:\\.|[^{{}}\\]|\{{{inside}\}})*+", range(6), r"[^{}]*+")  # braces within braces
BOXED = re.compile(rf"\\f?box(?:ed)?\s*\{{({INSIDE})\}}", re.DOTALL)
DROPPED = {
    "error": "the engine gave no answer",
    "unparsed": "not written in the form asked for",
    "seed copy": "a near copy of a seed",
    "inconsistent": "the majority of the solutions has another answer, or there is none",
    "low reward": "the lowest reward is below the cut",
    "copy": "a near copy of another candidate",
}
WRITE = """\
You write {kind}. These are two examples.

[Example 1]
{first}

[Example 2]
{second}

Write one new {noun}, in three steps.

1. Think about the examples: their field, how demanding they are and why, what they are for, what a good reply needs.
2. Plan a {noun} of the same kind that is at least as demanding. It must be new, not an example in other words or with \
other names and numbers, and complete in itself. {demand}
3. {last}

End your reply with the {noun}, in exactly this form:

{form}"""
TASKS = {
    "reasoning": {
        "kind": "questions for tests of reasoning",
        "noun": "question",
        "demand": "It must take several steps and have one answer, a number, an expression or a few words, that can be "
        "checked at a glance. No proofs, no opinions, no questions with several parts.",
        "last": "Write it down, solve it step by step, and check the result. Correct it if it is ambiguous or wrong.",
        "form": "[New Question]\n...\n[End of Question]\n[Final Answer]\n\\boxed{...}\n[End of Answer]",
    },
    "instruction": {
        "kind": "tasks that people might give to an assistant",
        "noun": "task",
        "demand": "An assistant must be able to do it by writing a text.",
        "last": "Write it as the person who needs it would write it. Do not do it.",
        "form": "[New Task]\n...\n[End of Task]",
    },
}
SOLVE = "{prompt}\n\nReason step by step, and put your final answer in \\boxed{{}}."

Row = dict[str, Any]
Groups = dict[str | None, list[tuple[str, int]]]  # the seeds by category, each with the number of its row


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    args = parse_arguments(argv)
    require_write(args.output)
    rows, commit, private = read_rows(args.input, args.config, args.split)
    choose_columns(args, rows.column_names)
    groups = read_seeds(args, rows)
    asked = {name: value for name, value in vars(args).items() if name not in {"concurrency", "json"}}
    run: dict[str, Any] = run_identity(argparse.Namespace(**asked), commit)
    run["model"], private_model = model_commit(args, args.engine != "openai" and args.model, args.model_revision)
    run["reward_model"], private_judge = model_commit(args, args.filter_method in REWARDING and args.reward_model)
    output = Output(args, run)
    told: Row = {"input": args.input, "commit": commit, "output": args.output, "task": args.task_type}
    told["seeds"] = sum(map(len, groups.values()))
    told |= {name: getattr(args, name) for name in ("filter_method", "model", "num_samples", "dry_run")}
    if not args.dry_run:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that finished parts are sent
        told |= make_parts(args, output, groups, private=private or private_model or private_judge)
    print(json.dumps(told) if args.json else "\n".join(f"{name}: {value}" for name, value in told.items()))
    return 0


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    """Return the checked command line."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("input", nargs="?", default=argparse.SUPPRESS, metavar="INPUT", help="seeds: a Hub dataset, a file or a folder")
    add("output", nargs="?", default=argparse.SUPPRESS, metavar="OUTPUT", help="Hub dataset, hf://buckets/... or ./out")
    add("--seed-dataset", dest="input", metavar="INPUT", help="the same as INPUT")
    add("--output-dataset", dest="output", metavar="OUTPUT", help="the same as OUTPUT")
    add("--config", metavar="NAME", help="configuration of the dataset")
    add("--split", default="train", help="split to read (default: train)")
    add("--max-samples", type=int, metavar="N", help="use only the first N rows as seeds")
    add("--task-type", choices=("auto", *TASKS), default="auto", help="default: reasoning for seeds with answers")
    add("--question-column", "--task-column", metavar="NAME", help="column of seeds: texts or conversations")
    add("--answer-column", metavar="NAME", help="column of answers (default: answer, solution ...)")
    add("--category-column", metavar="NAME", help="both seeds of an instruction are of one category")
    add("--model", "--generation-model", "--model-id", default=MODEL, metavar="M", help="default: %(default)s")
    add("--model-revision", metavar="REV", help="branch, tag or commit of the model")
    add("--filter-model", metavar="M", help="model of the responses, for --engine openai (default: the same)")
    add("--reward-model", default=REWARD_MODEL, metavar="M", help="for rip and both (default: %(default)s)")
    add("--engine", choices=tuple(ENGINES), default="vllm", help="what answers (default: vllm)")
    add("--engine-args", type=json.loads, default={}, metavar="JSON", help="more arguments of the engine or the API")
    add("--base-url", metavar="URL", help="address of an OpenAI-compatible API, for --engine openai")
    add("--concurrency", type=int, default=32, metavar="N", help="requests to an API at once (default: 32)")
    add("--chat-template-kwargs", type=json.loads, default={}, metavar="JSON", help='as {"enable_thinking": false}')
    add("--num-samples", type=int, default=5000, metavar="N", help="candidates, before filters (default: 5000)")
    methods = ("answer-consistency", "rip", "both", "none")
    add("--filter-method", choices=methods, help="default: answer-consistency for reasoning, rip for instructions")
    add("--k-responses", type=int, default=16, metavar="K", help="responses to a candidate (default: 16)")
    add("--rip-quantile", type=float, default=0.5, metavar="F", help="share of prompts that rip drops (default: 0.5)")
    add("--max-attempts", type=int, default=4, metavar="N", help="attempts at writing a candidate (default: 4)")
    add("--temperature", type=float, default=0.6, help="randomness (default: 0.6)")
    add("--top-p", type=float, default=0.95, help="share of the likeliest tokens to draw from (default: 0.95)")
    add("--max-tokens", type=int, default=8192, metavar="N", help="tokens of an answer (default: 8192)")
    add("--seed", type=int, default=42, metavar="N", help="seed, together with a candidate's number (default: 42)")
    add("--shard", default="1/1", metavar="I/N", help="do every N-th part, as process I of N")
    add("--part-rows", type=int, default=250, metavar="N", help="candidates of one file (default: 250)")
    add("--commit-every", type=int, default=240, metavar="S", help="seconds between commits (default: 240)")
    privacy = parser.add_mutually_exclusive_group()
    privacy.add_argument("--private", action="store_true", help="make the output private, as for private input")
    privacy.add_argument("--public", action="store_true", help="make a new output public, also for private input")
    add("--keep", action="store_true", help="keep the parts that another version of this run finished")
    add("--overwrite", action="store_true", help="replace what is in OUTPUT")
    add("--dry-run", action="store_true", help="check everything, write nothing")
    add("--json", action="store_true", help="print one JSON object and nothing else")
    args = parser.parse_intermixed_args(argv)
    if wrong := [text for text, is_right in usage(args).items() if not is_right]:
        parser.error(wrong[0])
    args.shard = tuple(map(int, args.shard.split("/")))
    if args.shard[1] > 1:  # all shards together make at most 60 commits an hour
        args.commit_every = max(args.commit_every, 60 * args.shard[1])
    return args


def usage(args: argparse.Namespace) -> dict[str, bool]:
    """Return what the arguments must be, and whether they are."""
    shard = re.fullmatch(r"(\d+)/(\d+)", args.shard)
    url = re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", args.base_url or "")
    outside = not Path(args.input or "").absolute().is_relative_to(Path(args.output or "").absolute())
    objects = isinstance(args.engine_args, dict) and isinstance(args.chat_template_kwargs, dict)
    samples = 1 if args.max_samples is None else args.max_samples
    counts = (samples, args.num_samples, args.k_responses, args.max_attempts, args.max_tokens, args.concurrency)
    differ = args.temperature > 0 or args.k_responses == 1 or args.filter_method == "none"
    return {
        "give INPUT and OUTPUT": bool(args.input and args.output),
        "INPUT must not lie in OUTPUT": outside,
        "--engine-args and --chat-template-kwargs take a JSON object": objects,
        "--engine openai needs --base-url https://host/v1": args.engine != "openai" or url is not None,
        "--filter-model needs --engine openai": args.engine == "openai" or args.filter_model in {None, args.model},
        "numbers of samples, tokens and the like must be at least 1": min(*counts, args.part_rows) >= 1,
        "--commit-every must be at least 0": args.commit_every >= 0,
        "--temperature must be at least 0": args.temperature >= 0,
        "--temperature 0 gives equal responses: add --temperature 0.6, or --filter-method none": differ,
        "--top-p must be above 0 and at most 1": 0 < args.top_p <= 1,
        "--rip-quantile must be from 0 to 1": 0 <= args.rip_quantile <= 1,
        "--shard takes I/N, I from 1 to N": shard is not None and 1 <= int(shard[1]) <= int(shard[2]),
    }


def choose_columns(args: argparse.Namespace, names: list[str]) -> None:
    """Set the columns, the task and the filter where they are not given; stop when they do not go together."""
    listed = ", ".join(names[:20])
    for flag, usual in {"question": PROMPTS, "answer": ANSWERS, "category": ["category"]}.items():
        given = getattr(args, f"{flag}_column")
        if given not in {None, *names}:
            stop(4, f"{args.input} has no column {given!r}", f"correct --{flag}-column; choose from {listed}")
        column = given or next((name for name in usual if name in names), None)
        setattr(args, f"{flag}_column", column)
    if args.question_column is None:
        stop(4, f"{args.input} has no column {', '.join(PROMPTS)}", f"add --question-column; choose from {listed}")
    if args.task_type == "auto":
        args.task_type = "reasoning" if args.answer_column else "instruction"
    is_reasoning = args.task_type == "reasoning"
    args.filter_method = args.filter_method or ("answer-consistency" if is_reasoning else "rip")
    if not is_reasoning and args.filter_method in VOTING:
        found = f"--filter-method {args.filter_method} compares final answers, which instructions do not have"
        stop(2, found, "add --filter-method rip, or --task-type reasoning")
    args.new_column = "question" if is_reasoning else "prompt"
    setattr(args, "category_column" if is_reasoning else "answer_column", None)


def read_seeds(args: argparse.Namespace, rows: Any) -> Groups:
    """Return the seeds, each text once; stop with 4 when there are no two to learn from."""
    groups: Groups = {}
    known = set()
    for number, row in enumerate(rows.select(range(len(rows))[: args.max_samples])):
        text = seed_text(row[args.question_column])
        has_answer = args.answer_column is None or str(row[args.answer_column] or "").strip()
        if text and has_answer and normal(text) not in known:
            known.add(normal(text))
            category = str(row[args.category_column] or "") if args.category_column else None
            groups.setdefault(category, []).append((text, number))
    columns = " and ".join(repr(name) for name in (args.question_column, args.answer_column) if name)
    found = f"{len(known):,} rows of {args.input} have a new text in {columns}"
    print(found, file=sys.stderr)
    several = {category: seeds for category, seeds in groups.items() if len(seeds) > 1}
    if not several:
        found += ", no two of them in one category" if args.category_column and len(known) > 1 else ""
        stop(4, f"{found}; two are needed", "bring more rows, or correct --question-column or --category-column")
    return several


def seed_text(cell: Any) -> str | None:
    """Return what a cell asks for: its text, or the first thing that a person says in it; None when there is nothing."""
    if isinstance(cell, str) and cell.lstrip().startswith("[{"):
        with suppress(ValueError):
            cell = json.loads(cell)
    if isinstance(cell, list):
        people = [one for one in cell if isinstance(one, str) or {"user", "human"} & {one.get("role"), one.get("from")}]
        cell = people[0] if people else None
    if isinstance(cell, dict):
        cell = cell.get("content") or cell.get("value")
        if isinstance(cell, list) and all(part.get("text") for part in cell):
            cell = "\n".join(part["text"] for part in cell)
    return cell.strip() if isinstance(cell, str) else None


def normal(text: str) -> str:
    """Return the words of a text as they are compared: no case, no punctuation, and no matter how it is spaced."""
    return " ".join(re.findall(r"\w+", text.casefold()))


def is_near_copy(text: str, known: list[str]) -> bool:
    """Return whether a text is nearly the same as one of these, which are normal."""
    from rapidfuzz import fuzz, process

    return process.extractOne(normal(text), known, scorer=fuzz.ratio, score_cutoff=ALIKE) is not None


def make_parts(args: argparse.Namespace, output: Any, groups: Groups, *, private: bool) -> dict[str, Any]:
    """Make this process's parts that are not finished; whichever process is the last filters and writes the card."""
    parts = {f"data/candidates-{start:08d}.parquet": start for start in range(0, args.num_samples, args.part_rows)}
    mine = [name for name in list(parts)[args.shard[0] - 1 :: args.shard[1]] if name not in output.finished]
    is_first, is_done = not output.finished & parts.keys(), "README.md" in output.finished
    with asyncio.Runner() as loop:
        models = loop.run(load_models(args, output.run)) if mine else ()
        first = make_part(args, loop, models, groups, parts[mine[0]]) if mine else []
        if mine and is_first:
            stop_if_all_dropped(first)
        output.claim(private=private)  # not before there is a candidate: a run that cannot work leaves nothing
        try:
            for name in mine:
                rows = first if name == mine[0] else make_part(args, loop, models, groups, parts[name])
                output.write(name, to_parquet(args, rows))
                failed = sum(row["dropped"] in {"error", "unparsed"} for row in rows)
                print(f"{name}: {len(rows):,} candidates, {failed:,} failed", file=sys.stderr)
            output.send()
            if parts.keys() - retrying(output.look)[0]:
                return {"candidates": None, "failed": None, "kept": None}  # other shards go on
            kept, counts = choose(args, output, list(parts))
            if not is_done:
                output.write("data/train.parquet", to_parquet(args, kept, is_kept=True))
                output.write("README.md", card(args, output, counts).encode())
        finally:
            output.send()
    return {"candidates": args.num_samples, "failed": counts["error"] + counts["unparsed"], "kept": len(kept)}


async def load_models(args: argparse.Namespace, run: dict[str, Any]) -> tuple[Any, Callable[[str, str], float] | None]:
    """Return what answers and what judges: a reward model goes into memory first, as vLLM takes all that is left."""
    name = args.reward_model
    try:
        judge = load_judge(name, run["reward_model"]) if args.filter_method in REWARDING else None
        name = args.model
        return ENGINES[args.engine](args, run["model"]), judge
    except Exception as error:  # noqa: BLE001 -- each engine and each model fails in its own way
        fix = "check the model, --engine-args and the machine's memory"
        stop(5, f"{args.engine} cannot load {name}: {error}", fix)


def make_part(args: argparse.Namespace, loop: asyncio.Runner, models: Any, groups: Groups, start: int) -> list[Row]:
    """Return the candidates of the part that begins with number `start`."""
    engine, judge = models
    known = [normal(text) for seeds in groups.values() for text, _ in seeds]
    numbers = range(start, args.num_samples)[: args.part_rows]
    try:
        rows = loop.run(together(make_candidate(args, engine, groups, known, number) for number in numbers))
    except Refused as refused:
        stop(*refused.args)
    for row in rows if judge else ():
        if row["dropped"] is None:
            row["rewards"] = [judge(row["asked"], response) for response in row["responses"]]
            row["reward"] = min(row["rewards"])
    return rows


async def together(work: Iterable[Coroutine[Any, Any, Any]]) -> list[Any]:
    """Return the results of all, in their order."""
    return await asyncio.gather(*work)


async def make_candidate(args: argparse.Namespace, engine: Any, groups: Groups, known: list[str], number: int) -> Row:
    """Return a candidate: written in as many attempts as it takes, then answered K times and voted on."""
    row: Row = {"candidate": number, "attempts": 0, "tokens": 0, "dropped": None}
    while row["attempts"] == 0 or (row["dropped"] and row["attempts"] < args.max_attempts):
        await write_prompt(args, engine, groups, row)
        if row["dropped"] is None and is_near_copy(row[args.new_column], known):
            row["dropped"] = "seed copy"
    if row["dropped"] is None and args.filter_method != "none":
        await respond(args, engine, row)
    return row


async def write_prompt(args: argparse.Namespace, engine: Any, groups: Groups, row: Row) -> None:
    """Ask for a new prompt, from two seeds of this attempt's own, and put it into the row."""
    step = f"{row['candidate']} attempt {row['attempts']}"
    draw = random.Random(f"{args.seed} {step} seeds")  # noqa: S311 -- no secret
    category = draw.choices(list(groups), weights=map(len, groups.values()))[0]
    (first, one), (second, two) = draw.sample(groups[category], 2)
    said = await engine.ask(WRITE.format(first=first, second=second, **TASKS[args.task_type]), step, args.model)
    row |= {"attempts": row["attempts"] + 1, "category": category, "seed_indices": [one, two]}
    row |= dict.fromkeys((args.new_column, "answer", "reasoning", "dropped", "error"))
    if isinstance(said, str):
        row |= {"dropped": "error", "error": said, "finish_reason": "error"}
        return
    row |= {"tokens": row["tokens"] + said.tokens, "finish_reason": said.finish_reason}
    if written := parse_written(args.task_type, said.text):
        row[args.new_column], row["answer"], row["reasoning"] = written
    else:
        row |= {"dropped": "unparsed", "error": f"found no {args.new_column} at the end of {said.text[-80:]!r}"}


def parse_written(task: str, text: str) -> tuple[str, str | None, str] | None:
    """Return the new prompt, its answer, and what the model said before; None when it is not in the form asked for."""
    thought, said = split_thinking(text)
    *before, rest = re.split(marker("New (?:Question|Task)"), said)
    prompt, *told = re.split(marker("Final Answer"), rest)
    prompt = re.split(marker("End of (?:Question|Task)"), prompt)[0].strip()
    told = re.split(marker("End of Answer"), told[-1])[0] if told else ""
    answer = final_answer(told) or tidy_answer(told)
    is_answered = task == "instruction" or 0 < len(answer) <= 1000
    if not before or len(prompt) < 10 or not is_answered:
        return None
    return prompt, answer or None, "\n\n".join(part.strip() for part in (thought, *before) if part.strip())


def marker(name: str) -> str:
    """Return the pattern of a marker; models like to make them bold, or headings."""
    return rf"(?i)(?:\*\*|#+[ \t]*)?\[[ \t]*{name}[ \t]*\](?:\*\*)?:?"


def split_thinking(text: str) -> tuple[str, str]:
    """Return what the model thought, and what it said; some templates open <think> in the prompt."""
    thought, is_there, said = text.rpartition("</think>")
    if not is_there and text.lstrip().startswith("<think>"):
        return text, ""
    return thought.strip().removeprefix("<think>").strip(), said.strip()


async def respond(args: argparse.Namespace, engine: Any, row: Row) -> None:
    """Ask for K responses to a prompt; for reasoning, see what their final answers say of its own."""
    row["asked"] = row[args.new_column]
    if args.task_type == "reasoning":
        row["asked"] = SOLVE.format(prompt=row["asked"])
    steps = [f"{row['candidate']} response {number}" for number in range(args.k_responses)]
    said = await together(engine.ask(row["asked"], step, args.filter_model or args.model) for step in steps)
    row["tokens"] += sum(one.tokens for one in said if isinstance(one, Answer))
    if refused := [one for one in said if isinstance(one, str)]:
        row |= {"dropped": "error", "error": refused[0]}
        return
    row["responses"] = [split_thinking(one.text)[1] for one in said]
    if args.task_type == "reasoning":
        row["solutions"] = [final_answer(response) for response in row["responses"]]
    if args.filter_method in VOTING:
        row["majority"], row["votes"] = vote(row["solutions"])
        row["share"] = row["votes"] / args.k_responses
        is_consistent = row["majority"] is not None and same_answer(row["majority"], row["answer"])
        row["dropped"] = None if is_consistent else "inconsistent"


def stop_if_all_dropped(rows: list[Row]) -> None:
    """Stop when no candidate of the first part is left: the others would cost as much, for nothing."""
    if any(row["dropped"] is None for row in rows):
        return
    told = []
    for row in rows[:3]:
        votes = f"its answer is {row['answer']}, its solutions say {row.get('solutions')}"
        why = votes if row["dropped"] == "inconsistent" else row["error"] or DROPPED[row["dropped"]]
        told.append(f"candidate {row['candidate']}: {why}"[:150])
    fix = "check the model and --max-tokens; if it is just so few that pass, use a larger --part-rows"
    stop(4, f"none of the first {len(rows)} candidates is left: {'; '.join(told)}", fix)


def final_answer(text: str) -> str | None:
    """Return the last boxed answer in `text`, else what follows the last "answer is"; None when there is neither."""
    said = [one.strip().partition("\n")[0] for one in re.split(r"(?i)answer\s*(?:is|:|=)+\s*", text)[1:]]
    answer = tidy_answer((BOXED.findall(text) or said or [""])[-1])
    return answer if 0 < len(answer) <= 1000 else None


def tidy_answer(text: str) -> str:
    """Return an answer without the dollar signs, asterisks and brackets around it, and without a closing full stop."""
    return re.sub(r"^(\\[(\[]|[$*\s])+|(\\[)\]]|[$*.\s])+$", "", " ".join(text.split()))


def same_answer(one: str, other: str) -> bool:
    """Return whether two answers are the same: as text, else as mathematics; a word is no product of its letters."""
    from math_verify import verify

    plain = [re.sub(r"\\text\s*\{([^{}]*)\}|[\s$]", r"\1", text).casefold() for text in (one, other)]
    if plain[0] == plain[1] or all(re.fullmatch(r"[^\W\d_]{3,}", text) for text in plain):
        return plain[0] == plain[1]
    return verify(parsed(one), parsed(other)) or verify(parsed(other), parsed(one))


@lru_cache(maxsize=4096)
def parsed(text: str) -> list[Any]:
    """Return an answer as mathematics; given up after seconds, as models do write 9^{9^{9^9}}."""
    from math_verify import parse

    return parse(f"${text}$")


def vote(solutions: list[str | None]) -> tuple[str | None, int]:
    """Return the answer that most solutions have, and how many; none on a tie, or when most have no answer."""
    votes: Counter[str | None] = Counter()
    for answer in solutions:
        alike = (known for known in votes if known is answer or (known and answer and same_answer(known, answer)))
        votes[next(alike, answer)] += 1
    (winner, most), *others = votes.most_common(2)
    return (winner, most) if winner is not None and (not others or others[0][1] < most) else (None, 0)


def to_parquet(args: argparse.Namespace, rows: list[Row], *, is_kept: bool = False) -> bytes:
    """Return candidates as a parquet file; of those that are kept, what a user of them needs."""
    import pyarrow as pa
    from pyarrow.parquet import write_table

    text, number, real = pa.string(), pa.int64(), pa.float64()
    kinds = {args.new_column: text, "answer": text, "category": text, "candidate": number}
    kinds |= {"seed_indices": pa.list_(number), "votes": number, "share": real, "reward": real}
    if is_kept:
        kinds = {name: kind for name, kind in kinds.items() if any(row[name] is not None for row in rows)}
    else:
        kinds |= {"reasoning": text, "solutions": pa.list_(text), "majority": text, "rewards": pa.list_(real)}
        kinds |= {"attempts": number, "tokens": number, "finish_reason": text, "dropped": text, "error": text}
    buffer = io.BytesIO()
    write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(kinds.items()))), buffer)
    return buffer.getvalue()


def read_part(output: Any, part: str) -> list[Row]:
    """Return the candidates of a finished part, without the long texts of their history."""
    from pyarrow.parquet import ParquetFile

    with output.fs.open(part) as opened:  # without Arrow's threads, which can outlive the file and end the process
        file = ParquetFile(opened, pre_buffer=False)
        names = set(file.schema_arrow.names) - {"reasoning", "solutions", "rewards", "error"}
        return file.read(sorted(names), use_threads=False).to_pylist()


def choose(args: argparse.Namespace, output: Any, parts: list[str]) -> tuple[list[Row], Counter[str]]:
    """Return the candidates that are kept, and the numbers of the card: those dropped by reason, attempts, tokens."""
    import pyarrow.compute as pc

    with ThreadPoolExecutor(8) as pool:
        rows = [row for part in pool.map(partial(retrying, read_part, output), parts) for row in part]
    sound = [row for row in rows if row["dropped"] is None]
    if args.filter_method in REWARDING and sound:
        edge = pc.quantile([row["reward"] for row in sound], args.rip_quantile)[0].as_py()
        for row in sound:
            row["dropped"] = "low reward" if row["reward"] < edge else None
    known: list[str] = []
    for row in rows:
        if row["dropped"] is None and is_near_copy(row[args.new_column], known):
            row["dropped"] = "copy"
        elif row["dropped"] is None:
            known.append(normal(row[args.new_column]))
    counts = Counter(row["dropped"] or "kept" for row in rows)
    counts.update({name: sum(row[name] for row in rows) for name in ("attempts", "tokens")})
    return [row for row in rows if row["dropped"] is None], counts


def card(args: argparse.Namespace, output: Any, counts: Counter[str]) -> str:
    """Return the dataset card: how the prompts were made, and what became of all candidates."""
    from importlib.metadata import version

    paths = {"default": "data/train.parquet", "candidates": "data/candidates-*.parquet"}
    configs = [{"config_name": name, "data_files": path} for name, path in paths.items()]
    front = json.dumps({"tags": ["uv-script", "jobshelf", "synthetic", args.task_type], "configs": configs})
    run = json.dumps({**output.run, "versions": {name: version(name) for name in PACKAGES[args.engine]}}, indent=1)
    names = (args.input, args.model, args.filter_model or args.model, args.reward_model)
    source, model, other, judge = (" ".join(text.replace("`", "'").split()) for text in names)
    vote = f"Answer-Consistency: most of {args.k_responses} solutions by `{other}` have the answer of the question."
    rip = f"RIP: the lowest reward by `{judge}` of {args.k_responses} responses of `{other}` is not below the quantile "
    rip += f"{args.rip_quantile:g} of all candidates left."
    how = {"answer-consistency": vote, "rip": rip, "both": f"{vote} {rip}", "none": "No filter was asked for."}
    table = {"candidates": args.num_samples, **{f"dropped: {text}": counts[why] for why, text in DROPPED.items()}}
    rows = "\n".join(f"| {text} | {count:,} |" for text, count in {**table, "kept": counts["kept"]}.items())
    return (
        f"---\n{front}\n---\n# Synthetic prompts\n\n{counts['kept']:,} {args.task_type} prompts, kept of "
        f"{args.num_samples:,} candidates that `{model}` wrote after two seeds each from `{source}` at "
        f"`{output.run['input']}`, by [CoT-Self-Instruct](https://arxiv.org/abs/2507.23751) with "
        f"[{URL.rpartition('/')[2]}]({URL}). Config `candidates` has all of them. {how[args.filter_method]}\n\n"
        f"| | prompts |\n|---|---|\n{rows}\n\nAll candidates took {counts['attempts']:,} attempts and "
        f"{counts['tokens']:,} tokens.\n\n```json\n{run}\n```\n"
    )


def model_commit(args: argparse.Namespace, name: str | bool, revision: str | None = None) -> tuple[str | None, bool]:
    """Return the commit of a model on the Hub, None for another one, and whether it is private."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if not name or Path(name).is_dir():
        return None, False
    try:
        info = retrying(HfApi().model_info, name, revision=revision)
    except (HfHubHTTPError, HFValidationError) as error:
        fix = "check the name; a private model needs `hf auth login`, or --secrets HF_TOKEN for a Job"
        stop(4, f"there is no model {name} for this account: {error}", fix)
    return info.sha, bool(info.private)


class Refused(Exception):
    """An API that refuses all questions: the exit code, what was found, and how to fix it."""


class Answer(NamedTuple):
    """What the model said, why it ended, and how many tokens it has."""

    text: str
    finish_reason: str
    tokens: int


def seed_of(args: argparse.Namespace, step: str) -> int:
    """Return the seed of a step of a candidate, which depends on no other candidate."""
    return random.Random(f"{args.seed} {step}").getrandbits(31)  # noqa: S311 -- no secret


def encode(args: argparse.Namespace, tokenizer: Any, longest: int, text: str) -> list[int] | str:
    """Return the tokens of a question, or why it cannot be asked."""
    chat, options = [{"role": "user", "content": text}], args.chat_template_kwargs
    text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False, **options)
    tokens = tokenizer(text, add_special_tokens=False)["input_ids"]
    too_long = f"the prompt has {len(tokens):,} tokens; the model takes {longest:,}, the response included"
    return tokens if len(tokens) < longest else too_long


class Vllm:
    """vLLM: a copy of the model on each GPU, or on as many as --engine-args '{"tensor_parallel_size": N}' says."""

    def __init__(self, args: argparse.Namespace, commit: str | None) -> None:
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")  # it needs a compiler, which a Job does not have
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # stdout is for the result
        import torch
        from vllm import AsyncEngineArgs
        from vllm.platforms import current_platform
        from vllm.v1.engine.async_llm import AsyncLLM

        copies = torch.cuda.device_count() // args.engine_args.get("tensor_parallel_size", 1)
        options = {"model": args.model, "revision": commit, "tokenizer_revision": commit, "max_model_len": -1}
        options |= {"data_parallel_size": max(copies, 1), "enable_chunked_prefill": not current_platform.is_cpu()}
        if torch.cuda.is_initialized():  # the reward model is there
            free, total = torch.cuda.mem_get_info()
            options["gpu_memory_utilization"] = 0.9 * free / total
        options |= args.engine_args  # in pieces, vLLM 0.32 for the CPU cannot read the prompt of a request with a seed
        self.args, self.engine = args, AsyncLLM.from_engine_args(AsyncEngineArgs(**options))
        atexit.register(lambda: vars(self).pop("engine").shutdown())  # while its modules are still there

    async def ask(self, text: str, step: str, _: str) -> Answer | str:
        """Return one answer, or why there is none; vLLM makes the batches."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        args = self.args
        tokens = encode(args, self.engine.get_tokenizer(), self.engine.model_config.max_model_len, text)
        if isinstance(tokens, str):
            return tokens
        options = {name: getattr(args, name) for name in ("temperature", "top_p", "max_tokens")}
        options |= {"seed": seed_of(args, step), "output_kind": RequestOutputKind.FINAL_ONLY}
        request = self.engine.generate({"prompt_token_ids": tokens}, SamplingParams(**options), step)
        said = [done.outputs[0] async for done in request][-1]
        return Answer(said.text, str(said.finish_reason), len(said.token_ids))


class Transformers:
    """transformers on the CPU, a question at a time, so that no padding changes an answer: for small models."""

    def __init__(self, args: argparse.Namespace, commit: str | None) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

        options = {"dtype": "float32", **args.engine_args}
        self.args, self.tokenizer = args, AutoTokenizer.from_pretrained(args.model, revision=commit)
        self.model = AutoModelForCausalLM.from_pretrained(args.model, revision=commit, **options)
        self.longest = self.model.config.get_text_config().max_position_embeddings
        ends = self.model.generation_config.eos_token_id
        ends = {self.tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        self.ends = sorted(ends - {None})
        self.model.generation_config = GenerationConfig()  # else options that are not set here would come from there

    async def ask(self, text: str, step: str, _: str) -> Answer | str:
        """Return one answer, or why there is none."""
        import torch

        args, tokens = self.args, encode(self.args, self.tokenizer, self.longest, text)
        if isinstance(tokens, str):
            return tokens
        options = {"max_new_tokens": min(args.max_tokens, self.longest - len(tokens)), "eos_token_id": self.ends}
        if args.temperature:
            options |= {"do_sample": True, "temperature": args.temperature, "top_p": args.top_p, "top_k": 0}
        torch.manual_seed(seed_of(args, step))
        asked = torch.tensor([tokens])
        output = self.model.generate(asked, attention_mask=torch.ones_like(asked), **options)
        said = output[0, len(tokens) :].tolist()
        finish = "stop" if said[-1] in self.ends else "length"
        return Answer(self.tokenizer.decode(said, skip_special_tokens=True), finish, len(said))


class Api:
    """An OpenAI-compatible API: `vllm serve`, llama.cpp's server, a provider."""

    def __init__(self, args: argparse.Namespace, _: str | None) -> None:
        from openai import AsyncOpenAI

        key = os.environ.get("OPENAI_API_KEY") or "none"
        self.args, self.at_once = args, asyncio.Semaphore(args.concurrency)
        self.client = AsyncOpenAI(base_url=args.base_url, api_key=key, max_retries=12)  # for about a minute

    async def ask(self, text: str, step: str, model: str) -> Answer | str:
        """Return one answer, or why this question is refused. Raises Refused when all of them are."""
        from openai import APIConnectionError, APIStatusError

        args = self.args
        options = {"max_tokens": args.max_tokens, "temperature": args.temperature, "extra_body": args.engine_args}
        if args.temperature:
            options |= {"seed": seed_of(args, step), "top_p": args.top_p}
        if args.chat_template_kwargs:
            options["extra_body"] = {"chat_template_kwargs": args.chat_template_kwargs, **args.engine_args}
        chat: Any = [{"role": "user", "content": text}]
        try:
            async with self.at_once:
                done = await self.client.chat.completions.create(model=model, messages=chat, **options)
            said, tokens = done.choices[0], done.usage.completion_tokens if done.usage else 0
            return Answer(said.message.content or "", str(said.finish_reason), tokens)
        except (LookupError, TypeError, AttributeError):
            return "the API gave no answer"
        except APIConnectionError as error:
            raise ConnectionError(f"{args.base_url}: {error.__cause__ or error}") from error
        except APIStatusError as error:
            if error.status_code in {400, 413, 422}:
                return f"the API gave no answer: {error}"
            fix = "check OPENAI_API_KEY (for a Job --secrets OPENAI_API_KEY), --model and --base-url"
            found = f"{args.base_url} answered {error.status_code}: {error}"
            raise Refused({401: 3, 403: 3, 404: 4}.get(error.status_code, 5), found, fix) from error


ENGINES = {"vllm": Vllm, "openai": Api, "transformers": Transformers}


def load_judge(name: str, commit: str | None) -> Callable[[str, str], float]:
    """Return the function that gives a response its reward, one at a time: no other response changes it."""
    import torch
    from transformers import AutoConfig, pipeline

    config = AutoConfig.from_pretrained(name, revision=commit)
    kinds = ", ".join(config.architectures or ["no architecture"])
    if config.num_labels != 1 or "ForSequenceClassification" not in kinds:
        fix = "name a sequence classification model with one label, trained on preferences"
        stop(4, f"{name} is no reward model ({kinds}, {config.num_labels} labels)", fix)
    place = {"device": 0, "dtype": "bfloat16"} if torch.cuda.is_available() else {"device": "cpu", "dtype": "float32"}
    model = pipeline("text-classification", name, revision=commit, function_to_apply="none", **place)
    longest = getattr(config, "max_position_embeddings", None) or 4096
    options = {"truncation": True, "max_length": longest, "add_special_tokens": False}

    def reward(prompt: str, response: str) -> float:
        chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": response}]
        return model(model.tokenizer.apply_chat_template(chat, tokenize=False), **options)[0]["score"]

    return reward


def read_rows(source: str, config: str | None, split: str) -> tuple[Any, str, bool]:
    """Return the rows of a Hub dataset or of local files, their commit or digest, and whether they are private."""
    import fsspec
    from datasets import Features, Value, load_dataset, load_dataset_builder
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    path = Path(source).expanduser().absolute()
    try:
        if not path.exists():
            info = retrying(HfApi().dataset_info, source)
            rows = retrying(load_dataset, source, config, split=split, revision=info.sha)
            return rows, info.sha, bool(info.private)
        folder = str(path if path.is_dir() else path.parent)
        options: dict[str, Any] = {} if path.is_dir() else {"data_files": glob.escape(str(path))}  # a name, no pattern
        builder = load_dataset_builder(folder, config, **options)
        files = sorted(Path(name) for names in builder.config.data_files.values() for name in names)
        names = glob.glob("**", root_dir=path, recursive=True)  # noqa: PTH207 -- it leaves out hidden files
        found = {kind for name in names for kind in Path(name).suffixes}
        if len(found & {".csv", ".tsv", ".jsonl", ".parquet", ".arrow"}) > 1:
            raise ValueError("the folder holds files of several kinds")
        digest, size = hashlib.sha256(), 0
        for file in files:
            with fsspec.open(str(file), compression="infer") as opened:
                digest.update(file.name.encode() + hashlib.file_digest(opened, "sha256").digest())
                size = max(size, opened.tell())
        if builder.name == "csv":  # all text, so that 007, NA and 2**70 stay what they are
            with fsspec.open(str(files[0]), "rt", compression="infer", encoding="utf-8-sig") as opened:
                header = opened.readline()
            separator = max(",;\t|", key="".join(header.split('"')[::2]).count)  # outside of quotes
            names = next(csv.reader([header], delimiter=separator))
            if len(set(names)) < len(names):
                raise ValueError("two columns have the same name")
            text = Features(dict.fromkeys(names, Value("string")))
            options |= {"sep": separator, "features": text, "keep_default_na": False}
        elif builder.name == "json":  # a type may show late: look at a whole file at once
            options["chunksize"] = size + 1
        elif builder.name == "parquet":  # else a file without rows fails
            options["batch_size"] = 1000
        return load_dataset(folder, config, split=split, **options), digest.hexdigest(), False
    except HfHubHTTPError as error:
        code = 4 if get_token() else 3  # without a token the Hub does not say whether a dataset exists
        fix = "check the name; a private dataset needs `hf auth login`, or --secrets HF_TOKEN for a Job"
        stop(code, f"the Hub answered {error.response.status_code} for {source}", fix)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 -- each kind of file fails in its own way
        stop(4, f"cannot read {source}: {str(error.__cause__ or error) or 'no rows'}", "check the file and the split")


def run_identity(args: argparse.Namespace, source: str) -> dict[str, str]:
    """Return what decides the result: this script's code, without comments, the arguments, the commit of the input."""
    words = sys.orig_argv  # with `uv run -` the script follows -c
    text = Path(__file__).read_text(encoding="utf-8") if "__file__" in globals() else words[words.index("-c") + 1]
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    others = {"input", "output", "commit_every", "shard", "private", "public", "keep", "overwrite", "dry_run"}
    arguments = {key: value for key, value in vars(args).items() if key not in others}
    code = hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
    return {"script": code, "arguments": json.dumps(arguments, sort_keys=True), "input": source}


def require_write(target: str, kind: str = "dataset") -> None:
    """Stop with 3 unless the token may write to `target`; a folder, s3:// and gs:// need none."""
    # The Hub's client gets a timeout, as it has none: a silent Hub would hold a Job until the Job's own.
    if not os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "").isdigit():
        os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = "60"
    import httpx2
    from huggingface_hub import HfApi, constants, get_session, get_token, set_client_factory
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    limit = httpx2.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT).as_dict()
    hooks = [*get_session().event_hooks["request"], lambda request: request.extensions.update(timeout=limit)]
    set_client_factory(lambda: httpx2.Client(event_hooks={"request": hooks}, follow_redirects=True))
    match = re.fullmatch(r"(hf://buckets/)?((\w[\w.-]*)/[\w.-]+)(?(1)(?:/.*)?)", target)
    if match is None:
        return
    if not get_token():
        stop(3, f"no Hub token, needed to write to {target}", "run `hf auth login`; for a Job add `--secrets HF_TOKEN`")
    bucket, repo, owner = match.groups()
    fix = "make a write token at https://huggingface.co/settings/tokens, then run `hf auth login`"
    try:
        account = retrying(HfApi().whoami)
        access = account.get("auth", {}).get("accessToken") or {"role": "write"}
        owners = [account, *account.get("orgs", [])]
        writable = {one["name"] for one in owners if access["role"] == "write" and one.get("roleInOrg") != "read"}
        for scope in access.get("fineGrained", {}).get("scoped", []):
            writable |= {scope["entity"].get("name")} if "repo.write" in scope["permissions"] else set()
        if not writable & {owner, repo}:
            stop(3, f"the token may not write to {target}", fix)
        if not bucket:
            with suppress(RepositoryNotFoundError):  # it will be created
                retrying(HfApi().auth_check, repo, repo_type=kind, write=True)
    except (HfHubHTTPError, UnicodeError):  # refused, or characters that no token has
        stop(3, f"the Hub does not accept the token to write to {target}", fix)


class Output:
    """The place of a run's files: user/name on the Hub, hf://buckets/..., s3://..., gs://... or a folder.

    Its run.json says whose files they are; `finished` names those of this run. A new file waits in `folder`: in a
    repository for up to `--commit-every` seconds, as the Hub takes 128 commits an hour.
    """

    def __init__(self, args: argparse.Namespace, run: dict[str, Any], *, kind: str = "dataset") -> None:
        from fsspec import url_to_fs
        from fsspec.implementations.dirfs import DirFileSystem

        self.args, self.target, self.kind = args, args.output, kind
        self.repo = re.fullmatch(r"\w[\w.-]*/[\w.-]+", self.target) is not None
        prefix = {"dataset": "hf://datasets/", "model": "hf://"}[kind] if self.repo else ""
        store, self.root = url_to_fs(prefix + self.target)
        self.fs, self.local = DirFileSystem(self.root, store), "file" in store.protocol
        names, held = retrying(self.look)
        differs = [key for key, value in run.items() if held.get(key) != value]
        differs += ["kept"] if args.overwrite and "kept" in held else []
        self.run, self.finished, self.stale = run, set[str](), set[str]()
        if not differs:
            self.run, self.finished = held, names
        elif args.overwrite or not names:  # a repository has a history; elsewhere only files of a run are deleted
            made = re.compile("" if self.repo else r"(data|checkpoint-\d+)/|(README\.md|run\.json)$")
            self.stale = {name for name in names if made.match(name) and (self.repo or held)}
        elif args.keep and held:
            self.run, self.finished = {**run, "kept": held}, names - {"README.md", "run.json"}
        else:
            found = f"another run ({', '.join(differs)} differ)" if held else "files of another origin"
            also = "--keep to keep its parts, or " if held else ""
            stop(4, f"{self.target} holds {found}", f"name another output, or add {also}--overwrite")

    def look(self) -> tuple[set[str], dict[str, Any]]:
        """Return the names of the files that are there now, those of other processes too, and what run.json says."""
        names, held = set(), {}
        self.fs.fs.invalidate_cache()  # all of it: for one path, the Hub would be asked
        with suppress(FileNotFoundError, TypeError, ValueError):
            names = {name for name in self.fs.find("") if "/." not in f"/{name}"}
            held = dict(json.loads(self.fs.cat_file("run.json"))) if "run.json" in names else {}
        return names, held

    def claim(self, *, private: bool) -> None:
        """Make the place if there is none, private like its input, and write whose it is."""
        from huggingface_hub import HfApi

        api, private = HfApi(), self.args.private or (private and not self.args.public)
        bucket = re.match(r"hf://buckets/([^/]+/[^/]+)", self.target)
        if self.repo:
            retrying(api.create_repo, self.target, repo_type=self.kind, private=private, exist_ok=True)
            if private:  # also one that was there
                retrying(api.update_repo_settings, self.target, repo_type=self.kind, private=True)
        elif bucket:
            retrying(api.create_bucket, bucket[1], private=private, exist_ok=True)
            if private:
                retrying(api.update_bucket_settings, bucket[1], private=True)
        self.waiting, self.sent = tempfile.TemporaryDirectory(), float("-inf")
        self.folder = Path(self.waiting.name)
        for name in () if self.repo else self.stale:
            retrying(self.fs.rm_file, name)
        if "run.json" not in self.finished:
            self.write("run.json", json.dumps(self.run).encode())

    def write(self, name: str, data: bytes) -> None:
        """Put a file there: at once, or in a repository with the next commit."""
        part, path = self.folder / ".part", self.folder / name
        part.write_bytes(data)  # under a hidden name, which is not sent: a full disk or SIGTERM may cut it short
        path.parent.mkdir(parents=True, exist_ok=True)
        part.replace(path)
        self.finished.add(name)
        if not self.repo or time.monotonic() - self.sent >= self.args.commit_every:
            self.send()

    def send(self) -> None:
        """Send what waits; when it is refused for good, keep it here and stop with 6."""
        if not any(self.folder.glob("[!.]*")):
            return
        try:
            retrying(self.put)
        except Exception as error:
            if self.local:
                raise
            kept = shutil.move(self.folder, Path(f"unsaved-{os.getpid()}").absolute())
            here, there = shlex.quote(str(kept)), shlex.quote(self.target)
            sync = {"s3": "aws s3 sync", "gs": "gcloud storage rsync -r"}.get(self.target[:2], "hf buckets sync")
            push = f"hf upload {there} {here} . --repo-type {self.kind}" if self.repo else f"{sync} {here} {there}"
            stop(6, f"{self.target} refused the files now in {kept}: {error}", push)
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.stale, self.sent = set(), time.monotonic()

    def put(self) -> None:
        """Put what waits in its place; into a repository in one commit. Repeated, it changes nothing."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        names, held = self.look()
        paths = sorted(filter(Path.is_file, self.folder.rglob("[!.]*")), key=lambda path: path.stat().st_mtime_ns)
        files = {path.relative_to(self.folder).as_posix(): path for path in paths}
        if held != self.run and files.keys() != {"run.json"}:
            self.waiting.cleanup()
            stop(4, f"another run has taken {self.target}", "name another output, or run this again with --overwrite")
        if self.repo:
            changes = [CommitOperationDelete(name) for name in self.stale & names - files.keys()]
            changes += [CommitOperationAdd(name, path) for name, path in files.items()]
            HfApi().create_commit(self.target, changes, repo_type=self.kind, commit_message=f"Add {len(files)} files")
            return
        for name, path in files.items():
            if self.local:
                self.place(path, Path(self.root, name))
            else:
                self.fs.put_file(str(path), name)

    def place(self, path: Path, there: Path) -> None:
        """Move a file into the folder, whole or not at all; another process may bring the same file."""
        there.parent.mkdir(parents=True, exist_ok=True)
        part = there.with_name(f".{there.name}.{self.folder.name}")
        try:
            shutil.move(path, part)  # a copy, if it comes from another disk
            part.replace(there)
        except FileNotFoundError:  # the other one was faster, and has cleaned up
            if not there.exists():
                raise
        finally:
            for left in there.parent.glob(f".{there.name}.*"):  # also what a killed run left
                left.unlink(missing_ok=True)


def retrying(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return `call(*args, **kwargs)`, repeated for two minutes while the failure may pass; then ConnectionError."""
    import httpx2
    from tenacity import RetryError, Retrying, retry_if_exception, stop_before_delay, wait_exception, wait_exponential

    def passes(error: BaseException | None) -> bool:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return status in {408, 409, 412, 425, 429} or (status >= 500 and status != 501)
        if isinstance(error, ConnectionError | TimeoutError | httpx2.TransportError):
            return type(error).__name__ not in {"OfflineModeIsEnabled", "LocalProtocolError", "UnsupportedProtocol"}
        unclear = type(error) in {OSError, RuntimeError} and getattr(error, "errno", None) is None
        return unclear or (error is not None and passes(error.__cause__))

    def asked(error: BaseException) -> float:
        seconds = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
        return float(seconds) if seconds.isdigit() else 0

    waits, limit = wait_exponential(0.5, max=30) + wait_exception(asked), stop_before_delay(120)
    try:
        return Retrying(retry=retry_if_exception(passes), wait=waits, stop=limit)(call, *args, **kwargs)
    except RetryError as error:
        failure = error.last_attempt.exception()
        raise ConnectionError(f"no success within two minutes: {failure}") from failure


def stop(code: int, found: str, fix: str) -> NoReturn:
    """Print what was found and how to fix it on one line of stderr, and exit with `code`."""
    line = " ".join(f"error: {found[:500]}. Fix: {fix}".split())
    print("".join(char if char.isprintable() else "?" for char in line), file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except OSError as error:
        stop(5, f"{error}", "check the network and the disk, then run the same command again")
