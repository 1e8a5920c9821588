# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "huggingface-hub>=2.4,<3",
#     "jinja2>=3.1,<4",
#     "math-verify>=0.9,<0.10",
#     "openai>=2,<4",
#     "polars>=2.1,<3",
#     "pyarrow>=26,<27",
#     "pyyaml>=6,<7",
#     "torch>=2.13,<3",
#     "tqdm>=4.67,<5",
#     "transformers>=5.19,<6",
#     "vllm>=0.32,<0.33; sys_platform == 'linux'",
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
# version = "0.1.0"
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
"""Write new prompts from a few seeds with a language model, and keep the good ones.

CoT-Self-Instruct (https://arxiv.org/abs/2507.23751): the model reasons about two seeds of a dataset, plans, and writes one
new prompt; for reasoning its answer too. Answer-Consistency keeps a question when most of K solutions agree with its
answer, RIP (https://arxiv.org/abs/2501.18578) a prompt when the lowest reward of its K responses is not among the lowest
of all. OUTPUT gets every candidate with its history (config `candidates`) and those that were kept (config `default`),
part by part; the same command, run again after a crash or a timeout, does what is missing.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/cot-self-instruct.py user/seeds user/prompts --num-samples 5000
    hf jobs uv run --secrets HF_TOKEN https://huggingface.co/datasets/jobshelf/scripts/resolve/main/cot-self-instruct.py user/seeds user/prompts --num-samples 5000

Costs what the GPU costs by the hour: most of it is N x K solutions. Several GPUs are used as copies of the model, several
Jobs share one output by --shard I/N. `--engine openai --base-url URL` asks an API instead (key in OPENAI_API_KEY). A
--filter-model of its own needs an API: two models in one GPU's memory would leave too little to either.
Exit codes: 0 done; 2 usage; 3 token; 4 input data, or no prompt is left; 5 network or machine; 6 computed, not persisted.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import fnmatch
import hashlib
import itertools
import json
import logging
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from functools import cache, lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path, PurePosixPath
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    import httpx2
    import polars as pl
    import pyarrow as pa
    import torch
    from openai import APIStatusError, OpenAI
    from openai.types.chat import ChatCompletion
    from tqdm import tqdm
    from transformers import PreTrainedTokenizerBase
    from vllm import RequestOutput, SamplingParams
    from vllm.lora.request import LoRARequest

SCRIPT_NAME = "cot-self-instruct.py"
SCRIPT_URL = "https://huggingface.co/datasets/jobshelf/scripts/resolve/main/cot-self-instruct.py"
TITLE = "Synthetic prompts"
VERSION = "0.1.0"
RESULT_VERSION = 1  # part of every request: raise it when the same input gives other rows
MODEL = "Qwen/Qwen3-30B-A3B-Thinking-2507"
REWARD_MODEL = "Skywork/Skywork-Reward-V2-Qwen3-8B"
VOTING = ("answer-consistency", "self-consistency", "both")
REWARDING = ("rip", "both")
METHODS = ("answer-consistency", "self-consistency", "rip", "both", "none")
SPLIT = "candidates"
KEPT_FILE = "data/train-000000.parquet"
KEYS = 1000  # keys of questions to the engine that each candidate has: its attempts, then its responses
RESPONSES = 900  # the first of those for responses
SHORTEST = 10  # characters of a new prompt
CATEGORY_CHARACTERS = 2000  # of a seed, from which its category is told
CATEGORY_TOKENS = 1024  # enough for a model that thinks before it names one
QUESTION_COLUMNS = (
    "question",
    "problem",
    "prompt",
    "instruction",
    "messages",
    "conversations",
    "conversation",
    "turns",
)
ANSWER_COLUMNS = ("answer", "solution", "final_answer", "expected_answer")
ASKING_ROLES = ("user", "human", "prompter")
CATEGORIES = (
    "Writing & Storytelling",
    "Technical & Programming",
    "Creative & Design",
    "Data & Analysis",
    "Education & Research",
    "Communication & Support",
    "Business & Marketing",
    "Miscellaneous",
)
DROPPED = {
    "error": "the engine gave no answer",
    "unparsed": "not written in the form asked for",
    "seed copy": "a near copy of a seed",
    "inconsistent": "the majority of the solutions has another answer, or there is none",
    "low share": "too few solutions agree",
}

# --- what the model is asked ---

QUESTION_PROMPT = """\
You write questions for tests of reasoning. These are two examples of such questions.

[Example 1]
{first}

[Example 2]
{second}

Write one new question, in three steps.

1. Think about the examples: which fields they are from, how hard they are and why, what a person has to know and to do \
to solve them, what they are there to test.
2. Plan a question that tests reasoning of that kind and is at least as hard. It must be new: another situation and \
another chain of steps, not an example with other names or numbers. It must be complete in itself, take several steps, \
and have one answer, a number, an expression or a few words, that can be checked at a glance. No proofs, no opinions, no \
questions with several parts.
3. Write the question down, solve it step by step, and check the result. Mend the question where it turns out to be \
ambiguous or wrong.

End your reply with the question and its final answer, in exactly this form:

[New Question]
...
[End of Question]
[Final Answer]
\\boxed{{...}}
[End of Answer]"""

TASK_PROMPT = """\
You write tasks that people might give to an assistant. These are two examples of such tasks.

[Example 1]
{first}

[Example 2]
{second}

Write one new task, in three steps.

1. Think about the examples: their field, how demanding they are, what people want to achieve with them, how they are \
worded, and what a good reply would need.
2. Plan a task of the same kind and at least as demanding. It must be new, not an example in other words; complete in \
itself, with all that is needed to work on it; and such that an assistant can do it by writing a text.
3. Write the task as the person who needs it would write it. Do not do it.

End your reply with the task, in exactly this form:

[New Task]
...
[End of Task]"""

SOLVE_PROMPT = "{question}\n\nReason step by step, and put your final answer in \\boxed{{}}."

CATEGORY_PROMPT = """\
To which one of these categories does the task below belong?

{categories}

[Task]
{task}
[End of Task]

Reply with the name of the category and nothing else."""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog=SCRIPT_NAME, description=str(__doc__).partition("\n")[0], allow_abbrev=False)
    _add_data(parser.add_argument_group("data"))
    _add_model(parser.add_argument_group("models and engine"))
    _add_method(parser.add_argument_group("method"))
    _add_run(parser.add_argument_group("run"))
    return parser


def _add_data(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("places", nargs="*", metavar="INPUT OUTPUT", help="seeds (Hub dataset, hf:// path, file, folder) and output")
    add("--seed-dataset", metavar="INPUT", help="the seeds, where they are not the first argument")
    add("--output-dataset", metavar="OUTPUT", help="Hub dataset (user/name) or folder (./out), where not the second")
    add("--config", metavar="NAME", help="config (subset); default: the dataset's default, else its first")
    add("--split", metavar="NAME", help="split; default: train, else the first")
    add("--revision", metavar="REV", help="branch, tag or commit of a Hub dataset")
    add("--max-samples", type=_positive, metavar="N", help="use only the first N rows as seeds")
    add("--task-type", choices=("auto", "reasoning", "instruction"), default="auto", help="default: auto, by columns")
    add("--question-column", "--task-column", metavar="NAME", help="column of seeds: texts or conversations")
    add("--answer-column", metavar="NAME", help="column of answers: with one, seeds are for reasoning")
    add("--category-column", metavar="NAME", help="categories of instructions (default: category, else the model's)")


def _add_model(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--generation-model", "--model", "--model-id", default=MODEL, metavar="M", help="default: %(default)s")
    add("--model-revision", metavar="REV", help="branch, tag or commit of that model")
    add("--filter-model", metavar="M", help="model of the responses (default: the same; another one needs an API)")
    add("--reward-model", default=REWARD_MODEL, metavar="M", help="for rip and both (default: %(default)s)")
    add("--engine", choices=ENGINES, default="vllm", help="what answers (default: %(default)s)")
    add("--base-url", metavar="URL", help="address of an OpenAI-compatible API, for --engine openai")
    add("--concurrency", type=_positive, default=32, metavar="N", help="requests to an API at once (default: 32)")
    add("--dtype", default="auto", metavar="T", help="auto, bfloat16, float16 or float32 (default: auto)")
    add("--quantization", metavar="Q", help="quantisation of the weights, as vLLM names it: fp8, awq ...")
    add("--max-model-len", type=_positive, metavar="N", help="tokens of prompt and answer (default: what fits)")
    add("--gpu-memory-utilization", type=float, default=0.9, metavar="F", help="share of GPU memory (default: 0.9)")
    add("--tensor-parallel-size", type=_positive, metavar="N", help="GPUs a copy of the model (default: the fewest)")
    add("--data-parallel-size", type=_positive, metavar="N", help="copies of the model (default: one a group of GPUs)")
    add("--engine-args", type=_json_object, default={}, metavar="JSON", help="more arguments of the engine")
    add(
        "--chat-template-kwargs",
        type=_json_object,
        default={},
        metavar="JSON",
        help='such as {"enable_thinking": false}',
    )


def _add_method(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--num-samples", type=_positive, default=5000, metavar="N", help="candidates, before filters (default: 5000)")
    add("--filter-method", choices=METHODS, help="default: answer-consistency for reasoning, rip for instructions")
    add("--k-responses", type=_positive, default=16, metavar="K", help="responses a candidate (default: %(default)s)")
    add("--quality-threshold", type=float, default=0.5, metavar="F", help="least share for self-consistency")
    add("--rip-quantile", type=float, default=0.5, metavar="F", help="share of prompts that rip drops (default: 0.5)")
    add("--max-attempts", type=_positive, default=4, metavar="N", help="attempts at a candidate (default: %(default)s)")
    add("--temperature", type=float, default=0.6, metavar="T", help="randomness (default: %(default)s)")
    add("--top-p", type=float, default=0.95, metavar="P", help="share of the likeliest tokens (default: %(default)s)")
    add("--max-tokens", type=_positive, default=8192, metavar="N", help="tokens of an answer (default: %(default)s)")
    add("--seed", type=int, default=42, metavar="N", help="seed of every draw (default: %(default)s)")


def _add_run(group: argparse._ArgumentGroup) -> None:
    add = group.add_argument
    add("--batch-size", type=_positive, metavar="N", help="has no effect: the engine makes its own batches")
    add("--shard", metavar="I/N", help="do share I of N; N processes with the same OUTPUT do the whole")
    add("--part-rows", type=_positive, default=250, metavar="N", help="candidates a file (default: %(default)s)")
    add("--commit-every", default="300", metavar="S", help="seconds between commits (default: %(default)s)")
    privacy = group.add_mutually_exclusive_group()
    privacy.add_argument("--private", action="store_true", help="private output; always so when the input is private")
    privacy.add_argument("--public", action="store_true", help="public output, even of private seeds")
    add("--overwrite", action="store_true", help="replace the result of another request or revision")
    add("--dry-run", action="store_true", help="check everything, write nothing")
    add("--json", action="store_true", help="print one JSON object and nothing else")


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code."""
    args = build_parser().parse_intermixed_args(argv)
    args.words = list(sys.argv[1:] if argv is None else argv)
    return run_to_exit(lambda: work(args))


def work(args: argparse.Namespace) -> int:
    """Check everything, write and judge candidates part by part, derive the prompts that are kept, report."""
    shard, commit_every = parse_shard(args.shard), parse_commit_every(args.commit_every)
    take_places(args)
    check_options(args)
    target = parse_target(args.output)
    write_token = target_token(target)
    token = write_token or find_token()
    source = find_source(args, args.revision, token)
    plan = make_plan(column_names(source, token), source, args)
    seeds = read_seeds(source, plan, args, token)
    held = look_at(target, token=write_token, private=args.private or source.private, public=args.public)
    models = find_models(plan, held, args, token)
    manifest = manifest_of(source, plan, models, args)
    begun = is_begun(held, manifest)  # a finished run is known as such on any machine, one with no GPU too
    if not begun:
        require_engine(args.engine, models.together, base_url=args.base_url)
    tensor, copies = parallel_sizes(models, args)
    told = facts(source, target, plan, models, seeds, args)
    if args.dry_run:
        return show(told | {"dry_run": True}, args)
    if models.reward is not None and not begun:
        require_reward_model(models.reward)
    create_target(target, held, write_token)
    if copies > 1:
        sizes = ["--tensor-parallel-size", str(tensor), "--data-parallel-size", "1"]
        return run_copies([*args.words, *sizes], shard, gpus_each=tensor, copies=copies)
    with open_dataset(
        target,
        held,
        manifest,
        schema=candidate_schema(plan),
        token=write_token,
        shard=shard,
        overwrite=args.overwrite,
        commit_every=commit_every,
    ) as run:
        if run.manifest.source != source.identity:  # an earlier attempt began with another revision of the seeds
            source = find_source(args, run.manifest.source, token)
            seeds = read_seeds(source, plan, args, token)
        parts = make_candidates(run, seeds, plan, models, tensor, args, token)
        selection = Selection(plan=plan, quantile=args.rip_quantile)
        done = run.finish(
            parts,
            lambda existing, totals: card(existing, totals, selection, source, models, args),
            derive=lambda tables: {KEPT_FILE: selection.select(tables)},
        )
    return report(done, selection, shard, told, args)


# --- seeds ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is made of which columns: `task` is reasoning or instruction, `method` one of METHODS."""

    task: str
    method: str
    question: str
    answer: str | None
    category: str | None

    @property
    def output(self) -> str:
        """The column of the new prompts."""
        return "question" if self.task == "reasoning" else "prompt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """The examples to learn from: their texts, the rows they are in, and their categories (None: not known)."""

    texts: tuple[str, ...]
    rows: tuple[int, ...]
    categories: tuple[str | None, ...]


def column_names(source: Source, token: str | None) -> list[str]:
    """Return the columns of the input."""
    return list(scan_rows(source, None, token).collect_schema().names())


def make_plan(names: Sequence[str], source: Source, args: argparse.Namespace) -> Plan:
    """Choose the task, the columns and the filter.

    Stops with 4 for columns that are not there, with 2 for a filter that is not one of the task.
    """
    asked = [args.question_column, args.answer_column, args.category_column]
    require_columns([name for name in asked if name], names, where=source.label)
    question = args.question_column or next((name for name in QUESTION_COLUMNS if name in names), None)
    if question is None:
        message = f"{source.label} has no column of {', '.join(QUESTION_COLUMNS[:4])} or conversations; it has: "
        raise Stop(EXIT_INPUT, message + ", ".join(names[:20]), fix="add --question-column NAME")
    answer = args.answer_column or next((name for name in ANSWER_COLUMNS if name in names and name != question), None)
    task = args.task_type
    if task == "auto":
        task = "reasoning" if answer and (args.answer_column or question in {"question", "problem"}) else "instruction"
    method = args.filter_method or ("answer-consistency" if task == "reasoning" else "rip")
    if task == "instruction" and method in VOTING:
        message = f"--filter-method {method} compares final answers, which instructions do not have"
        raise Stop(EXIT_USAGE, message, fix="add --filter-method rip, or --task-type reasoning")
    category = args.category_column or ("category" if "category" in names else None)
    return Plan(
        task=task,
        method=method,
        question=question,
        answer=answer if task == "reasoning" else None,
        category=category if task == "instruction" else None,
    )


def read_seeds(source: Source, plan: Plan, args: argparse.Namespace, token: str | None) -> Seeds:
    """Return the seeds, each text once. Stops with 4 when fewer than two are left."""
    columns = [name for name in (plan.question, plan.answer, plan.category) if name]
    rows = scan_rows(source, args.max_samples, token).select(columns).collect().to_dicts()
    kept: dict[str, tuple[str, int, str | None]] = {}
    for number, row in enumerate(rows):
        text = seed_text(row[plan.question])
        if text is None or (plan.answer and not str(row[plan.answer] or "").strip()):
            continue
        named = str(row[plan.category] or "").strip() if plan.category else ""
        kept.setdefault(" ".join(words_of(text)), (text, number, named or None))
    if len(kept) < 2:
        columns_told = " and ".join(repr(name) for name in columns[:2] if name != plan.category)
        message = f"{len(kept)} of {len(rows):,} rows of {source.label} have a seed in {columns_told}; two are needed"
        raise Stop(EXIT_INPUT, message, fix="name the column by --question-column, or bring more rows")
    if len(kept) < len(rows):
        note(f"{len(kept):,} of {len(rows):,} rows are seeds: the others are empty, or say the same")
    texts, numbers, categories = zip(*kept.values(), strict=True)
    return Seeds(texts=texts, rows=numbers, categories=categories)


def seed_text(cell: object) -> str | None:
    """Return what a cell asks for: its text, or the first thing that a person says in it; None when there is nothing."""
    if isinstance(cell, str) and cell.lstrip().startswith("[{"):
        with contextlib.suppress(ValueError):
            cell = json.loads(cell)
    if isinstance(cell, list):
        said = [item for item in cell if isinstance(item, str) or _asks(item)]
        cell = said[0] if said else None
    if isinstance(cell, Mapping):
        cell = cell.get("content") or cell.get("value")
    return cell.strip() if isinstance(cell, str) and cell.strip() else None


def _asks(message: object) -> bool:
    return isinstance(message, Mapping) and (message.get("role") or message.get("from")) in ASKING_ROLES


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are compared: no case, no punctuation, and no matter how it is spaced."""
    return re.findall(r"\w+", text.casefold())


class Pairs:
    """Draws two seeds for each attempt; for instructions both are of one category."""

    def __init__(self, seeds: Seeds, seed: int) -> None:
        groups: defaultdict[str | None, list[int]] = defaultdict(list)
        for place, category in enumerate(seeds.categories):
            groups[category].append(place)
        self._seed = seed
        self._group = {place: (group, rank) for group in groups.values() for rank, place in enumerate(group)}
        self._first = [place for place in range(len(seeds.texts)) if len(self._group[place][0]) > 1]
        if not self._first:
            message = f"each of the {len(seeds.texts)} seeds is alone in its category; two of one are needed"
            raise Stop(EXIT_INPUT, message, fix="bring more seeds, or name another --category-column")

    def draw(self, candidate: int, attempt: int) -> tuple[int, int]:
        """Return the places of two seeds, the same ones for the same candidate and attempt."""
        rng = random.Random(f"{self._seed} {candidate} {attempt}")  # noqa: S311 - drawing seeds, not secrets
        first = rng.choice(self._first)
        group, rank = self._group[first]
        other = rng.randrange(len(group) - 1)
        return first, group[other + (other >= rank)]


class NearCopies:
    """Texts, and whether another one says nearly the same: at least `SHARE` of its runs of five words are in one."""

    SHARE = 0.8
    RUN = 5

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        self._count = 0
        for text in texts:
            self.add(text)

    def add(self, text: str) -> None:
        """Take a text to compare others with."""
        for run in self._runs(text):
            self._holders[run].append(self._count)
        self._count += 1

    def has(self, text: str) -> bool:
        """Whether a text is nearly one that was added."""
        runs = self._runs(text)
        shared = Counter(holder for run in runs for holder in self._holders.get(run, ()))
        return bool(shared) and max(shared.values()) >= self.SHARE * len(runs)

    def _runs(self, text: str) -> set[tuple[str, ...]]:
        words = words_of(text)
        return {tuple(words[start : start + self.RUN]) for start in range(max(1, len(words) - self.RUN + 1))}


def name_categories(seeds: Seeds, engine: Engine, args: argparse.Namespace) -> Seeds:
    """Let the model name the category of each seed, greedily, so that a restart gets the same ones."""
    sampling = Sampling(temperature=0.0, max_tokens=min(args.max_tokens, CATEGORY_TOKENS), seed=args.seed)
    listed = "\n".join(f"- {name}" for name in CATEGORIES)
    questions = (
        Question(
            key=place, conversation=asking(CATEGORY_PROMPT.format(categories=listed, task=text[:CATEGORY_CHARACTERS]))
        )
        for place, text in enumerate(seeds.texts)
    )
    named: dict[int, str | None] = {}
    with Progress(len(seeds.texts), "categories of seeds") as progress:
        for reply in engine.replies(questions, sampling):
            named[reply.key] = find_category(split_thinking(reply.answers[0].text)[1]) if reply.answers else None
            progress.add()
    unknown = sum(category is None for category in named.values())
    if unknown:
        note(f"the model named no category for {unknown:,} of {len(named):,} seeds: {CATEGORIES[-1]}")
    return replace(seeds, categories=tuple(named[place] or CATEGORIES[-1] for place in range(len(seeds.texts))))


def find_category(said: str) -> str | None:
    """Return the category that is named first in what the model said, by its whole name or one of its two words."""
    folded = said.casefold()
    found = {
        place: category
        for category in reversed(CATEGORIES)
        for word in (category, *category.split(" & "))
        if (place := folded.find(word.casefold())) >= 0
    }
    return found[min(found)] if found else None


# --- candidates ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A new prompt as the model wrote it. `answer` is None for an instruction; `reasoning` is what came before."""

    prompt: str
    answer: str | None
    reasoning: str


@dataclass(slots=True, kw_only=True)
class Candidate:
    """A prompt in the making. `dropped` (a key of DROPPED) says why it is none, `attempts` how often it was tried."""

    number: int
    pair: tuple[int, int] = (0, 0)
    attempts: int = 0
    written: Written | None = None
    conversation: list[dict[str, str]] = field(default_factory=list)
    responses: list[str] = field(default_factory=list)
    solutions: list[str | None] = field(default_factory=list)
    voted: Vote | None = None
    rewards: list[float] = field(default_factory=list)
    tokens: int = 0
    finish_reason: str | None = None
    error: str | None = None
    dropped: str | None = None


class QuestionStream:
    """What is asked next: what earlier answers call for, and a new candidate whenever that is nothing."""

    def __init__(self, fresh: Iterator[Question]) -> None:
        self._fresh, self._following = fresh, deque[Question]()

    def __iter__(self) -> QuestionStream:
        return self

    def __next__(self) -> Question:
        return self._following.popleft() if self._following else next(self._fresh)

    def put(self, question: Question) -> None:
        """Ask this one next, after those that were put in before."""
        self._following.append(question)


def two_models(models: Models, settings: EngineSettings, *, token: str | None) -> Engine:
    """Return an API where one model writes the candidates and another one responds to them."""

    class TwoModels(ApiEngine):
        def _ask(self, question: Question, sampling: Sampling, stopped: threading.Event) -> Reply:
            if question.key % KEYS >= RESPONSES:
                return responding._ask(question, sampling, stopped)
            return super()._ask(question, sampling, stopped)

    responding = ApiEngine(EngineModel(name=models.responding), settings, token=token)
    return TwoModels(models.writing, settings, token=token)


class Workshop:
    """Makes the candidates of the parts that are not done yet: each is written, answered K times, voted on, settled.

    Answers come in any order. A part is handed on when its last candidate is settled.
    """

    def __init__(
        self, run: DatasetRun, seeds: Seeds, plan: Plan, reward: RewardModel | None, args: argparse.Namespace
    ) -> None:
        self.questions = QuestionStream(self._fresh())
        self._run, self._seeds, self._plan, self._reward, self._args = run, seeds, plan, reward, args
        self._pairs, self._copies = Pairs(seeds, args.seed), NearCopies(seeds.texts)
        self._making: dict[int, Candidate] = {}
        self._settled: defaultdict[int, dict[int, Candidate]] = defaultdict(dict)
        self._parts = {part.index: part for part in parts_of(run, args)}

    def work(self, engine: Engine, progress: Progress) -> None:
        """Work until all is done."""
        for reply in engine.replies(self.questions, self._sampling(1)):
            candidate = self._making[reply.key // KEYS]
            following = self._go_on(candidate, reply)
            if following is not None:
                self.questions.put(following)
                continue
            del self._making[candidate.number]
            progress.add(self._settle(candidate))

    def _fresh(self) -> Iterator[Question]:
        for part in self._parts.values():
            for number in range(part.start, part.stop) if self._run.wanted(part.index) else ():
                self._making[number] = Candidate(number=number)
                yield self._attempt(self._making[number])

    def _attempt(self, candidate: Candidate) -> Question:
        """Ask for the prompt, from two seeds of its own."""
        candidate.pair = self._pairs.draw(candidate.number, candidate.attempts)
        template = QUESTION_PROMPT if self._plan.task == "reasoning" else TASK_PROMPT
        first, second = (self._seeds.texts[place] for place in candidate.pair)
        key = candidate.number * KEYS + candidate.attempts
        candidate.attempts += 1
        return Question(key=key, conversation=asking(template.format(first=first, second=second)))

    def _go_on(self, candidate: Candidate, reply: Reply) -> Question | None:
        """Take a reply; return what is to be asked next for the candidate, None when nothing is."""
        candidate.tokens += reply.output_tokens or 0
        if reply.key % KEYS >= RESPONSES:
            return self._take_responses(candidate, reply)
        self._take_prompt(candidate, reply)
        if candidate.dropped is not None:
            return self._attempt(candidate) if candidate.attempts < self._args.max_attempts else None
        return self._ask_responses(candidate) if self._plan.method != "none" else None

    def _take_prompt(self, candidate: Candidate, reply: Reply) -> None:
        candidate.written, candidate.dropped, candidate.error = None, "error", reply.error
        candidate.finish_reason = reply.answers[0].finish_reason if reply.answers else "error"
        if not reply.answers:
            return
        candidate.written = parse_written(reply.answers[0].text, self._plan.task)
        if candidate.written is None:
            asked_for = "a new question with its final answer" if self._plan.task == "reasoning" else "a new task"
            candidate.dropped, candidate.error = "unparsed", f"no {asked_for} between the markers"
        else:
            candidate.dropped = "seed copy" if self._copies.has(candidate.written.prompt) else None

    def _ask_responses(self, candidate: Candidate) -> Question:
        """Ask for the responses that are missing: all K, or the rest where an API gives fewer at a time."""
        prompt = str(candidate.written and candidate.written.prompt)
        if self._plan.task == "reasoning":
            prompt = SOLVE_PROMPT.format(question=prompt)
        candidate.conversation = asking(prompt)
        had = len(candidate.responses)
        sampling = self._sampling(self._args.k_responses - had)
        return Question(
            key=candidate.number * KEYS + RESPONSES + had, conversation=candidate.conversation, sampling=sampling
        )

    def _take_responses(self, candidate: Candidate, reply: Reply) -> Question | None:
        if reply.error is not None:
            candidate.dropped, candidate.error = "error", reply.error
            return None
        candidate.responses += [split_thinking(answer.text)[1] for answer in reply.answers]
        if len(candidate.responses) < self._args.k_responses:
            return self._ask_responses(candidate)
        if self._plan.task == "reasoning":
            candidate.solutions = [final_answer(text) for text in candidate.responses]
        if self._plan.method in VOTING:
            candidate.voted = vote(candidate.solutions)
            candidate.dropped = self._verdict(candidate, candidate.voted)
        return None

    def _verdict(self, candidate: Candidate, voted: Vote) -> str | None:
        if self._plan.method == "self-consistency":
            agreed = voted.winner is not None and voted.share >= self._args.quality_threshold
            return None if agreed else "low share"
        return None if is_consistent(voted, str(candidate.written and candidate.written.answer)) else "inconsistent"

    def _settle(self, candidate: Candidate) -> int:
        """Put a candidate that is done into its part; return how many are handed on, as that may be complete now."""
        part = self._parts[candidate.number // self._run.manifest.part_rows]
        settled = self._settled[part.index]
        settled[candidate.number] = candidate
        if len(settled) < part.stop - part.start:
            return 0
        del self._settled[part.index]
        if self._reward is not None:
            judge([one for one in settled.values() if one.dropped is None], self._reward)
        ordered = [settled[number] for number in range(part.start, part.stop)]
        self._run.add(part, [candidate_row(one, self._seeds, self._plan) for one in ordered])
        return len(ordered)

    def _sampling(self, count: int) -> Sampling:
        args = self._args
        return Sampling(
            temperature=args.temperature, top_p=args.top_p, max_tokens=args.max_tokens, count=count, seed=args.seed
        )


def asking(text: str) -> list[dict[str, str]]:
    """Return the conversation that begins with `text`."""
    return [{"role": "user", "content": text}]


def parts_of(run: DatasetRun, args: argparse.Namespace) -> Iterator[Part]:
    """Yield the parts of all candidates."""
    return cut(args.num_samples, run.manifest.part_rows)


def make_candidates(
    run: DatasetRun,
    seeds: Seeds,
    plan: Plan,
    models: Models,
    tensor: int,
    args: argparse.Namespace,
    token: str | None,
) -> int:
    """Make the candidates that are this shard's and not done yet; return the number of parts of the whole run."""
    parts = list(parts_of(run, args))
    wanted = [part for part in parts if run.wanted(part.index)]
    if wanted:  # the models are loaded when there is something to ask them
        require_engine(args.engine, models.together, base_url=args.base_url)
        if models.reward is not None:
            require_reward_model(models.reward)
        settings = engine_settings(tensor, models, args)
        if models.responding != models.writing.name:
            engine = two_models(models, settings, token=token)
        else:
            engine = start_engine(args.engine, models.writing, settings, token=token)
        reward = RewardModel(models.reward) if models.reward is not None else None
        if plan.task == "instruction" and plan.category is None:
            seeds = name_categories(seeds, engine, args)
        missing = sum(part.stop - part.start for part in wanted)
        with Progress(args.num_samples, "candidates", start=args.num_samples - missing) as progress:
            Workshop(run, seeds, plan, reward, args).work(engine, progress)
    return len(parts)


def parse_written(text: str, task: str) -> Written | None:
    """Return the prompt that stands between the markers at the end of what the model said; None when none does."""
    thought, said = split_thinking(text)
    start = _last_marker("New Question" if task == "reasoning" else "New Task", said)
    if start is None:
        return None
    rest = said[start.end() :]
    prompt, answer = rest, None
    if task == "reasoning":
        given = _last_marker("Final Answer", rest)
        if given is None:
            return None
        told = re.split(_marker("End of Answer"), rest[given.end() :], maxsplit=1)[0]
        prompt, answer = rest[: given.start()], final_answer(told) or tidy_answer(told)
        if not 0 < len(answer) <= ANSWERS_LONGEST:
            return None
    prompt = re.split(_marker(r"End of (?:Question|Task)"), prompt, maxsplit=1)[0].strip()
    if len(prompt) < SHORTEST:
        return None
    before = said[: start.start()].strip()
    return Written(prompt=prompt, answer=answer, reasoning="\n\n".join(part for part in (thought, before) if part))


def _marker(name: str) -> str:
    """Return the pattern of a marker; models like to make them bold, or headings."""
    return rf"(?i)(?:\*\*|#+[ \t]*)?\[[ \t]*{name}[ \t]*\](?:\*\*)?:?"


def _last_marker(name: str, text: str) -> re.Match[str] | None:
    found = list(re.finditer(_marker(name), text))
    return found[-1] if found else None


def judge(candidates: Sequence[Candidate], reward: RewardModel) -> None:
    """Give each candidate the rewards of its responses."""
    talks = [
        [*one.conversation, {"role": "assistant", "content": response}]
        for one in candidates
        for response in one.responses
    ]
    found = iter(reward.rewards(talks))
    for one in candidates:
        one.rewards = [next(found) for _ in one.responses]


# --- rows ---


def candidate_schema(plan: Plan) -> pa.Schema:
    """Return the columns of config `candidates`."""
    import pyarrow as pa

    numbers, texts = pa.list_(pa.int64()), pa.list_(pa.string())
    kinds = {
        "candidate": pa.int64(),
        plan.output: pa.string(),
        **({"answer": pa.string()} if plan.task == "reasoning" else {"category": pa.string()}),
        "reasoning": pa.string(),
        "seed_indices": numbers,
        "attempts": pa.int64(),
        "solutions": texts,
        "majority": pa.string(),
        "votes": pa.int64(),
        "share": pa.float64(),
        "rewards": pa.list_(pa.float64()),
        "reward": pa.float64(),
        "tokens": pa.int64(),
        DATASET_FINISH_COLUMN: pa.string(),
        "dropped": pa.string(),
        DATASET_ERROR_COLUMN: pa.string(),
    }
    if plan.task == "instruction":
        kinds = {name: kind for name, kind in kinds.items() if name not in {"solutions", "majority", "votes", "share"}}
    return pa.schema(list(kinds.items()))


def candidate_row(one: Candidate, seeds: Seeds, plan: Plan) -> dict[str, Any]:
    """Return the row of a candidate that is settled."""
    written, voted = one.written, one.voted
    row = {
        "candidate": one.number,
        plan.output: written.prompt if written else None,
        "reasoning": written.reasoning if written else None,
        "seed_indices": [seeds.rows[place] for place in one.pair],
        "attempts": one.attempts,
        "rewards": one.rewards or None,
        "reward": lowest_reward(one.rewards) if one.rewards else None,
        "tokens": one.tokens,
        DATASET_FINISH_COLUMN: one.finish_reason,
        "dropped": one.dropped,
        DATASET_ERROR_COLUMN: one_line(one.error) if one.error else None,
    }
    if plan.task == "instruction":
        return row | {"category": seeds.categories[one.pair[0]]}
    return row | {
        "answer": written.answer if written else None,
        "solutions": one.solutions or None,
        "majority": voted.winner if voted else None,
        "votes": voted.votes if voted else None,
        "share": voted.share if voted else None,
    }


class Selection:
    """Which candidates are kept, of all that there are; afterwards the numbers that the card tells."""

    def __init__(self, *, plan: Plan, quantile: float) -> None:
        self.plan = plan
        self.numbers: dict[str, int] = {}
        self.totals: Counter[str] = Counter()
        self.rewards: dict[str, float] = {}
        self._quantile = quantile

    def select(self, tables: Iterable[pa.Table]) -> bytes:
        """Return the parquet file of the prompts that are kept: those not dropped, above the cut, and each once."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = pa.schema([field for field in candidate_schema(self.plan) if field.name in self._columns()])
        sound = list(self._sound(tables))
        above = self._above_the_cut(sound)
        kept = list(_each_once(above, self.plan.output))
        self.numbers |= {"cut": len(sound) - len(above), "twice": len(above) - len(kept), "kept": len(kept)}
        if self.plan.method == "self-consistency":  # there the majority is the answer
            kept = [row | {"answer": row["majority"]} for row in kept]
        sink = pa.BufferOutputStream()
        pq.write_table(pa.Table.from_pylist(kept, schema=schema), sink, compression="zstd")
        return bytes(sink.getvalue())

    def _sound(self, tables: Iterable[pa.Table]) -> Iterator[dict[str, Any]]:
        """Yield the candidates that were not dropped, and count the others."""
        needed = [*self._columns(), "majority"] if self.plan.method in VOTING else self._columns()
        self.numbers = dict.fromkeys(DROPPED, 0)
        for table in tables:
            for why, count in Counter(table.column("dropped").to_pylist()).items():
                if why is not None:
                    self.numbers[why] += count
            for name in ("attempts", "tokens"):
                self.totals[name] += sum(table.column(name).to_pylist())
            yield from table.filter(table.column("dropped").is_null()).select(needed).to_pylist()

    def _above_the_cut(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        if self.plan.method not in REWARDING or not rows:
            return rows
        rewards = [row["reward"] for row in rows]
        edge = quantile_cut(rewards, self._quantile)
        self.rewards = {"lowest": min(rewards), "cut": edge, "highest": max(rewards)}
        return [row for row in rows if row["reward"] >= edge]

    def _columns(self) -> list[str]:
        own = ["answer"] if self.plan.task == "reasoning" else ["category"]
        voted = ["votes", "share"] if self.plan.method in VOTING else []
        judged = ["reward"] if self.plan.method in REWARDING else []
        return [self.plan.output, *own, "candidate", "seed_indices", *voted, *judged]


def _each_once(rows: Iterable[dict[str, Any]], column: str) -> Iterator[dict[str, Any]]:
    """Yield the rows that are no near copies of an earlier one."""
    seen = NearCopies()
    for row in rows:
        if not seen.has(row[column]):
            seen.add(row[column])
            yield row


# --- preflight and report ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Which models are at work: one writes the prompts, `responding` (its name) answers them, one gives rewards."""

    writing: EngineModel
    responding: str
    reward: EngineModel | None

    @property
    def together(self) -> EngineModel:
        """The model to hold in memory, as heavy as all that share it."""
        return replace(self.writing, weights=self.writing.weights + (self.reward.weights if self.reward else 0))


def take_places(args: argparse.Namespace) -> None:
    """Set `args.input` and `args.output` from the flags, and from the words without one for what they do not name."""
    words = list(args.places)
    named = [args.seed_dataset, args.output_dataset]
    args.input, args.output = (given or (words.pop(0) if words else None) for given in named)
    if args.input is None or args.output is None or words:
        message = (
            f"found {len(args.places)} of INPUT and OUTPUT" if not words else f"{words[0]!r} is one argument too many"
        )
        raise Stop(EXIT_USAGE, message, fix=f"write {SCRIPT_NAME} user/seeds user/prompts")


def check_options(args: argparse.Namespace) -> None:
    """Stop with 2 for numbers that cannot be; say which options have no effect."""
    ranges = {
        "temperature": (0, 100),
        "top_p": (1e-9, 1),
        "gpu_memory_utilization": (0.01, 1),
        "quality_threshold": (0, 1),
        "rip_quantile": (0, 1),
        "k_responses": (1, KEYS - RESPONSES - 1),
        "max_attempts": (1, RESPONSES - 1),
    }
    for name, (low, high) in ranges.items():
        if not low <= getattr(args, name) <= high:
            flag = f"--{name.replace('_', '-')}"
            raise Stop(EXIT_USAGE, f"{flag} is {getattr(args, name)}", fix=f"give a number from {low:g} to {high:g}")
    if args.temperature == 0 and args.k_responses > 1 and args.filter_method != "none":
        message = f"--temperature 0 gives {args.k_responses} equal responses, which agree about everything"
        raise Stop(EXIT_USAGE, message, fix="add --temperature 0.6, or --filter-method none")
    if args.filter_model not in {None, args.generation_model} and args.engine != "openai":
        message = f"two models, {args.generation_model} and {args.filter_model}, do not share the memory of a GPU"
        raise Stop(EXIT_USAGE, message, fix="leave out --filter-model, or add --engine openai --base-url URL")
    if args.batch_size is not None:
        note("--batch-size has no effect: the engine makes its own batches")
    if args.quality_threshold != 0.5 and args.filter_method != "self-consistency":
        note("--quality-threshold has no effect: it belongs to --filter-method self-consistency")


def find_source(args: argparse.Namespace, revision: str | None, token: str | None) -> Source:
    """Resolve the input to files of one commit."""
    return resolve_source(args.input, config=args.config, split=args.split, revision=revision, token=token)


def find_models(plan: Plan, held: Held, args: argparse.Namespace, token: str | None) -> Models:
    """Return the models, at the commits that an earlier attempt of the same run began with where there was one."""
    before = held.manifest.get("request") if isinstance(held.manifest.get("request"), dict) else {}

    def found(role: str, name: str, revision: str | None) -> EngineModel:
        same = before.get(role) == name and not revision and not args.overwrite
        return describe_model(name, revision=before.get(f"{role}_commit") if same else revision, token=token)

    name = args.generation_model
    writing = EngineModel(name=name) if args.engine == "openai" else found("model", name, args.model_revision)
    reward = found("reward_model", args.reward_model, None) if plan.method in REWARDING else None
    return Models(writing=writing, responding=args.filter_model or name, reward=reward)


def parallel_sizes(models: Models, args: argparse.Namespace) -> tuple[int, int]:
    """Return (GPUs a copy, copies of the model)."""
    if args.engine != "vllm":
        return 1, args.data_parallel_size or 1
    tensor, copies = split_gpus(models.together)
    if args.tensor_parallel_size:
        tensor, copies = args.tensor_parallel_size, max(1, tensor * copies // args.tensor_parallel_size)
    return tensor, args.data_parallel_size or copies


def engine_settings(tensor: int, models: Models, args: argparse.Namespace) -> EngineSettings:
    """Return what the engine is told beside the model."""
    return EngineSettings(
        chat_template_kwargs=args.chat_template_kwargs,
        max_model_len=args.max_model_len,
        dtype=args.dtype,
        quantization=args.quantization,
        tensor_parallel=tensor,
        memory_share=memory_share(models.reward, args),
        seed=args.seed,
        base_url=args.base_url,
        concurrency=args.concurrency,
        extra=args.engine_args,
    )


def memory_share(reward: EngineModel | None, args: argparse.Namespace) -> float:
    """Return the share of a GPU that vLLM may take: what the reward model needs beside it is left free."""
    gpus = list_gpus() if args.engine == "vllm" and reward is not None else ()
    if not gpus or reward is None:
        return args.gpu_memory_utilization
    taken = reward.weights * ENGINE_OVERHEAD / min(gpu.memory for gpu in gpus)
    share = round(args.gpu_memory_utilization - taken, 3)
    if share <= 0:
        message = (
            f"the reward model {reward.name} needs {taken:.0%} of the memory of a GPU, and leaves none to the other"
        )
        raise Stop(EXIT_ENVIRONMENT, message, fix="name a smaller --reward-model, or use GPUs with more memory")
    note(f"vLLM gets {share:.1%} of each GPU; {taken:.1%} are for {reward.name}")
    return share


def manifest_of(source: Source, plan: Plan, models: Models, args: argparse.Namespace) -> RunManifest:
    """Return what identifies the result: the source, and every argument that changes it."""
    asked = (
        "max_samples engine base_url dtype quantization max_model_len chat_template_kwargs num_samples k_responses "
        "quality_threshold rip_quantile max_attempts temperature top_p max_tokens seed"
    )
    request = {
        "input": source.repo_id or source.given,
        "config": source.config,
        "split": source.split,
        "task": plan.task,
        "question_column": plan.question,
        "answer_column": plan.answer,
        "category_column": plan.category,
        "filter_method": plan.method,
        "model": models.writing.name,
        "model_commit": models.writing.commit,
        "filter_model": models.responding,
        "reward_model": models.reward.name if models.reward else None,
        "reward_model_commit": models.reward.commit if models.reward else None,
        **{name: getattr(args, name) for name in asked.split()},
        "result_version": RESULT_VERSION,
    }
    return RunManifest(
        script=SCRIPT_NAME, request=request, source=source.identity, part_rows=args.part_rows, split=SPLIT
    )


def is_begun(held: Held, manifest: RunManifest) -> bool:
    """Whether the output holds a run of this very request, finished or not."""
    there = parse_run_manifest(held.manifest)
    return there is not None and dict(there.request) == dict(manifest.request)


def card(
    existing: str | None,
    totals: DatasetTotals,
    selection: Selection,
    source: Source,
    models: Models,
    args: argparse.Namespace,
) -> str:
    """Return the dataset card: how the prompts were made and which were kept, in numbers that the rows bear out."""
    plan, name = selection.plan, source.repo_id or source.given
    commit = f" at `{md(models.writing.commit)}`" if models.writing.commit else ""
    sections = [
        f"# {md(TITLE)}",
        f"{selection.numbers['kept']:,} {plan.task} prompts, kept of {totals.rows:,} candidates that "
        f"{md(models.writing.name)}{commit} wrote after two seeds each from {md(name)} (config {md(source.config)}, "
        f"split {md(source.split)}), by [CoT-Self-Instruct](https://arxiv.org/abs/2507.23751). Config `default` has "
        "those that were kept; config `candidates` has all, with what was asked, answered and decided.",
        md_table(selection_rows(selection, totals)),
        *method_sections(selection, models, args),
        f"All candidates took {selection.totals['attempts']:,} attempts and {selection.totals['tokens']:,} tokens.",
        provenance(
            ScriptStamp(name=SCRIPT_NAME, url=SCRIPT_URL, version=VERSION),
            source=name,
            identity=source.identity,
            arguments=args.words,
            packages=installed(card_packages(plan, args)),
        ),
    ]
    files = {"default": ("train", "data/train-*.parquet"), SPLIT: ("train", f"data/{SPLIT}-*.parquet")}
    configs = [
        {"config_name": config, "data_files": [{"split": split, "path": path}]}
        for config, (split, path) in files.items()
    ]
    tags = ["synthetic", plan.task]
    return render_card(
        existing, front_matter={"pretty_name": TITLE, "tags": tags, "configs": configs}, body="\n\n".join(sections)
    )


def selection_rows(selection: Selection, totals: DatasetTotals) -> list[dict[str, object]]:
    """Return what became of the candidates, step by step; the dropped and the kept ones make up all."""
    plan, numbers = selection.plan, selection.numbers
    told = {**DROPPED, "cut": "the lowest reward is below the cut", "twice": "a near copy of another candidate"}
    absent = {"inconsistent", "low share"} - (
        {"low share"} if plan.method == "self-consistency" else {"inconsistent"} if plan.method in VOTING else set()
    )
    absent |= set() if plan.method in REWARDING else {"cut"}
    rows = [{"": f"dropped: {text}", "prompts": f"{numbers[why]:,}"} for why, text in told.items() if why not in absent]
    return [
        {"": "candidates", "prompts": f"{totals.rows:,}"},
        *rows,
        {"": "kept", "prompts": f"{numbers['kept']:,}"},
    ]


def method_sections(selection: Selection, models: Models, args: argparse.Namespace) -> Iterator[str]:
    """Yield what the filters are, and their numbers."""
    method = selection.plan.method
    drawn = f"{args.k_responses} responses of {md(models.responding)} (temperature {args.temperature:g}, top-p {args.top_p:g})"
    if method == "self-consistency":
        yield f"Self-Consistency: of {drawn}, at least {args.quality_threshold:g} have the same final answer, which is kept."
    elif method in VOTING:
        yield f"Answer-Consistency: the majority of {drawn} has the answer that came with the question."
    if method in REWARDING and models.reward is not None:
        commit = f" at `{md(models.reward.commit)}`" if models.reward.commit else ""
        yield (
            f"RIP: the lowest reward that {md(models.reward.name)}{commit} gives to any of {drawn} is not below the "
            f"quantile {args.rip_quantile:g} of all candidates left."
        )
    if selection.rewards:
        yield md_table([{f"reward, {name}": f"{value:.6g}" for name, value in selection.rewards.items()}])
    if method == "none":
        yield "No filter was asked for."


def card_packages(plan: Plan, args: argparse.Namespace) -> Iterator[str]:
    """Yield the packages whose versions a card should tell."""
    kinds: dict[str, tuple[str, ...]] = {"openai": ("openai",), "vllm": ("vllm",), "transformers": ()}
    yield from kinds[args.engine]
    if args.engine != "openai" or plan.method in REWARDING:
        yield from ("torch", "transformers")
    if plan.method in VOTING:
        yield "math-verify"
    yield "polars"


def installed(packages: Iterable[str]) -> tuple[str, ...]:
    """Return those that are there: a finished run may be looked at on a machine that could not have done it."""

    def is_there(name: str) -> bool:
        try:
            return bool(version(name))
        except PackageNotFoundError:
            return False

    return tuple(filter(is_there, packages))


def facts(
    source: Source, target: Target, plan: Plan, models: Models, seeds: Seeds, args: argparse.Namespace
) -> dict[str, Any]:
    """Return what is told of every run."""
    return {
        "input": source.label,
        "output": str(target),
        "task": plan.task,
        "seeds": len(seeds.texts),
        "filter_method": plan.method,
        "model": models.writing.name,
        "filter_model": models.responding,
        "reward_model": models.reward.name if models.reward else None,
        "engine": args.engine,
        "num_samples": args.num_samples,
    }


def report(
    done: DatasetResult, selection: Selection, shard: Shard, told: Mapping[str, Any], args: argparse.Namespace
) -> int:
    """Say what was done; 4 when no prompt is left."""
    totals = done.totals
    kept = done.derived.get(KEPT_FILE)
    counted = {"candidates": totals.rows if totals else None, "failed": totals.failed if totals else None, "kept": kept}
    show({**told, "output": done.where, "shard": str(shard), **counted}, args)
    if totals and kept == 0:
        why = ", ".join(f"{count} {name}" for name, count in selection.numbers.items() if count)
        message = (
            f"none of the {totals.rows:,} candidates is left ({why or 'as the card says'}); all are in {done.where}"
        )
        fix = "look at the columns 'dropped' and 'error' of config candidates, then run it again with --overwrite"
        raise Stop(EXIT_INPUT, message, fix=fix)
    return EXIT_DONE


def show(told: Mapping[str, Any], args: argparse.Namespace) -> int:
    """Print the facts: JSON for programs, one line each for people."""
    if args.json:
        print(json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False, default=str))
        return EXIT_DONE
    for name, value in told.items():
        print(one_line(f"{name.replace('_', ' ')}: {value}"))
    return EXIT_DONE


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not a positive number")
    return number


def _json_object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


# --- block: exits 1 (jobshelf) ---
EXIT_DONE = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_TOKEN = 3
EXIT_INPUT = 4
EXIT_ENVIRONMENT = 5
EXIT_NOT_PERSISTED = 6


class Stop(Exception):
    """Ends the script with `code`. `message` says what was found and where, `fix` what to type or change next."""

    def __init__(self, code: int, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{one_line(self.message).rstrip('.')}. Fix: {one_line(self.fix)}"


def one_line(text: object) -> str:
    """Return `text` on one line, control characters escaped, without the signed part of any URL."""
    joined = " ".join(re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", str(text)).split())
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in joined)


def note(text: str) -> None:
    """Write one line of progress or advice to stderr."""
    print(f"note: {one_line(text)}", file=sys.stderr, flush=True)


def run_to_exit(work: Callable[[], int]) -> int:
    """Run `work` and return its exit code, or the code of what stopped it."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, _terminate) if in_main_thread else None
    try:
        code = work()
        sys.stdout.flush()
        return code
    except Stop as stop:
        return _failed(stop.code, str(stop))
    except KeyboardInterrupt:
        return _failed(130, "interrupted. Fix: run the same command again")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        return _failed(EXIT_ENVIRONMENT, "out of memory. Fix: use a machine or a Job flavor with more memory")
    except OSError as error:
        return _failed(
            EXIT_ENVIRONMENT, f"{one_line(error).rstrip('.')}. Fix: check the network, the disk and the path"
        )
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def _failed(code: int, text: str) -> int:
    print(f"error: {text}", file=sys.stderr, flush=True)
    return code


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)


# --- end block ---


# --- block: retry 1 (jobshelf) ---
RETRY_ATTEMPTS = 5
RETRY_FIRST_PAUSE_S = 0.5
RETRY_LONGEST_PAUSE_S = 300.0
RETRY_SILENCE_S = 120.0
RETRY_STATUSES = frozenset({408, 429, 500, 502, 503, 504})

_Answer = TypeVar("_Answer")


def retry(call: Callable[[], _Answer], *, what: str) -> _Answer:
    """Return `call()`. `what` names the work in messages, e.g. "reading user/name"."""
    attempt = 0
    while True:
        attempt += 1
        try:
            _end_silence()
            return call()
        except Exception as error:
            reason = transient(error)
            if reason is None:
                raise
            if attempt == RETRY_ATTEMPTS or _offline(error):
                raise _unreachable(what, reason, attempt) from error
            pause = retry_pause(error, attempt)
            note(f"{what}: {reason}; trying again in {pause:g} s ({attempt}/{RETRY_ATTEMPTS - 1})")
            time.sleep(pause)


def transient(error: BaseException) -> str | None:
    """Return why `error` may go away by itself, or None when it will not."""
    for link in _chain(error):
        status = http_status(link)
        if status is not None:
            return f"the server answered {status}" if status in RETRY_STATUSES else None
        if _is_connection_failure(link):
            return one_line(link) or type(link).__name__
    return None


def http_status(error: BaseException) -> int | None:
    """Return the HTTP status that `error` carries, if any."""
    return getattr(getattr(error, "response", None), "status_code", None)


def retry_pause(error: BaseException, attempt: int) -> float:
    """Return the seconds to wait after the 1-based `attempt`: Retry-After if given, else doubling."""
    for link in _chain(error):
        told = getattr(getattr(link, "response", None), "headers", {}).get("retry-after", "")
        if told.isdecimal():
            return min(float(told), RETRY_LONGEST_PAUSE_S)
    return RETRY_FIRST_PAUSE_S * 2 ** (attempt - 1)


def _end_silence() -> None:
    """Bound how long the Hub's client waits for a word: most of its calls would wait until the Job's own timeout."""
    if "huggingface_hub" in sys.modules:
        from huggingface_hub.utils import get_session

        hooks = get_session().event_hooks["request"]
        if _with_a_timeout not in hooks:
            hooks.append(_with_a_timeout)


def _with_a_timeout(request: httpx2.Request) -> None:
    asked = request.extensions.get("timeout") or {}
    if asked.get("read") is None:
        told = os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "")
        seconds = float(told) if told.isdecimal() and int(told) else RETRY_SILENCE_S
        waits = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        request.extensions = {**request.extensions, "timeout": waits}


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _is_connection_failure(error: BaseException) -> bool:
    # huggingface_hub lets the errors of its HTTP client through; the client is its dependency, not the script's.
    of_http_client = any(base.__module__.partition(".")[0] in {"httpx", "httpx2"} for base in type(error).__mro__)
    return of_http_client or isinstance(error, ConnectionError | TimeoutError)


def _offline(error: BaseException) -> bool:
    return type(error).__name__ == "OfflineModeIsEnabled"


def _unreachable(what: str, reason: str, attempts: int) -> Stop:
    message = f"{what}: {reason} (attempt {attempts} of {RETRY_ATTEMPTS})"
    fix = "check the network, HF_ENDPOINT and HF_HUB_OFFLINE, then run the same command again"
    return Stop(EXIT_ENVIRONMENT, message, fix=fix)


# --- end block ---


# --- block: token 1 (jobshelf) ---
TOKEN_MISTAKEN_NAMES = ("TOKEN", "HUGGINGFACE_TOKEN", "HF_API_TOKEN", "HUGGINGFACEHUB_API_TOKEN")


def find_token() -> str | None:
    """Return the token of the environment or of `hf auth login`, None when there is none; stop when it is malformed."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import OIDCError

    try:
        token = get_token()
    except OIDCError as error:
        message = f"the identity of this CI run could not be exchanged for a token: {one_line(error)}"
        raise Stop(EXIT_TOKEN, message, fix="check the trusted publisher, or unset HF_OIDC_RESOURCE") from error
    if token is None:
        return None
    if not token.isascii() or not token.isprintable() or any(char in token for char in " $\"'"):
        message = (
            "the Hub token has characters that no token has (HF_TOKEN not substituted, or pasted with its quotes?)"
        )
        raise Stop(EXIT_TOKEN, message, fix=token_advice())
    return token


def require_token(why: str) -> str:
    """Return the token; stop with 3 when there is none. `why` completes "no Hub token, needed to ..."."""
    token = find_token()
    if token is not None:
        return token
    mistaken = next((name for name in TOKEN_MISTAKEN_NAMES if os.environ.get(name)), None)
    hint = f" ({mistaken} is set, but the name that counts is HF_TOKEN)" if mistaken else ""
    raise Stop(EXIT_TOKEN, f"no Hub token, needed to {why}{hint}", fix=token_advice())


def require_write(target: str) -> str:
    """Return a token that may write to the repo `target` ("namespace/name"); stop with 3 when there is none."""
    token = require_token(f"write to {target}")
    account = who_am_i(token)
    refused = write_refusal(account, target)
    if refused:
        raise Stop(EXIT_TOKEN, refused[0], fix=refused[1])
    return token


def who_am_i(token: str) -> dict[str, Any]:
    """Return what the Hub says about the owner of `token`; stop with 3 when the Hub does not accept it."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        return retry(lambda: HfApi().whoami(token=token, cache=True), what="checking the token")
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403}:
            raise
        message = "the Hub does not accept the token: it is invalid, expired or revoked"
        fix = f"make one at https://huggingface.co/settings/tokens, then {token_advice()}"
        raise Stop(EXIT_TOKEN, message, fix=fix) from error


def write_refusal(account: Mapping[str, Any], target: str) -> tuple[str, str] | None:
    """Return (message, fix) when the account of `whoami` may not write to `target`, else None.

    Roles are those of the Hub's whoami answer: "read", "write" and "fineGrained" for a token; "read", "contributor",
    "write" and "admin" for a member of an organisation.
    """
    access = account.get("auth", {}).get("accessToken", {})
    namespace, user = target.partition("/")[0], account.get("name", "")
    settings = "https://huggingface.co/settings/tokens"
    if access.get("role") == "read":
        return f"the token of {user} can only read, {target} needs write", f"make a write token at {settings}"
    organisations = {org.get("name"): org.get("roleInOrg") for org in account.get("orgs", [])}
    if namespace != user and namespace not in organisations:
        mine = ", ".join([user, *sorted(filter(None, organisations))])
        return f"{user} is not {namespace} and no member of it, {target} needs that", f"write to one of: {mine}"
    if organisations.get(namespace) == "read":
        return f"{user} can only read in {namespace}", f"ask an admin of {namespace} for the role write"
    if access.get("role") == "fineGrained" and not _scoped_write(access, target):
        return f"the fine-grained token of {user} does not cover {target}", f"add write access to it at {settings}"
    return None


def _scoped_write(access: Mapping[str, Any], target: str) -> bool:
    scopes = access.get("fineGrained")
    if scopes is None:
        return True  # an old answer without scopes: creating the repository will tell
    covering = {target, target.partition("/")[0]}
    return any(
        scope.get("entity", {}).get("name") in covering and "repo.write" in scope.get("permissions", [])
        for scope in scopes.get("scoped", [])
    )


def token_advice() -> str:
    """Return how to hand a token over where this process runs: in a Job, in CI, or on someone's machine."""
    if os.environ.get("JOB_ID"):
        return "start the Job with `--secrets HF_TOKEN`"
    if os.environ.get("CI"):
        return "set HF_TOKEN from a secret of the CI"
    return "run `hf auth login` on this machine; for a Job add `--secrets HF_TOKEN`"


# --- end block ---


# --- block: source 3 (jobshelf) ---
SOURCE_FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
}
SOURCE_METADATA = frozenset({"dataset_infos.json", "dataset_info.json", "state.json", "jobshelf.json", "index.json"})
SOURCE_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SOURCE_SAMPLED_BYTES = 65536
# What Polars goes on with after it has said what is wrong: which of its own options would help, where it was.
_SOURCE_ADVICE = re.compile(r" (?:Consider setting|You might want to try|The current offset|This error occurred) ")
_REPO_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One split of a dataset. `files` are paths inside the repository `repo_id` at `commit`, or inside `folder`.

    `identity` is the commit, or "sha256:..." of local files (name, size, first and last 64 KiB of each).
    """

    given: str
    repo_id: str | None
    commit: str | None
    folder: Path | None
    identity: str
    private: bool
    config: str
    split: str
    configs: tuple[str, ...]
    splits: tuple[str, ...]
    format: str
    files: tuple[str, ...]

    @property
    def label(self) -> str:
        """The input as people name it, with the commit where there is one."""
        return f"{self.repo_id}@{self.commit[:12]}" if self.repo_id and self.commit else self.given


def resolve_source(
    given: str,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    preferred_config: str | None = None,
) -> Source:
    """Describe the input `given`; nothing but names and metadata is read.

    `preferred_config` is taken, where it exists, when `config` is not given. Stops with 2 for what cannot be an
    input, 3 for a gated one, 4 for one that is missing or holds nothing readable.
    """
    described, layout = _found(given, revision, token)
    return _choose(described, layout, config, split, preferred_config)


def resolve_configs(
    given: str,
    *,
    split: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    preferred_config: str | None = None,
) -> tuple[Source, ...]:
    """Describe the same split of every config that has it, in the order of the dataset, with the calls that one takes.

    `split` is by default that of the `preferred_config`, or of the first config. Stops as `resolve_source` does.
    """
    described, layout = _found(given, revision, token)
    having = [config for config, splits in layout.items() if split is None or split in splits]
    if not having:
        return (_choose(described, layout, None, split, preferred_config),)
    first = _choose(described, layout, preferred_config if preferred_config in having else having[0], split, None)
    others = [config for config, splits in layout.items() if first.split not in splits]
    if others:
        note(f"{len(others)} configs have no split {first.split} and are left out: {', '.join(others[:5])}")
    return tuple(_choose(described, layout, config, first.split, None) for config in layout if config not in others)


def _found(given: str, revision: str | None, token: str | None) -> tuple[Source, _Layout]:
    path = Path(given).expanduser()
    if not given.strip():
        raise Stop(EXIT_USAGE, "the input is empty", fix="name a Hub dataset (user/name), or ./path")
    if given.startswith("hf://"):
        return _from_hf_path(given, revision, token)
    if not path.exists() and _REPO_ID.fullmatch(given):
        return _from_hub(given, given, "", revision, token)
    if path.exists() and revision is not None:
        raise Stop(EXIT_USAGE, f"{given} is here and has no revision {revision!r}", fix="leave --revision away")
    return _from_local(given, path)


def locate(source: Source, files: Iterable[str], token: str | None) -> tuple[list[str], dict[str, str] | None]:
    """Return what polars reads `files` of `source` from: paths or URLs, and its storage options.

    polars asks huggingface.co whatever HF_ENDPOINT says and sends no token to plain URLs: with HF_ENDPOINT set, each
    file becomes a signed URL (large files) or a downloaded one (small files). Signed URLs expire: call this late.
    """
    if source.folder is not None:
        return [str(source.folder / file) for file in files], None
    if "HF_ENDPOINT" not in os.environ:
        base = f"hf://datasets/{source.repo_id}@{source.commit}"
        return [f"{base}/{file}" for file in files], {"token": token} if token else None
    return [_signed_or_downloaded(source, file, token) for file in files], None


def unreadable(source: Source, what: str, error: Exception) -> Stop:
    """Return the Stop for what Polars says about `what`: 5 when the network failed, 4 when the data is at fault."""
    said = _SOURCE_ADVICE.split(one_line(error), maxsplit=1)[0].rstrip(" .:")
    if re.search(
        r"error (sending request|following redirect)|object-store|HTTP status|timed out|too many requests",
        said,
        re.IGNORECASE,
    ):
        fix = "check the network, then run the same command again"
        return Stop(EXIT_ENVIRONMENT, f"{what} of {source.given} could not be fetched: {said}", fix=fix)
    fix = "mend the file, or name another config or split"
    return Stop(EXIT_INPUT, f"{what} of {source.given} is not readable {source.format}: {said}", fix=fix)


def _signed_or_downloaded(source: Source, file: str, token: str | None) -> str:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    where = {"repo_id": str(source.repo_id), "repo_type": "dataset", "revision": source.commit}
    url = hf_hub_url(filename=file, **where)
    location = retry(lambda: get_hf_file_metadata(url, token=token), what=f"locating {file}").location
    if location != url:
        return location
    return retry(lambda: hf_hub_download(filename=file, token=token, **where), what=f"downloading {file}")


_Layout = dict[str, dict[str, tuple[str, ...]]]  # config -> split -> files, in the order of the dataset


def _from_local(given: str, path: Path) -> tuple[Source, _Layout]:
    if path.is_file():
        folder, files, card = path.parent, (path.name,), None
    elif path.is_dir():
        folder, files = path, _files_below(path)
        card = path / "README.md"
    elif _REPO_ID.fullmatch(given) or "/" in given or Path(given).suffix in SOURCE_FORMATS:
        raise Stop(EXIT_INPUT, f"found no file or folder {given!r}", fix="check the path")
    else:
        message = f"the input {given!r} is no Hub dataset, hf:// path, file or folder"
        raise Stop(EXIT_USAGE, message, fix="write it as user/name, hf://datasets/user/name/..., or ./path")
    data = _data_files(given, files)
    # One file is one split: its name says nothing about a dataset around it.
    layout = {"default": {"train": data}} if path.is_file() else _layout(data, _front_matter(card))
    described = _described(given, None, None, folder, data)
    return described, layout


def _files_below(folder: Path) -> tuple[str, ...]:
    # Nothing but files: to open a pipe would wait for its other end.
    return tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file()))


def _from_hf_path(given: str, revision: str | None, token: str | None) -> tuple[Source, _Layout]:
    match = re.fullmatch(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.*?))?/?", given)
    if match is None:
        message = f"{given!r} is no path in a Hub dataset"
        raise Stop(EXIT_USAGE, message, fix="write hf://datasets/user/name[@revision][/folder or file]")
    repo_id, pinned, inside = match.groups()
    if pinned and revision:
        raise Stop(EXIT_USAGE, f"{given!r} names a revision and so does --revision", fix="give one of the two")
    return _from_hub(given, repo_id, inside or "", revision or (pinned or "").replace("%2F", "/") or None, token)


def _from_hub(given: str, repo_id: str, inside: str, revision: str | None, token: str | None) -> tuple[Source, _Layout]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token or False)
    try:
        info = retry(lambda: api.dataset_info(repo_id, revision=revision), what=f"reading {repo_id}")
        if info.gated:  # everybody may see what it is; only some may read its files
            retry(lambda: api.auth_check(repo_id, repo_type="dataset"), what=f"asking for access to {repo_id}")
    except HfHubHTTPError as error:
        raise _refusal(error, repo_id, revision, token) from error
    names = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
    files = _inside(given, names, inside) if inside else names
    data = _data_files(given, files)
    front_matter = {} if inside or info.card_data is None else info.card_data.to_dict()
    described = _described(given, repo_id, info.sha, None, data)
    return replace(described, private=bool(info.private)), _layout(data, front_matter)


def _refusal(error: Exception, repo_id: str, revision: str | None, token: str | None) -> Stop:
    kind, status = type(error).__name__, http_status(error)
    if kind == "GatedRepoError":
        fix = f"ask for access at its page on the Hub, then {token_advice()}"
        return Stop(EXIT_TOKEN, f"{repo_id} is gated and this account has no access", fix=fix)
    if kind == "RevisionNotFoundError":
        return Stop(EXIT_INPUT, f"{repo_id} has no revision {revision!r}", fix="name a branch, tag or commit of it")
    if kind == "RepositoryNotFoundError":
        seen = "for this account" if token else "for anonymous readers"
        fix = f"check the spelling; if it is private, {token_advice()}"
        return Stop(EXIT_INPUT, f"there is no dataset {repo_id} {seen}", fix=fix)
    if status in {401, 403}:
        return Stop(EXIT_TOKEN, f"the Hub does not accept the token for {repo_id}: {status}", fix=token_advice())
    fix = "check HF_ENDPOINT and the proxy, then run the same command again"
    return Stop(EXIT_ENVIRONMENT, f"the Hub answered {status} for {repo_id}", fix=fix)


def _described(
    given: str, repo_id: str | None, commit: str | None, folder: Path | None, files: Sequence[str]
) -> Source:
    return Source(
        given=given,
        repo_id=repo_id,
        commit=commit,
        folder=folder,
        identity=commit or _fingerprint(folder or Path(), files),
        private=False,
        config="",
        split="",
        configs=(),
        splits=(),
        format="",
        files=(),
    )


def _fingerprint(folder: Path, files: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in files:
        with (folder / name).open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            ends = [stream.read(SOURCE_SAMPLED_BYTES)]
            stream.seek(max(0, size - SOURCE_SAMPLED_BYTES))
            ends.append(stream.read())
        digest.update(f"{name}\0{size}\0".encode() + b"".join(ends))
    return f"sha256:{digest.hexdigest()}"


def _data_files(given: str, names: Iterable[str]) -> tuple[str, ...]:
    data = tuple(name for name in names if _format(name) and not _is_metadata(name))
    if not data:
        kinds = ", ".join(sorted(SOURCE_FORMATS))
        raise Stop(EXIT_INPUT, f"{given} holds no file ending in {kinds}", fix="name a dataset that has such files")
    return data


def _format(name: str) -> str | None:
    return SOURCE_FORMATS.get(PurePosixPath(name.lower()).suffix)


def _is_metadata(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name in SOURCE_METADATA or any(part.startswith(".") for part in path.parts)


def _inside(given: str, names: Sequence[str], pattern: str) -> tuple[str, ...]:
    found = tuple(n for n in names if n == pattern or n.startswith(f"{pattern}/") or _matches(n, pattern))
    if not found:
        close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
        fix = f"did you mean {', '.join(close)}" if close else "list the files with `hf datasets info`"
        raise Stop(EXIT_INPUT, f"nothing at {given}", fix=fix)
    return found


def _front_matter(card: Path | None) -> Mapping[str, Any]:
    if card is None or not card.is_file():
        return {}
    from huggingface_hub import metadata_load

    try:
        return metadata_load(card) or {}
    except Exception as error:
        message = f"the front matter of {card} is not YAML: {one_line(error)}"
        raise Stop(EXIT_INPUT, message, fix="mend it, or name one file") from error


def _layout(files: Sequence[str], front_matter: Mapping[str, Any]) -> _Layout:
    """Return config -> split -> files: as the front matter says, else by the words in the paths, as `datasets` does."""
    declared = front_matter.get("configs")
    if not isinstance(declared, list):
        return {"default": _splits_by_name(files)}
    entries = [entry for entry in declared if isinstance(entry, dict) and "config_name" in entry]
    # The config that load_dataset() takes without a name comes first.
    entries.sort(key=lambda entry: not (entry.get("default") or entry["config_name"] == "default"))
    layout = {str(entry["config_name"]): _declared_splits(entry, files) for entry in entries}
    return {name: splits for name, splits in layout.items() if splits} or {"default": _splits_by_name(files)}


def _declared_splits(entry: Mapping[str, Any], files: Sequence[str]) -> dict[str, tuple[str, ...]]:
    folder = str(entry.get("data_dir") or "").strip("/")
    within = [file for file in files if not folder or file.startswith(f"{folder}/")]
    declared = entry.get("data_files")
    if declared is None:
        return _splits_by_name(within)
    if isinstance(declared, dict):
        declared = [{"split": split, "path": path} for split, path in declared.items()]
    if isinstance(declared, str) or not all(isinstance(item, dict) for item in declared):
        declared = [{"split": "train", "path": declared}]
    prefix = f"{folder}/" if folder else ""
    splits = {str(item.get("split")): _matching(item.get("path"), prefix, files) for item in declared}
    return {split: found for split, found in splits.items() if found}


def _matching(patterns: object, prefix: str, files: Sequence[str]) -> tuple[str, ...]:
    wanted = [patterns] if isinstance(patterns, str) else list(patterns or ())
    return tuple(file for file in files if any(_matches(file, f"{prefix}{pattern}") for pattern in wanted))


def _matches(file: str, pattern: str) -> bool:
    """Match as the Hub does: `*` stays inside a folder, `**` does not."""
    parts = re.split(r"(\*\*/?|\*|\?|\[[^\]]*\])", pattern.removeprefix("./"))
    regex = "".join(_glob_part(part) for part in parts)
    return re.fullmatch(regex, file) is not None


def _glob_part(part: str) -> str:
    if part.startswith("["):
        return fnmatch.translate(part).removeprefix("(?s:").partition(")")[0]
    return {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))


def _splits_by_name(files: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(_split_of(file), []).append(file)
    if "" in found and len(found) > 1:  # files without a split word beside files that have one are not data of a split
        del found[""]
    named = {split or "train": tuple(names) for split, names in found.items()}
    order = list(SOURCE_SPLIT_WORDS)
    return dict(sorted(named.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 9, item[0])))


def _split_of(file: str) -> str:
    """Return the split that the path names, the file name counting before its folders; "" when it names none."""
    for part in reversed(PurePosixPath(file).with_suffix("").parts):
        sharded = re.fullmatch(r"(\w+)-\d{5}-of-\d{5}(?:-\w+)?", part)
        if sharded:
            return sharded[1]
        words = re.split(r"[^a-z0-9]+", part.lower())
        for split, synonyms in SOURCE_SPLIT_WORDS.items():
            if any(word in synonyms for word in words):
                return split
    return ""


def _choose(
    source: Source, layout: _Layout, config: str | None, split: str | None, preferred_config: str | None
) -> Source:
    preferred = preferred_config if preferred_config in layout else next(iter(layout))
    chosen_config = _pick("config", config, layout, preferred, source.given)
    splits = layout[chosen_config]
    chosen_split = _pick("split", split, splits, default_split(splits), source.given)
    files = splits[chosen_split]
    formats = sorted({str(_format(file)) for file in files})
    kind = "parquet" if "parquet" in formats else formats[0]
    read = tuple(file for file in files if _format(file) == kind)
    if len(formats) > 1:
        note(f"{source.given} mixes {', '.join(formats)}: reading the {kind} files")
    return replace(
        source,
        config=chosen_config,
        split=chosen_split,
        configs=tuple(layout),
        splits=tuple(splits),
        format=kind,
        files=read,
    )


def default_split(splits: Iterable[str]) -> str:
    """Return the split to take when none is named: train, else the first that begins so, else the first."""
    names = list(splits)
    return "train" if "train" in names else next((name for name in names if name.startswith("train")), names[0])


def _pick(what: str, asked: str | None, available: Iterable[str], default: str, given: str) -> str:
    names = list(available)
    if asked is None or asked in names:
        return asked or default
    close = difflib.get_close_matches(asked, names, n=1) or [default]
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    message = f"{given} has no {what} {asked!r}; it has: {listed}"
    raise Stop(EXIT_INPUT, message, fix=f"add --{what} {close[0]}")


# --- end block ---


# --- block: preflight 1 (jobshelf) ---
# Job flavors in the order of their price by the hour: memory, GPU memory (all GPUs) and disk in GB, as documented in
# 2026; for several GPUs the memory and disk of one, at least. `hf jobs hardware` says what holds today.
PREFLIGHT_FLAVORS = (
    ("cpu-basic", 16, 0, 50),
    ("cpu-upgrade", 32, 0, 50),
    ("t4-small", 15, 16, 50),
    ("t4-medium", 30, 16, 100),
    ("l4x1", 30, 24, 400),
    ("cpu-xl", 124, 0, 1000),
    ("a10g-large", 46, 24, 200),
    ("l40sx1", 62, 48, 380),
    ("cpu-performance", 256, 0, 1024),
    ("a100-large", 142, 80, 1000),
    ("rtx-pro-6000", 256, 96, 475),
    ("l4x4", 186, 96, 3200),
    ("h200", 256, 141, 3000),
    ("rtx-pro-6000x2", 256, 192, 475),
    ("a100x4", 142, 320, 4000),
    ("rtx-pro-6000x4", 256, 384, 475),
    ("h200x4", 256, 564, 3000),
    ("a100x8", 142, 640, 8000),
    ("rtx-pro-6000x8", 256, 768, 475),
    ("h200x8", 256, 1128, 3000),
)
PREFLIGHT_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
PREFLIGHT_MEMINFO = "/proc/meminfo"
_GB = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as nvidia-smi lists it; `memory` in bytes."""

    name: str
    memory: int


def require_columns(wanted: Iterable[str], available: Sequence[str], *, where: str) -> None:
    """Stop with 4 when a column in `wanted` is not `available`; the message has the likely one and all that there are."""
    for name in wanted:
        if name not in available:
            close = difflib.get_close_matches(name, available, n=1, cutoff=0.5)
            folded = [column for column in available if column.casefold() == name.casefold()]
            listed = ", ".join(available[:20]) + (f" and {len(available) - 20} more" if len(available) > 20 else "")
            likely = [*folded, *close]
            fix = f"did you mean {likely[0]!r}" if likely else "name one of these columns"
            raise Stop(EXIT_INPUT, f"{where} has no column {name!r}; it has: {listed}", fix=fix)


def require_free_columns(added: Iterable[str], available: Sequence[str], *, where: str, flag: str) -> None:
    """Stop with 4 when a column that the script adds is there already; `flag` is the option that names another."""
    taken = [name for name in added if name in available]
    if taken:
        free = next(name for number in range(2, 1000) if (name := f"{taken[0]}_{number}") not in available)
        message = f"{where} has a column {taken[0]!r} already, which would be overwritten"
        raise Stop(EXIT_INPUT, message, fix=f"add {flag} {free}")


def require_disk(needed: int, folder: Path) -> None:
    """Stop with 5 when the disk of `folder` has fewer than `needed` bytes free."""
    nearest = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(nearest).free
    if free < needed:
        raise _preflight_too_small(f"disk space at {nearest}", needed, free, disk=needed)


def require_ram(needed: int) -> None:
    """Stop with 5 when this machine or container has less than `needed` bytes of memory available."""
    available = available_ram()
    if available is not None and available < needed:
        raise _preflight_too_small("memory", needed, available, ram=needed)


def require_vram(needed: int) -> tuple[Gpu, ...]:
    """Return the GPUs; stop with 5 when there is none, or when together they have fewer than `needed` bytes."""
    gpus = list_gpus()
    memory = sum(gpu.memory for gpu in gpus)
    if not gpus:
        flavor = preflight_flavor(vram=needed)
        message = f"no GPU here (nvidia-smi finds none), {needed / _GB:.0f} GB of GPU memory needed"
        raise Stop(EXIT_ENVIRONMENT, message, fix=f"run it as a Job with --flavor {flavor}")
    if memory < needed:
        names = ", ".join(gpu.name for gpu in gpus)
        raise _preflight_too_small(f"GPU memory ({names})", needed, memory, vram=needed)
    return gpus


def list_gpus() -> tuple[Gpu, ...]:
    """Return the GPUs that CUDA programs of this process may use, in the order of nvidia-smi."""
    command = shutil.which("nvidia-smi")
    if command is None or os.environ.get("CUDA_VISIBLE_DEVICES") in {"", "-1"}:
        return ()
    query = [command, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        note(f"nvidia-smi does not work ({type(error).__name__}): no GPU is counted")
        return ()
    lines = (line.rpartition(",") for line in told.splitlines())
    gpus = [Gpu(name=name.strip(), memory=int(memory) * 2**20) for name, _, memory in lines if memory.strip().isdigit()]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    numbers = [int(number) for number in visible if number.strip().isdigit()]
    return tuple(gpus[number] for number in numbers if number < len(gpus)) if numbers else tuple(gpus)


def available_ram() -> int | None:
    """Return the bytes of memory that may still be taken: the machine's, or the container's limit if that is less."""
    bounds = [_preflight_meminfo(), *(_preflight_limit(Path(file)) for file in PREFLIGHT_CGROUPS)]
    known = [bound for bound in bounds if bound is not None]
    return min(known) if known else None


def preflight_flavor(*, ram: int = 0, vram: int = 0, disk: int = 0) -> str:
    """Return the cheapest Job flavor with so many bytes of memory, GPU memory and disk; the largest if none has."""
    fitting = (
        name
        for name, has_ram, has_vram, has_disk in PREFLIGHT_FLAVORS
        if has_ram * _GB >= ram and has_vram * _GB >= vram and has_disk * _GB >= disk
    )
    return next(fitting, PREFLIGHT_FLAVORS[-1][0])


def _preflight_too_small(what: str, needed: int, found: int, *, ram: int = 0, vram: int = 0, disk: int = 0) -> Stop:
    message = f"{needed / _GB:.1f} GB of {what} needed, {found / _GB:.1f} GB found"
    flavor = preflight_flavor(ram=ram, vram=vram, disk=disk)
    return Stop(EXIT_ENVIRONMENT, message, fix=f"run it as a Job with --flavor {flavor}, or free some here")


def _preflight_meminfo() -> int | None:
    try:
        lines = Path(PREFLIGHT_MEMINFO).read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(found[0]) * 1024 if found else None


def _preflight_limit(file: Path) -> int | None:
    """Return the limit in a cgroup file; None where there is none ("max", or a number larger than any machine)."""
    try:
        text = file.read_text(encoding="ascii").strip()
    except OSError:
        return None
    return int(text) if text.isdigit() and int(text) < 2**60 else None


# --- end block ---


# --- block: progress 1 (jobshelf) ---
PROGRESS_EVERY_S = 60.0


class Progress:
    """A count up to `total` (None: not known) of things called `what`. Use it as a context manager; threads may add.

    `start` of them were done by an earlier attempt: they count as done, but not for the speed.
    """

    def __init__(self, total: int | None, what: str, *, start: int = 0) -> None:
        self._total, self._what, self._start, self._done = total, what, start, start
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._bar: tqdm | None = None
        self._ticker = threading.Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Progress:
        self._begun = time.monotonic()
        self._bar = _progress_bar(self._total, self._what, self._start) if sys.stderr.isatty() else None
        if self._bar is None:
            note(self.line())
            self._ticker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._bar is not None:
            self._bar.close()
            return
        self._ticker.join()
        note(self.line())

    def add(self, count: int = 1) -> None:
        """Count `count` more as done."""
        with self._lock:
            self._done += count
            if self._bar is not None:
                self._bar.update(count)

    def line(self) -> str:
        """Return where the work stands: `rows: 120 of 500 (24 %), 2.0 a second, about 3 min 10 s left`."""
        done, seconds = self._done, time.monotonic() - self._begun
        speed = (done - self._start) / seconds if seconds > 0 else 0.0
        share = f" of {self._total} ({100 * done // self._total} %)" if self._total else ""
        text = f"{self._what}: {done}{share}"
        if speed > 0:
            text += f", {speed:.1f} a second" if speed >= 0.1 else f", {speed * 3600:.1f} an hour"
            if self._total and done < self._total:
                text += f", about {progress_duration((self._total - done) / speed)} left"
        return text

    def _tick(self) -> None:
        while not self._ended.wait(PROGRESS_EVERY_S):
            note(self.line())


def progress_duration(seconds: float) -> str:
    """Return a span of time in its two largest units: `2 h 5 min`, `3 min 10 s`, `7 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    units = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    largest = next((place for place, (count, _) in enumerate(units) if count), len(units) - 1)
    shown = units[largest : largest + 2]
    return " ".join(f"{count} {unit}" for count, unit in shown if count) or "0 s"


def _progress_bar(total: int | None, what: str, start: int) -> tqdm | None:
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=total, initial=start, desc=what, unit="", file=sys.stderr, dynamic_ncols=True)


# --- end block ---


# --- block: parts 1 (jobshelf) ---
PARTS_MANIFEST = "jobshelf.json"
PARTS_FOLDER = "data"

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rows `start` <= row < `stop` of the input (counted from 0); `index` counts the parts from 0."""

    index: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """Which run an output belongs to. `request` holds every argument that changes the result, and RESULT_VERSION.

    `source` is the identity of the input (a commit, or "sha256:..." of local files), `part_rows` the rows a part,
    `split` the name of the split that the parts make up.
    """

    script: str
    request: Mapping[str, Any]
    source: str
    part_rows: int
    split: str = "train"

    def to_bytes(self) -> bytes:
        """Return the manifest as the file that is written to the output."""
        content = {
            "script": self.script,
            "request": dict(self.request),
            "source": self.source,
            "part_rows": self.part_rows,
            "split": self.split,
        }
        return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()

    def path(self, index: int) -> str:
        """Return where part `index` lies, relative to the output."""
        return f"{PARTS_FOLDER}/{self.split}-{index:06d}.parquet"

    def index(self, path: str) -> int | None:
        """Return the number of the part that lies at `path`, None when that is no part of this run."""
        number = path.removeprefix(f"{PARTS_FOLDER}/{self.split}-").removesuffix(".parquet")
        return int(number) if number.isdecimal() and self.path(int(number)) == path else None


def parse_run_manifest(content: Mapping[str, Any]) -> RunManifest | None:
    """Return the manifest that a JSON object says, None when it is not one of a run in parts."""
    kinds = {"script": str, "request": dict, "source": str, "part_rows": int, "split": str}
    if not all(isinstance(content.get(key), kind) for key, kind in kinds.items()) or content["part_rows"] < 1:
        return None
    return RunManifest(**{key: content[key] for key in kinds})


def adopt_manifest(
    there: RunManifest | None, ours: RunManifest, *, where: str, overwrite: bool, complete: bool
) -> RunManifest:
    """Return the manifest to go by: the one that is `there` when it is of the same request, else `ours`.

    `overwrite` begins anew where the request differs, or where a run that is `complete` had another source; it never
    throws away the unfinished work of the same request, so that restarts and sibling shards may all pass it.
    Stops with 4 when the request differs, or when a local input is no longer what the run began with.
    """
    if there is None:
        return ours
    if _parts_request(there) != _parts_request(ours):
        if overwrite:
            return ours
        raise _parts_of_another_run(there, ours, where)
    if there.source == ours.source or (overwrite and complete):
        return there if there.source == ours.source else ours
    if "sha256:" in there.source + ours.source:
        message = f"the input is not what {where} was begun with ({there.source[:15]} then, {ours.source[:15]} now)"
        raise Stop(EXIT_INPUT, message, fix="bring the old input back, or name another output")
    end = "is complete: add --overwrite to compute it from the new one" if complete else "goes on with that"
    note(f"{where} was begun with revision {there.source[:12]} (now {ours.source[:12]}) and {end}")
    return there


def cut(total: int, size: int) -> Iterator[Part]:
    """Yield the parts of `total` rows, `size` rows each, the last one shorter."""
    for index, start in enumerate(range(0, total, size)):
        yield Part(index=index, start=start, stop=min(start + size, total))


def cut_stream(
    items: Iterable[_Item], size: int, *, wanted: Callable[[int], bool]
) -> Iterator[tuple[Part, list[_Item] | None]]:
    """Yield each part of `items` (of a known order, unknown length); its items, or None where not `wanted(index)`.

    Items of an unwanted part are read and dropped one by one: at most one part is in memory.
    """
    stream, start = iter(items), 0
    for index in itertools.count():
        group = itertools.islice(stream, size)
        kept = list(group) if wanted(index) else None
        taken = len(kept) if kept is not None else sum(1 for _ in group)
        if not taken:
            return
        yield Part(index=index, start=start, stop=start + taken), kept
        start += taken


def _parts_request(manifest: RunManifest) -> dict[str, str]:
    """Return each thing asked for as JSON text: what a file brings back as a list may have been a tuple."""
    asked = {"script": manifest.script, "split": manifest.split, **manifest.request}
    return {key: json.dumps(value, sort_keys=True, ensure_ascii=False) for key, value in asked.items()}


def _parts_of_another_run(there: RunManifest, ours: RunManifest, where: str) -> Stop:
    before, now = _parts_request(there), _parts_request(ours)
    changed = sorted(key for key in before.keys() | now.keys() if before.get(key) != now.get(key))
    told = ", ".join(f"{key}: {before.get(key, '-')[:60]} there, {now.get(key, '-')[:60]} asked" for key in changed[:3])
    message = f"{where} holds the result of another request ({told})"
    return Stop(EXIT_INPUT, message, fix="name another output, or add --overwrite to replace that result")


# --- end block ---


# --- block: shard 1 (jobshelf) ---
SHARD_MARKERS = "completions"
SHARD_MOST = 99_999
_SHARD_FORM = re.compile(r"([0-9]{1,5})/([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Number `index` of `count` shards, counted from 1."""

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def rank(self) -> int:
        """The number of this shard counted from 0, as in the names of its files."""
        return self.index - 1

    @property
    def marker(self) -> str:
        """Where the marker of this shard lies, relative to the output."""
        return f"{SHARD_MARKERS}/{self.rank:05d}"

    def holds(self, part_index: int) -> bool:
        """Whether the part of this number (from 0) is this shard's work."""
        return part_index % self.count == self.rank


def parse_shard(given: str | None) -> Shard:
    """Return the shard that `--shard` names, 1/1 for None; stop with 2 when it is not I/N with 1 <= I <= N."""
    if given is None:
        return Shard(index=1, count=1)
    match = _SHARD_FORM.fullmatch(given)
    index, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= index <= count <= SHARD_MOST:
        message = f"--shard {given!r} is not I/N with I from 1 to N and N up to {SHARD_MOST}"
        raise Stop(EXIT_USAGE, message, fix="write --shard 1/8 for the first of eight, --shard 8/8 for the last")
    return Shard(index=index, count=count)


def shard_marker(shard: Shard, *, parts_in_all: int) -> bytes:
    """Return what the marker of a finished shard says: which shard it was, and the parts that the whole run has."""
    return (json.dumps({"parts_in_all": parts_in_all, "shard": str(shard)}, sort_keys=True) + "\n").encode()


def parts_in_all(markers: Mapping[str, bytes]) -> int | None:
    """Return the number of parts of the whole run as the markers (name -> content) say; None when none says it.

    Stops with 4 when they do not agree: the shards did not read the same input.
    """
    told = {name: _shard_told(content) for name, content in sorted(markers.items())}
    totals = {total for total in told.values() if total is not None}
    if len(totals) > 1:
        listed = ", ".join(f"{name}: {total}" for name, total in told.items())
        message = f"the shards do not agree on the number of parts ({listed})"
        raise Stop(EXIT_INPUT, message, fix="run all shards on the same input and revision, with --overwrite")
    return totals.pop() if totals else None


def missing_parts(total: int, finished: Iterable[int]) -> list[int]:
    """Return the numbers below `total` that are not finished, in order."""
    return sorted(set(range(total)).difference(finished))


def _shard_told(content: bytes) -> int | None:
    try:
        said = json.loads(content)
    except ValueError:
        return None
    total = said.get("parts_in_all") if isinstance(said, dict) else None
    return total if isinstance(total, int) and total >= 0 else None


# --- end block ---


# --- block: table 1 (jobshelf) ---
TABLE_GUESS_ROWS = 10_000  # of a text file, from which the types of its columns are told


def scan_rows(source: Source, limit: int | None, token: str | None) -> pl.LazyFrame:
    """Return the first `limit` rows of the input (None: all), in its order, as one query that has not run."""
    import polars as pl

    readers = {
        "parquet": pl.scan_parquet,
        "jsonl": partial(pl.scan_ndjson, infer_schema_length=TABLE_GUESS_ROWS),
        "csv": partial(pl.scan_csv, infer_schema_length=TABLE_GUESS_ROWS),
    }
    if source.format not in readers:
        fix = f"convert them to {' or '.join(readers)}"
        raise Stop(EXIT_INPUT, f"the files of {source.given} are {source.format}", fix=fix)
    places, options = locate(source, source.files, token)
    try:
        frames = [readers[source.format](place, storage_options=options) for place in places]
        frame = pl.concat(frames) if limit is None else pl.concat(frames).head(limit)
        frame.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise unreadable(source, "the data", error) from error
    return frame


def table_parts(frame: pl.LazyFrame, source: Source, size: int) -> Iterator[tuple[Part, pa.Table]]:
    """Yield the rows in parts of `size`, in the order of the input."""
    import polars as pl

    index, rest = 0, frame.head(0).collect()
    try:
        for batch in frame.collect_batches(chunk_size=size, maintain_order=True):
            rest = pl.concat([rest, batch])
            while rest.height >= size:
                yield Part(index=index, start=index * size, stop=(index + 1) * size), rest.head(size).to_arrow()
                index, rest = index + 1, rest.slice(size)
    except pl.exceptions.PolarsError as error:
        raise unreadable(source, "the data", error) from error
    if rest.height:
        yield Part(index=index, start=index * size, stop=index * size + rest.height), rest.to_arrow()


def count_rows(frame: pl.LazyFrame, source: Source) -> int | None:
    """Return the number of rows where the files say it, None where they would have to be read."""
    import polars as pl

    return frame.select(pl.len()).collect().item() if source.format == "parquet" else None


def table_schema(
    known: Sequence[pa.Field], added: Mapping[str, pa.Field], source: Source, token: str | None
) -> pa.Schema:
    """Return the schema of an output with the `known` columns of the input and the `added` ones."""
    import pyarrow as pa

    schema = pa.schema([*known, *added.values()])
    told = _table_features(source, token)
    if not told:
        return schema
    features = {**told, **{name: _table_feature(column.type) for name, column in added.items()}}
    return schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _table_features(source: Source, token: str | None) -> dict[str, Any]:
    """Return the features that `datasets` wrote into the first parquet file of the input, {} when there are none."""
    import polars as pl

    if source.format != "parquet":
        return {}
    places, options = locate(source, source.files[:1], token)
    try:
        told = pl.read_parquet_metadata(places[0], storage_options=options).get("huggingface")
        return dict(json.loads(told)["info"]["features"]) if told else {}
    except (pl.exceptions.PolarsError, ValueError, LookupError, TypeError):
        return {}


def _table_feature(kind: pa.DataType) -> dict[str, Any]:
    """Return a type in the words of `datasets`."""
    import pyarrow as pa

    if pa.types.is_list(kind):
        return {"feature": _table_feature(kind.value_type), "_type": "List"}
    return {"dtype": "int64" if pa.types.is_integer(kind) else "string", "_type": "Value"}


# --- end block ---


# --- block: copies 1 (jobshelf) ---
def run_copies(words: Sequence[str], shard: Shard, *, gpus_each: int, copies: int) -> int:
    """Run this script with the arguments `words` for each of `copies` groups of GPUs; return the worst exit code.

    The last `--shard` on a command line counts: each copy gets its share of `shard` appended.
    """
    script = globals().get("__file__")
    if script is None or not Path(script).is_file():
        message = "a script on stdin cannot start the copies that several GPUs need"
        raise Stop(EXIT_USAGE, message, fix="run it from its URL or from a file, or add --data-parallel-size 1")
    note(f"{copies} copies of the model, {gpus_each} GPU{'s' if gpus_each > 1 else ''} each")
    running: list[subprocess.Popen[bytes]] = []
    try:
        for copy in range(copies):
            gpus = ",".join(_gpu_names(gpus_each * copies)[copy * gpus_each : (copy + 1) * gpus_each])
            share = f"{(shard.index - 1) * copies + copy + 1}/{shard.count * copies}"
            argv = [sys.executable, script, *words, "--shard", share]
            running.append(subprocess.Popen(argv, env=os.environ | {"CUDA_VISIBLE_DEVICES": gpus}, stdout=sys.stderr))
        codes = [process.wait() for process in running]
    except BaseException:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()
        raise
    return max((code if code >= 0 else EXIT_UNEXPECTED for code in codes), default=EXIT_DONE)


def _gpu_names(count: int) -> list[str]:
    """Return the names of `count` GPUs: of those that this process may use, where somebody has said which."""
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return visible or [str(gpu) for gpu in range(count)]


# --- end block ---


# --- block: persist_bucket 1 (jobshelf) ---
BUCKET_RACES = 20  # of those that write, and clear away, the same file in one folder
_BUCKET_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # a file being written, or left by a run killed just then
_BUCKET_URI = re.compile(r"hf://buckets/([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:/(.*?))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketPlace:
    """Where files go: under `prefix` of the bucket `bucket_id`, or in the mounted `folder`; one of the two is set."""

    bucket_id: str | None
    prefix: str
    folder: Path | None

    def __str__(self) -> str:
        return str(self.folder) if self.folder else f"hf://buckets/{self.bucket_id}/{self.prefix}".rstrip("/")


def parse_bucket(given: str) -> BucketPlace:
    """Return the place that `given` names; stop with 2 when it is neither hf://buckets/user/name nor an absolute path."""
    if Path(given).is_absolute():
        return BucketPlace(bucket_id=None, prefix="", folder=Path(given))
    match = _BUCKET_URI.fullmatch(given)
    prefix = (match[2] or "") if match else ""
    if match is None or any(part in {"", ".", ".."} for part in prefix.split("/") if prefix):
        message = f"{given!r} is neither a bucket nor the absolute path of a mounted one"
        raise Stop(EXIT_USAGE, message, fix="write hf://buckets/user/name/folder, or /data/folder with `-v` on the Job")
    return BucketPlace(bucket_id=match[1], prefix=prefix, folder=None)


def open_bucket(place: BucketPlace, *, dry_run: bool) -> str | None:
    """Return the token that writes to `place` (None for a mount), after checking that it can be written to.

    Creates a bucket that does not exist yet, private; a dry run creates nothing. Stops with 3 or 5.
    """
    if place.folder is not None:
        _bucket_mount_is_writable(place.folder, dry_run=dry_run)
        return None
    token = require_write(str(place.bucket_id))
    if not dry_run:
        create_bucket_once(place, token)
    return token


def create_bucket_once(place: BucketPlace, token: str) -> None:
    """Create the bucket, private, unless it is there; stop with 3 when the Hub does not let this token."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        retry(
            lambda: api.create_bucket(str(place.bucket_id), private=True, exist_ok=True),
            what=f"creating the bucket {place.bucket_id}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 402, 403, 404}:
            raise
        message = f"the Hub does not let this token create the bucket {place.bucket_id}: {one_line(error)}"
        raise Stop(EXIT_TOKEN, message, fix=f"use a token with write access to it; {token_advice()}") from error


def list_bucket(place: BucketPlace, token: str | None) -> dict[str, int]:
    """Return the files at `place`: name relative to it -> size in bytes.

    A folder or bucket that does not exist, or that this token may not see, holds none. What others are writing, or were
    when they were killed, is not there yet.
    """
    if place.folder is not None:
        return _bucket_files(place.folder)
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    start = f"{place.prefix}/" if place.prefix else ""
    api = HfApi(token=token)
    try:
        items = retry(
            lambda: list(api.list_bucket_tree(str(place.bucket_id), prefix=start or None, recursive=True)),
            what=f"listing {place}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403, 404}:
            raise
        return {}
    return {item.path.removeprefix(start): item.size for item in items if item.type == "file"}


def put_in_bucket(place: BucketPlace, files: Mapping[str, Path], token: str | None) -> None:
    """Store `files` (name relative to `place` -> local file). Errors of the Hub and the disk pass through."""
    if place.folder is not None:
        for name, path in files.items():
            _bucket_copy(path, place.folder / name)
        return
    from huggingface_hub import HfApi

    start = f"{place.prefix}/" if place.prefix else ""
    add = [(str(path), f"{start}{name}") for name, path in files.items()]
    api = HfApi(token=token)
    retry(lambda: api.batch_bucket_files(str(place.bucket_id), add=add), what=f"writing to {place}")


def fetch_from_bucket(place: BucketPlace, wanted: Mapping[str, Path], token: str | None) -> None:
    """Copy files of `place` (name -> local path) to this machine. Raises FileNotFoundError where one is missing."""
    for path in wanted.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    if place.folder is not None:
        for name, path in wanted.items():
            shutil.copyfile(place.folder / name, path)
        return
    from huggingface_hub import HfApi
    from huggingface_hub.errors import EntryNotFoundError

    start = f"{place.prefix}/" if place.prefix else ""
    pairs = [(f"{start}{name}", str(path)) for name, path in wanted.items()]
    api = HfApi(token=token)
    try:
        retry(
            lambda: api.download_bucket_files(str(place.bucket_id), pairs, raise_on_missing_files=True),
            what=f"reading {place}",
        )
    except EntryNotFoundError as error:
        raise FileNotFoundError(one_line(error)) from error


def persist_in_bucket(place: BucketPlace, files: Mapping[str, Path], token: str | None) -> str:
    """Store `files`, list them again, and return where they are; stop with 6 where that cannot be had."""
    try:
        put_in_bucket(place, files, token)
        there = list_bucket(place, token)
    except (Stop, OSError, RuntimeError) as error:
        raise _bucket_not_persisted(place, files, error.message if isinstance(error, Stop) else error) from error
    wrong = [name for name, path in files.items() if there.get(name) != path.stat().st_size]
    if wrong:
        raise _bucket_not_persisted(place, files, f"{', '.join(wrong[:3])} did not arrive whole")
    return str(place)


def _bucket_mount_is_writable(folder: Path, *, dry_run: bool) -> None:
    nearest = next(parent for parent in (folder, *folder.parents) if parent.exists())
    # A folder at the root of the machine that nothing is mounted at is lost when the Job ends.
    if nearest == Path(folder.anchor) or not nearest.is_dir():
        message = f"nothing is mounted at {folder}"
        raise Stop(EXIT_ENVIRONMENT, message, fix="start the Job with `-v hf://buckets/user/name:/data`")
    try:
        if dry_run:
            writable = os.access(nearest, os.W_OK)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                writable = True
    except OSError:
        writable = False
    if not writable:
        raise Stop(EXIT_ENVIRONMENT, f"{folder} cannot be written to", fix="mount the bucket without `:ro`")


def _bucket_files(folder: Path) -> dict[str, int]:
    # not rglob, which fails when another run clears a folder away at this moment
    found = {}
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names if not _BUCKET_PART.fullmatch(name)):
            with contextlib.suppress(FileNotFoundError):
                if path.is_file():
                    found[path.relative_to(folder).as_posix()] = path.stat().st_size
    return dict(sorted(found.items()))


def half_written(path: Path) -> list[Path]:
    """Return what is beside `path` of attempts to write it that were killed, or are going on."""
    beside: list[Path] = []
    with contextlib.suppress(FileNotFoundError):
        beside = list(path.parent.iterdir())
    return [one for one in beside if one.name.startswith(f".{path.name}.") and _BUCKET_PART.fullmatch(one.name)]


def _bucket_copy(source: Path, destination: Path) -> None:
    # once, not at each race: two that write the same file would take away each other's for ever
    for path in half_written(destination):
        path.unlink(missing_ok=True)
    for race in range(1, BUCKET_RACES + 1):
        try:
            _bucket_copy_once(source, destination)
        except FileNotFoundError:  # another writer took ours for a leftover, or cleared the folder away
            if race == BUCKET_RACES or not source.exists():
                raise
        else:
            return


def _bucket_copy_once(source: Path, destination: Path) -> None:
    destination.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=destination.parent, prefix=f".{destination.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as target, source.open("rb") as data:
            shutil.copyfileobj(data, target)
            target.flush()
            os.fsync(target.fileno())
        Path(temporary).replace(destination)
    finally:
        Path(temporary).unlink(missing_ok=True)


def _bucket_not_persisted(place: BucketPlace, files: Mapping[str, Path], reason: object) -> Stop:
    copy = ["cp"] if place.folder else ["hf", "cp"]
    commands = [shlex.join([*copy, str(path.absolute()), f"{place}/{name}"]) for name, path in files.items()]
    folders = ", ".join(sorted({str(path.parent.absolute()) for path in files.values()}))
    message = f"the result is not in {place} ({one_line(reason)}); it is in {folders}"
    return Stop(EXIT_NOT_PERSISTED, message, fix=" && ".join(commands))


# --- end block ---


# --- block: persist_file 1 (jobshelf) ---
PERSIST_MANIFEST = "jobshelf.json"
PERSIST_ATTEMPTS = 5
PERSIST_RACES = 20  # of runs that write the same result to one folder
PERSIST_NOT_FOREIGN = frozenset({".gitattributes", "README.md", "LICENSE"})
PERSIST_PART = re.compile(r"\..+\.[a-z0-9_]{8}\.part")  # a file being written, or left by a run killed just then
_TARGET_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where results go: the Hub dataset `repo_id`, or `folder`; exactly one of the two is set."""

    repo_id: str | None
    folder: Path | None

    def __str__(self) -> str:
        return self.repo_id or str(self.folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the target holds at `head` (None: nothing yet): its file names, its manifest, its card."""

    head: str | None
    private: bool
    names: tuple[str, ...]
    manifest: Mapping[str, Any]
    card: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What identifies a result: the script, the arguments that change it, and the source it was computed from."""

    script: str
    request: Mapping[str, Any]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Persisted:
    """Where the result is. `commit` is None for a folder."""

    where: str
    commit: str | None


def parse_target(given: str) -> Target:
    """Return the target that `given` names; stop with 2 when it is neither `user/name` nor a path such as `./out`."""
    if given.startswith(("./", "../", "~")) or given in {".", ".."} or Path(given).is_absolute():
        return Target(repo_id=None, folder=Path(given).expanduser())
    if not _TARGET_ID.fullmatch(given) or ".." in given or "--" in given or given.endswith((".git", ".", "-")):
        fix = f"write user/{Path(given).name or 'name'} for a Hub dataset or ./{Path(given).name} for a local folder"
        raise Stop(EXIT_USAGE, f"the output {given!r} is neither a Hub dataset nor a path", fix=fix)
    if given != given.lower():
        note(f"{given} has upper case letters; names on the Hub are case-sensitive")
    return Target(repo_id=given, folder=None)


def look_at(target: Target, *, token: str | None, private: bool, public: bool) -> Held:
    """Return what `target` holds now; nothing is created. `token` may write to it.

    `private` is whether the result must not be public; `public` is the user's word that it may be all the same. Stops
    with 2 when a private result would go to a repository that is public.
    """
    if target.folder is not None:
        return _held_in_folder(target.folder)
    held = _held_on_hub(str(target.repo_id), str(token))
    hidden = private and not public
    if held is not None and hidden and not held.private:
        message = f"{target} is public, but this result is private (private source or --private)"
        raise Stop(EXIT_USAGE, message, fix="add --public to publish it, or name another output")
    return held or Held(head=None, private=hidden, names=(), manifest={}, card=None)


def create_target(target: Target, held: Held, token: str | None) -> None:
    """Create the Hub dataset when there is none yet, so that a refusal comes before the work."""
    if target.repo_id is not None and held.head is None:
        _create(target.repo_id, private=held.private, token=str(token))


def target_token(target: Target) -> str | None:
    """Return a token that may write to a Hub target, None for a folder; stop with 3 when there is none."""
    return require_write(target.repo_id) if target.repo_id else None


def already_there(target: Target, held: Held, run: Run, token: str | None) -> bool:
    """Return whether `target` holds the intact result of exactly this run."""
    if not _same(held.manifest, run) or held.manifest.get("source") != run.source:
        return False
    digests = held.manifest.get("files")
    return isinstance(digests, dict) and _digests(target, held.head, digests, token) == digests


def refuse_foreign(target: Target, held: Held, run: Run, *, overwrite: bool) -> None:
    """Stop with 4 when `target` holds files of somebody else, or the result of another request."""
    if overwrite or _same(held.manifest, run):
        return
    if held.manifest.get("script") == run.script:
        theirs, ours = dict(held.manifest.get("request") or {}), dict(run.request)
        changed = sorted(key for key in theirs.keys() | ours.keys() if theirs.get(key) != ours.get(key))
        message = f"{target} holds the result of another request (different: {', '.join(changed)})"
    else:
        foreign = [name for name in held.names if name not in PERSIST_NOT_FOREIGN]
        if not foreign:
            return
        message = f"{target} holds {len(foreign)} files that this script did not write ({', '.join(foreign[:3])})"
    raise Stop(EXIT_INPUT, message, fix="name another output, or add --overwrite to write beside and over them")


def persist_files(
    target: Target,
    files: Mapping[str, bytes],
    *,
    run: Run,
    overwrite: bool,
    make_card: Callable[[str | None], str],
    token: str | None,
) -> Persisted:
    """Write `files`, the manifest and the card to `target` and read them back.

    `make_card` gets the card that is there now (None: none) and returns the new one. On the Hub all of it is one
    commit on the head that was looked at; when somebody else commits in between, the target is looked at again.
    """
    if target.folder is not None:
        return _persist_in_folder(target.folder, files, run, make_card)
    try:
        return _persist_on_hub(target, files, run, overwrite, make_card, str(token))
    except Stop as stop:
        _save_and_stop(target, files, run, make_card, stop)
    except Exception as error:
        if not isinstance(error, OSError | RuntimeError) and http_status(error) is None:
            raise
        _save_and_stop(target, files, run, make_card, error)


def _same(manifest: Mapping[str, Any], run: Run) -> bool:
    return manifest.get("script") == run.script and manifest.get("request") == dict(run.request)


def _manifest(run: Run, files: Mapping[str, bytes]) -> bytes:
    content = {
        "script": run.script,
        "request": dict(run.request),
        "source": run.source,
        "files": _sha256s(files),
    }
    return (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()


def _parsed_manifest(text: bytes | None) -> Mapping[str, Any]:
    try:
        content = json.loads(text or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _held_in_folder(folder: Path) -> Held:
    if folder.exists() and not folder.is_dir():
        raise Stop(EXIT_USAGE, f"the output {folder} is a file", fix="name a folder, e.g. ./out")
    # not rglob, which fails when another run clears a folder away at this moment
    paths = (Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    files = (path for path in paths if path.is_file() and not PERSIST_PART.fullmatch(path.name))
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    manifest, card = folder / PERSIST_MANIFEST, folder / "README.md"
    return Held(
        head=None,
        private=True,
        names=tuple(names),
        manifest=_parsed_manifest(manifest.read_bytes() if manifest.is_file() else None),
        card=card.read_text(encoding="utf-8") if card.is_file() else None,
    )


def _persist_in_folder(
    folder: Path, files: Mapping[str, bytes], run: Run, make_card: Callable[[str | None], str]
) -> Persisted:
    held = _held_in_folder(folder)
    for name in _stale(held, files):
        (folder / name).unlink(missing_ok=True)
    # The manifest goes before the data: a run that is killed has left only files that the next one knows as its own,
    # and that it believes only when every digest agrees. The card goes first, as no digest covers it.
    content = {"README.md": make_card(held.card).encode(), PERSIST_MANIFEST: _manifest(run, files), **files}
    for name, data in content.items():
        _write_atomically(folder / name, data)
    _remove_parts(folder, content)
    wrong = [name for name, data in content.items() if (folder / name).read_bytes() != data]
    if wrong:
        raise Stop(EXIT_NOT_PERSISTED, f"{folder}: {', '.join(wrong)} changed while written", fix="run it again")
    return Persisted(where=str(folder), commit=None)


def _write_atomically(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for race in range(1, PERSIST_RACES + 1):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            Path(temporary).chmod(0o644)
            Path(temporary).replace(path)
        except FileNotFoundError:  # the same command at the same moment took ours for a leftover
            if race == PERSIST_RACES:
                raise
        else:
            return
        finally:
            Path(temporary).unlink(missing_ok=True)


def _remove_parts(folder: Path, names: Iterable[str]) -> None:
    for parent in {(folder / name).parent for name in names}:
        for path in parent.iterdir():
            if PERSIST_PART.fullmatch(path.name):
                path.unlink(missing_ok=True)


def _stale(held: Held, files: Mapping[str, bytes]) -> list[str]:
    """Return the files that an earlier run of the same kind listed, that are still there and no longer made."""
    listed = held.manifest.get("files")
    return sorted(set(held.names) & set(listed) - set(files)) if isinstance(listed, dict) else []


def _held_on_hub(repo_id: str, token: str) -> Held | None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(token=token)
    try:
        info = retry(lambda: api.dataset_info(repo_id), what=f"looking at {repo_id}")
    except RepositoryNotFoundError:
        return None
    names = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
    wanted = [name for name in (PERSIST_MANIFEST, "README.md") if name in names]
    found = _read_from_hub(repo_id, str(info.sha), wanted, token)
    card = found.get("README.md")
    return Held(
        head=info.sha,
        private=bool(info.private),
        names=names,
        manifest=_parsed_manifest(found.get(PERSIST_MANIFEST)),
        card=card.decode("utf-8", "replace") if card is not None else None,
    )


def _read_from_hub(repo_id: str, commit: str, names: Iterable[str], token: str) -> dict[str, bytes]:
    from huggingface_hub import hf_hub_download

    found = {}
    with tempfile.TemporaryDirectory() as folder:  # not the cache: what is compared must come from the Hub

        def read(name: str) -> bytes:
            path = hf_hub_download(
                repo_id, name, repo_type="dataset", revision=commit, local_dir=folder, token=token, force_download=True
            )
            return Path(path).read_bytes()

        for name in names:
            found[name] = retry(lambda name=name: read(name), what=f"reading {name} of {repo_id}")
    return found


def _digests(target: Target, head: str | None, names: Iterable[str], token: str | None) -> dict[str, str] | None:
    """Return the sha256 of each of `names` in the target, None when one of them is missing."""
    from huggingface_hub.errors import EntryNotFoundError

    try:
        if target.folder is not None:
            found = {name: (target.folder / name).read_bytes() for name in names}
        else:
            found = _read_from_hub(str(target.repo_id), str(head), names, str(token))
    except (FileNotFoundError, EntryNotFoundError):
        return None
    return _sha256s(found)


def _create(repo_id: str, *, private: bool, token: str) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        retry(
            lambda: api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True),
            what=f"creating {repo_id}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403, 404}:
            raise
        message = f"the Hub does not let this token create {repo_id}: {one_line(error.server_message or error)}"
        raise Stop(EXIT_TOKEN, message, fix=f"use a token with write access to it; {token_advice()}") from error


def _persist_on_hub(
    target: Target,
    files: Mapping[str, bytes],
    run: Run,
    overwrite: bool,
    make_card: Callable[[str | None], str],
    token: str,
) -> Persisted:
    repo_id = str(target.repo_id)
    for _ in range(PERSIST_ATTEMPTS):
        held = _held_on_hub(repo_id, token)
        if held is None:
            raise Stop(EXIT_INPUT, f"{repo_id} was deleted during the run", fix="run the same command again")
        refuse_foreign(target, held, run, overwrite=overwrite)
        content = {**files, "README.md": make_card(held.card).encode(), PERSIST_MANIFEST: _manifest(run, files)}
        commit = _commit_on(repo_id, held, content, run, token)
        if commit is not None:
            return _verified(target, commit, content, token)
        note(f"{repo_id} changed while this was written: looking at it again")
    message = f"{repo_id} changed {PERSIST_ATTEMPTS} times while this was written"
    raise Stop(EXIT_NOT_PERSISTED, message, fix="run the same command again when nobody else writes to it")


def _verified(target: Target, commit: str, content: Mapping[str, bytes], token: str) -> Persisted:
    if _digests(target, commit, content, token) != _sha256s(content):
        raise Stop(EXIT_NOT_PERSISTED, f"{target} at {commit} does not hold what was sent", fix="run it again")
    return Persisted(where=str(target), commit=commit)


def _commit_on(repo_id: str, held: Held, content: Mapping[str, bytes], run: Run, token: str) -> str | None:
    """Commit `content` on the head that was looked at; None when the head has moved since."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # a few small files: a bar would only fill the Job's log

    def commit() -> str:
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in content.items()]
        operations += [CommitOperationDelete(path_in_repo=name) for name in _stale(held, content)]
        message = f"Results of {run.script}"
        api = HfApi(token=token)
        done = api.create_commit(
            repo_id, operations, repo_type="dataset", commit_message=message, parent_commit=held.head
        )
        return str(done.oid)

    try:
        return retry(commit, what=f"writing to {repo_id}")
    except HfHubHTTPError as error:
        if http_status(error) not in {409, 412}:
            raise
        return None


def _sha256s(files: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


def _save_and_stop(
    target: Target,
    files: Mapping[str, bytes],
    run: Run,
    make_card: Callable[[str | None], str],
    reason: Exception,
) -> NoReturn:
    folder = Path(f"{str(target.repo_id).replace('/', '--')}-not-pushed").absolute()
    _persist_in_folder(folder, files, run, make_card)
    command = shlex.join(["hf", "upload", str(target.repo_id), str(folder), ".", "--repo-type", "dataset"])
    why = reason.message if isinstance(reason, Stop) else reason
    message = f"the result is not on the Hub ({one_line(why)}); it is saved in {folder}"
    raise Stop(EXIT_NOT_PERSISTED, message, fix=command) from reason


# --- end block ---


# --- block: persist_dataset 1 (jobshelf) ---
DATASET_COMMITS_PER_HOUR = 128  # the Hub's assumed limit for one repository, over all shards
DATASET_COMMIT_EVERY_S = 300.0
DATASET_RESERVED_COMMITS = 4  # of each shard: manifest, last parts, collected parts, card
DATASET_RACES = 7
DATASET_BUCKET_SHARDS = 8  # above this many shards, parts go to the run's bucket and one commit collects them
DATASET_RETRY_EVERY_S = 30.0
DATASET_MARGIN_S = 120.0
DATASET_JOB_TIMEOUT_S = 1800.0  # what a Job gets that asks for none
DATASET_STATS = "stats"
DATASET_DERIVED = "stats/derived.json"  # the files made from the parts, and the parts that they were made from
DATASET_ERROR_COLUMN = "error"
DATASET_FINISH_COLUMN = "finish_reason"
DatasetDerive = Callable[[Iterator["pa.Table"]], Mapping[str, bytes]]
_DATASET_FAILURES = (Stop, OSError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetTotals:
    """What a complete run holds: parts, rows, and those of the rows that keep an error."""

    parts: int
    rows: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetResult:
    """Where the rows are. `totals` is None while other shards are still at work.

    `derived` is the number of rows of each file that was made from the parts.
    """

    where: str
    totals: DatasetTotals | None
    derived: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReceipt:
    """What was written as one part: rows, rows with an error, bytes, sha256 of the file."""

    rows: int
    failed: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatasetEntry:
    """A file as a store lists it; only repositories tell the sha256."""

    size: int
    sha256: str | None

    def fits(self, receipt: PartReceipt) -> bool:
        return self.size == receipt.size and self.sha256 in {None, receipt.sha256}


def failed_row(row: Mapping[str, Any], error: object, *, outputs: Iterable[str]) -> dict[str, Any]:
    """Return `row` as it is kept when it could not be done: `outputs` are None, `error` and `finish_reason` say why."""
    blank = dict.fromkeys(outputs)
    return {**row, **blank, DATASET_ERROR_COLUMN: one_line(error), DATASET_FINISH_COLUMN: "error"}


def parse_commit_every(given: str) -> float:
    """Return the seconds that `--commit-every` names, 0 for a commit a part; stop with 2 for anything else."""
    seconds = float(given) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", given) else -1.0
    if not 0 <= seconds <= 86400:
        message = f"--commit-every {given!r} is no number of seconds from 0 to 86400"
        raise Stop(EXIT_USAGE, message, fix=f"write --commit-every {DATASET_COMMIT_EVERY_S:g}, or 0 for each part")
    return seconds


def open_dataset(
    target: Target,
    held: Held,
    manifest: RunManifest,
    *,
    schema: pa.Schema,
    token: str | None,
    shard: Shard | None = None,
    overwrite: bool = False,
    commit_every: float = DATASET_COMMIT_EVERY_S,
) -> DatasetRun:
    """Begin the run `manifest` on `target`, or go on with it; `held` is what `look_at` found there.

    The result's `manifest` is the one to go by: its source and part size are those of the first attempt. Every part
    has the columns of `schema`. On a Job, JOBSHELF_VOLUME names a mounted folder to fall back on, JOBSHELF_TIMEOUT the
    Job's timeout. Stops with 4 when the target holds another request's result or somebody else's files.
    """
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # a bar for each commit would fill the Job's log
    shard = shard or Shard(index=1, count=1)
    if target.folder is not None:
        adopted = _dataset_begin_in_folder(target, held, manifest, overwrite=overwrite)
        home = _DatasetPlace(
            place=BucketPlace(bucket_id=None, prefix="", folder=target.folder), token=None, role="output"
        )
        return DatasetRun(adopted, schema, shard, home=home, desk=home, sides=(), commit_every=0)
    adopted = _dataset_begin_on_hub(target, held, manifest, str(token), overwrite=overwrite)
    repo = _DatasetRepo(repo_id=str(target.repo_id), token=str(token))
    sides = _dataset_sides(repo, adopted)
    # Writers of one repository share its commits; where there are too many, only the one that collects commits.
    desk = sides[-1] if shard.count > DATASET_BUCKET_SHARDS else repo
    if desk is not repo:
        sides[-1].prepare()
    return DatasetRun(adopted, schema, shard, home=repo, desk=desk, sides=sides, commit_every=commit_every)


class DatasetRun:
    """One shard's work on one output. Use it as a context manager: leaving it, however, commits what is finished."""

    def __init__(
        self,
        manifest: RunManifest,
        schema: pa.Schema,
        shard: Shard,
        *,
        home: _DatasetRepo | _DatasetPlace,
        desk: _DatasetRepo | _DatasetPlace,
        sides: Sequence[_DatasetPlace],
        commit_every: float,
    ) -> None:
        self.manifest = manifest
        self.finished: frozenset[int] = frozenset()
        self._schema, self._shard = schema, shard
        self._home, self._desk, self._sides = home, desk, sides
        self._commit_every = commit_every
        self._stats = _dataset_stats_name(shard)
        self._receipts: dict[int, PartReceipt] = {}
        self._pending: dict[str, Path] = {}
        self._commits: deque[float] = deque()
        self._markers: set[bytes] = set()
        self._keep_spool = False
        self._lock, self._committing = threading.Lock(), threading.Lock()
        self._closing = threading.Event()
        self._committer = threading.Thread(target=self._commit_now_and_then, name="committer", daemon=True)
        self._deadline = time.monotonic() + _dataset_job_timeout() - DATASET_MARGIN_S

    def __enter__(self) -> DatasetRun:
        self._spool = Path(tempfile.mkdtemp(prefix="parts-"))
        try:
            self._take_stock()
        except BaseException:
            shutil.rmtree(self._spool, ignore_errors=True)
            raise
        if self._commit_every > 0:
            self._committer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _dataset_no_second_sigterm():
            self._stop_committer()
            self._commit_or_rescue(patient=error is None)
            if not self._keep_spool:
                shutil.rmtree(self._spool, ignore_errors=True)

    def wanted(self, index: int) -> bool:
        """Whether part `index` is this shard's and was not finished when the run was opened."""
        return self._shard.holds(index) and index not in self.finished

    def add(self, part: Part, rows: pa.Table | Sequence[Mapping[str, Any]]) -> None:
        """Take the finished rows of `part`; they are on this machine's disk when this returns, and committed later.

        With `commit_every` 0 they are committed when this returns. Stops with 4 when they do not fit the schema.
        """
        path = self._spool / self.manifest.path(part.index)
        receipt = _dataset_write_part(path, rows, self._schema)
        with self._lock:
            self._receipts[part.index] = receipt
            self._pending[self.manifest.path(part.index)] = path
        if self._commit_every == 0:
            self._commit_if_allowed()

    def finish(
        self,
        total: int,
        make_card: Callable[[str | None, DatasetTotals], str],
        *,
        derive: DatasetDerive | None = None,
    ) -> DatasetResult:
        """Commit the rest, leave this shard's marker, and complete the run where no other shard has work left.

        `total` is the number of parts of the whole run. `make_card` gets the card that is there now (None: none) and
        what the run holds, and returns the new one. `derive` gets the tables of all parts, in their order and one at a
        time, and returns further files (path -> content), which go into one commit with the card; it is not called
        where what it made of these parts is there. Stops with 6 when the result is not, or not provably, there.
        """
        if total == 0 and self.wanted(0):  # no rows at all still make a dataset, which has columns and loads
            self.add(Part(index=0, start=0, stop=0), [])
        total = max(total, 1)
        self._stop_committer()
        marker = shard_marker(self._shard, parts_in_all=total)
        if marker not in self._markers:
            path = self._spool / "marker"
            path.write_bytes(marker)
            with self._lock:
                self._pending[self._shard.marker] = path
        self._commit_or_rescue(patient=True)
        try:
            return self._complete(total, make_card, derive)
        except _DATASET_FAILURES as error:
            if isinstance(error, Stop) and error.code == EXIT_INPUT:
                raise
            message = f"the rows are in {self._desk}, but the run could not be completed ({_dataset_reason(error)})"
            raise Stop(
                EXIT_NOT_PERSISTED, message, fix="run the same command again: it does what is missing"
            ) from error

    def _take_stock(self) -> None:
        """Find the parts that are finished: in the output, or where an earlier attempt had to put them."""
        for store in (self._home, *self._sides):
            listed = store.listing()
            known = _dataset_receipts(store, [self._stats] if self._stats in listed else [], self._spool)
            markers = [self._shard.marker] if self._shard.marker in listed else []
            self._markers.update(_dataset_read(store, markers, self._spool).values())
            there = _dataset_parts(self.manifest, listed)
            whole = {index for index, path in there.items() if index not in known or listed[path].fits(known[index])}
            self._receipts.update({index: known[index] for index in whole & known.keys()})
            self.finished |= whole

    def _commit_now_and_then(self) -> None:
        while not self._closing.wait(self._commit_every):
            self._commit_if_allowed()

    def _commit_if_allowed(self) -> None:
        """Commit what is finished, within this shard's share of commits; what fails is kept for the next time."""
        now = time.monotonic()
        while self._commits and now - self._commits[0] > 3600:
            self._commits.popleft()
        share = DATASET_COMMITS_PER_HOUR // min(self._shard.count, DATASET_BUCKET_SHARDS) - DATASET_RESERVED_COMMITS
        if isinstance(self._desk, _DatasetRepo) and len(self._commits) >= share:
            return
        try:
            self._commit_pending()
        except _DATASET_FAILURES as error:
            note(
                f"{len(self._pending)} files are not in {self._desk} yet ({_dataset_reason(error)}); trying again later"
            )

    def _commit_pending(self) -> None:
        with self._committing:
            with self._lock:
                batch, receipts = dict(self._pending), dict(self._receipts)
            if not batch:
                return
            self._commits.append(time.monotonic())
            self._desk.put(self._with_stats(batch, receipts), self._title(batch))
            with self._lock:
                for path, file in batch.items():
                    del self._pending[path]
                    file.unlink()

    def _with_stats(self, batch: Mapping[str, Path], receipts: Mapping[int, PartReceipt]) -> dict[str, Path]:
        # Into a folder they go one by one: a receipt without its part is no harm, a part without its receipt is read.
        return {self._stats: self._stats_file(receipts), **batch}

    def _stats_file(self, receipts: Mapping[int, PartReceipt]) -> Path:
        path = self._spool / "stats.json"
        content = {str(index): asdict(receipt) for index, receipt in sorted(receipts.items())}
        path.write_text(json.dumps({"parts": content}, sort_keys=True) + "\n", encoding="utf-8")
        return path

    def _title(self, batch: Mapping[str, Path]) -> str:
        indexes = _dataset_parts(self.manifest, batch)
        what = f"parts {min(indexes)} to {max(indexes)}" if indexes else "done"
        return f"{self.manifest.script}: {what} (shard {self._shard})"

    def _stop_committer(self) -> None:
        self._closing.set()
        if self._committer.is_alive():
            self._committer.join()

    def _commit_or_rescue(self, *, patient: bool) -> None:
        """Commit what is left; where that fails, put it where it outlives this process and stop with 6.

        On a Job the places are the volume, the run's bucket and, when there is time (`patient`), the output again.
        """
        try:
            self._commit_pending()
        except _DATASET_FAILURES as error:
            reason = _dataset_reason(error)
        else:
            return
        if os.environ.get("JOB_ID"):
            self._save_and_stop(("volume", "bucket"), reason)
            if patient and self._committed_before_the_deadline():
                return
        self._save_and_stop(("folder",), reason)
        self._keep_spool = True
        self._pending.clear()
        message = f"{self._desk} does not take the parts ({reason}); they are in {self._spool}"
        raise Stop(EXIT_NOT_PERSISTED, message, fix="mend the cause, then run the same command again")

    def _save_and_stop(self, roles: Sequence[str], reason: str) -> None:
        """Put what is left into the first side of these roles that takes it, and stop with 6; return if none does."""
        with self._lock:
            batch, receipts = dict(self._pending), dict(self._receipts)
        for side in self._sides:
            if side.role not in roles or side is self._desk:
                continue
            try:
                side.prepare()
                side.put({**self._with_stats(batch, receipts), **self._manifest_file()}, self._title(batch))
            except _DATASET_FAILURES as error:
                note(f"{side} does not take the parts either ({_dataset_reason(error)})")
                continue
            self._pending.clear()
            message = f"{len(batch)} files are not in {self._desk} ({reason}); they are saved in {side}"
            raise Stop(
                EXIT_NOT_PERSISTED, message, fix=f"{side.push_command(self._home)}, or run the same command again"
            )

    def _manifest_file(self) -> dict[str, Path]:
        path = self._spool / "manifest.json"
        path.write_bytes(self.manifest.to_bytes())
        return {PARTS_MANIFEST: path}

    def _committed_before_the_deadline(self) -> bool:
        while time.monotonic() + DATASET_RETRY_EVERY_S < self._deadline:
            time.sleep(DATASET_RETRY_EVERY_S)
            try:
                self._commit_pending()
            except _DATASET_FAILURES as error:
                note(f"{self._desk} does not take the parts yet ({_dataset_reason(error)})")
            else:
                return True
        return False

    def _complete(
        self, total: int, make_card: Callable[[str | None, DatasetTotals], str], derive: DatasetDerive | None
    ) -> DatasetResult:
        """Bring together what all shards did, verify it and write the card; leave that to the last shard."""
        listings = {store: store.listing() for store in (self._home, *self._sides)}
        places: dict[int, _DatasetRepo | _DatasetPlace] = {}
        for store, listed in listings.items():
            for index in _dataset_parts(self.manifest, listed):
                places.setdefault(index, store)
        _dataset_verify(self.manifest, listings[self._desk], self._own_receipts(places))
        missing = missing_parts(total, places)
        if missing:
            note(f"shard {self._shard} is done; other shards still have {len(missing)} of {total} parts to do")
            return DatasetResult(where=str(self._home), totals=None)
        receipts = self._all_receipts(total, listings, places)
        if isinstance(self._home, _DatasetRepo) and any(store is not self._home for store in places.values()):
            self._collect(self._home, total, places, receipts)
        _dataset_verify(self.manifest, self._home.listing(), receipts)
        totals = DatasetTotals(
            parts=total,
            rows=sum(receipt.rows for receipt in receipts.values()),
            failed=sum(receipt.failed for receipt in receipts.values()),
        )
        if derive is None:
            self._home.put_card(lambda card: make_card(card, totals), {}, self._spool)
            return DatasetResult(where=str(self._home), totals=totals)
        derived = self._derived(receipts, derive, lambda card: make_card(card, totals))
        rows = {name: receipt.rows for name, receipt in derived.items()}
        return DatasetResult(where=str(self._home), totals=totals, derived=rows)

    def _derived(
        self, receipts: Mapping[int, PartReceipt], derive: DatasetDerive, make_card: Callable[[str | None], str]
    ) -> dict[str, PartReceipt]:
        """Put what `derive` makes of the parts beside them, with the card; leave it where it is there already."""
        parts = [receipt.sha256 for _, receipt in sorted(receipts.items())]
        listed = self._home.listing()
        made_of, there = _dataset_noted_derived(self._home, listed, self._spool)
        if made_of == parts and all(name in listed and listed[name].fits(there[name]) for name in there):
            return there
        folder = self._spool / "derived"
        contents = derive(self._tables(sorted(receipts)))
        made = {name: folder / name for name in sorted(contents)}
        for name, path in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[name])
        noted = {name: _dataset_receipt_of(path) for name, path in made.items()}
        stats = folder / "derived.json"
        content = {"parts": parts, "files": {name: asdict(receipt) for name, receipt in noted.items()}}
        stats.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        self._home.put_card(make_card, {**made, DATASET_DERIVED: stats}, self._spool)
        listed = self._home.listing()
        wrong = [name for name, receipt in noted.items() if name not in listed or not listed[name].fits(receipt)]
        if wrong:
            raise RuntimeError(f"{len(wrong)} files are not there as they were written: {', '.join(wrong[:3])}")
        return noted

    def _tables(self, indexes: Iterable[int]) -> Iterator[pa.Table]:
        """Yield the parts as they were written, read back from the output."""
        import pyarrow.parquet as pq

        for index in indexes:
            path = self._spool / "table.parquet"
            self._home.fetch({self.manifest.path(index): path})
            yield pq.read_table(path)
            path.unlink()

    def _own_receipts(self, places: Mapping[int, object]) -> dict[int, PartReceipt]:
        return {index: receipt for index, receipt in self._receipts.items() if places.get(index) in {self._desk, None}}

    def _all_receipts(
        self,
        total: int,
        listings: Mapping[_DatasetRepo | _DatasetPlace, Mapping[str, _DatasetEntry]],
        places: Mapping[int, _DatasetRepo | _DatasetPlace],
    ) -> dict[int, PartReceipt]:
        """Return the receipt of every part: what its shard noted, else what the part itself says."""
        found: dict[int, PartReceipt] = {}
        markers: dict[str, bytes] = {}
        for store, listed in listings.items():
            own = (f"{DATASET_STATS}/", f"{SHARD_MARKERS}/")
            names = [name for name in listed if name.startswith(own) and name != DATASET_DERIVED]
            markers.update(
                _dataset_read(store, [name for name in names if name.startswith(SHARD_MARKERS)], self._spool)
            )
            noted = _dataset_receipts(store, [name for name in names if name.startswith(DATASET_STATS)], self._spool)
            for index, path in _dataset_parts(self.manifest, listed).items():
                if places[index] is store and index in noted and listed[path].fits(noted[index]):
                    found[index] = noted[index]
        parts_in_all(markers)
        for index in missing_parts(total, found):
            path = self._spool / "unknown.parquet"
            places[index].fetch({self.manifest.path(index): path})
            found[index] = _dataset_receipt_of(path)
            path.unlink()
        return {index: found[index] for index in range(total)}

    def _collect(
        self,
        home: _DatasetRepo,
        total: int,
        places: Mapping[int, _DatasetRepo | _DatasetPlace],
        receipts: Mapping[int, PartReceipt],
    ) -> None:
        """Bring the parts that lie elsewhere into the repository in one commit, one part at a time on this disk."""

        def fetched() -> Iterator[tuple[str, Path]]:
            for index in range(total):
                if places[index] is not home:
                    name = self.manifest.path(index)
                    places[index].fetch({name: self._spool / name})
                    yield name, self._spool / name

        whole = Shard(index=1, count=1)  # the same files whoever collects: two at once make one commit
        marker = self._spool / "marker"
        marker.write_bytes(shard_marker(whole, parts_in_all=total))
        small = {whole.marker: marker, _dataset_stats_name(whole): self._stats_file(receipts)}
        home.put_one_by_one(fetched(), small, f"{self.manifest.script}: {total} parts collected")


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatasetRepo:
    """A dataset repository as a store of parts. Commits have no parent, so that shards do not stop each other."""

    repo_id: str
    token: str

    def __str__(self) -> str:
        return self.repo_id

    def listing(self) -> dict[str, _DatasetEntry]:
        from huggingface_hub import HfApi

        api = HfApi(token=self.token)
        items = retry(
            lambda: list(api.list_repo_tree(self.repo_id, recursive=True, repo_type="dataset")),
            what=f"listing {self.repo_id}",
        )
        files = ((item, getattr(item, "lfs", None)) for item in items if hasattr(item, "size"))
        return {
            item.path: _DatasetEntry(size=item.size, sha256=str(lfs.sha256) if lfs else None) for item, lfs in files
        }

    def put(self, files: Mapping[str, Path], title: str) -> None:
        from huggingface_hub import CommitOperationAdd

        _dataset_commit(
            self,
            lambda: [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()],
            title,
        )

    def put_one_by_one(self, large: Iterable[tuple[str, Path]], small: Mapping[str, Path], title: str) -> None:
        """Put files in one commit; a large one is sent ahead as it comes, and removed from this disk."""
        from huggingface_hub import CommitOperationAdd, HfApi

        api, operations = HfApi(token=self.token), []
        for name, path in large:
            addition = CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
            retry(
                lambda addition=addition: api.preupload_lfs_files(self.repo_id, [addition], repo_type="dataset"),
                what=f"sending {name} to {self.repo_id}",
            )
            operations.append(addition)
            if addition.path_or_fileobj == b"":
                path.unlink()
        operations += [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in small.items()]
        _dataset_commit(self, lambda: operations, title)

    def fetch(self, wanted: Mapping[str, Path]) -> None:
        from huggingface_hub import hf_hub_download

        def read(name: str, folder: str) -> str:
            return hf_hub_download(
                self.repo_id, name, repo_type="dataset", local_dir=folder, token=self.token, force_download=True
            )

        for name, path in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                file = retry(lambda name=name, folder=folder: read(name, folder), what=f"reading {name}")
                Path(file).replace(path)

    def put_card(self, make_card: Callable[[str | None], str], files: Mapping[str, Path], spool: Path) -> None:
        """Write the card and `files` on the head that was looked at; look again when that has moved."""
        from huggingface_hub import CommitOperationAdd

        target = Target(repo_id=self.repo_id, folder=None)
        for _ in range(DATASET_RACES):
            held = look_at(target, token=self.token, private=False, public=True)
            card = make_card(held.card)
            operations = [CommitOperationAdd(path_in_repo="README.md", path_or_fileobj=card.encode())]
            operations += [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
            if (card == held.card and not files) or _dataset_commit_on(self, held, operations, "Card"):
                return
        raise RuntimeError(f"{self.repo_id} changed {DATASET_RACES} times while its card was written")


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatasetPlace:
    """A folder or a bucket as a store of parts. `role`: output, volume, folder (saved on this machine) or bucket."""

    place: BucketPlace
    token: str | None
    role: str

    def __str__(self) -> str:
        return str(self.place)

    def listing(self) -> dict[str, _DatasetEntry]:
        there = list_bucket(self.place, self.token)
        return {name: _DatasetEntry(size=size, sha256=None) for name, size in there.items()}

    def prepare(self) -> None:
        """Create the bucket where there is none."""
        if self.place.bucket_id is not None:
            create_bucket_once(self.place, str(self.token))

    def put(self, files: Mapping[str, Path], title: str) -> None:
        put_in_bucket(self.place, files, self.token)
        there = list_bucket(self.place, self.token)
        wrong = [name for name, path in files.items() if there.get(name) != path.stat().st_size]
        if wrong:
            raise RuntimeError(f"{self}: {', '.join(wrong[:3])} did not arrive whole ({title})")

    def fetch(self, wanted: Mapping[str, Path]) -> None:
        fetch_from_bucket(self.place, wanted, self.token)

    def put_card(self, make_card: Callable[[str | None], str], files: Mapping[str, Path], spool: Path) -> None:
        """Write the card into the folder, then `files`: the last of them says that all of it is there."""
        there = Path(str(self.place.folder)) / "README.md"
        card = make_card(there.read_text(encoding="utf-8") if there.is_file() else None)
        path = spool / "README.md"
        path.write_text(card, encoding="utf-8")
        self.put({"README.md": path, **files}, "card")

    def push_command(self, home: object) -> str:
        """Return the shell command that brings what lies here into the repository `home`."""
        folder = str(self.place.folder or "./to-push")
        push = shlex.join(["hf", "upload", str(home), folder, ".", "--repo-type", "dataset"])
        if self.place.folder is not None:
            return push
        return f"{shlex.join(['hf', 'buckets', 'sync', str(self.place), folder])} && {push}"


def _dataset_begin_on_hub(target: Target, held: Held, ours: RunManifest, token: str, *, overwrite: bool) -> RunManifest:
    """Return the manifest in the repository after writing it where needed; of racing shards the first one's counts."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repo = _DatasetRepo(repo_id=str(target.repo_id), token=token)
    for attempt in range(DATASET_RACES):
        if attempt or held.head is None:
            held = look_at(target, token=token, private=False, public=True)
        there, adopted = _dataset_adopted(target, held, ours, repo, overwrite=overwrite)
        if adopted == there:
            return adopted
        operations = [CommitOperationAdd(path_in_repo=PARTS_MANIFEST, path_or_fileobj=adopted.to_bytes())]
        outdated = _dataset_outdated(there, held.names, repo)
        operations += [CommitOperationDelete(path_in_repo=name) for name in outdated]
        if _dataset_commit_on(repo, held, operations, f"{ours.script}: a run begins"):
            return adopted
    message = f"{target} changed {DATASET_RACES} times while the run began"
    raise Stop(EXIT_NOT_PERSISTED, message, fix="run the same command again when nobody else writes to it")


def _dataset_begin_in_folder(target: Target, held: Held, ours: RunManifest, *, overwrite: bool) -> RunManifest:
    """Return the manifest in the folder after writing it where needed; of racing shards the first one's counts."""
    folder = Path(str(target.folder))
    home = _DatasetPlace(place=BucketPlace(bucket_id=None, prefix="", folder=folder), token=None, role="output")
    for attempt in range(DATASET_RACES):
        if attempt:
            held = look_at(target, token=None, private=False, public=True)
        there, adopted = _dataset_adopted(target, held, ours, home, overwrite=overwrite)
        if adopted == there:
            for path in half_written(folder / PARTS_MANIFEST):
                path.unlink(missing_ok=True)
            return adopted
        for name in _dataset_outdated(there, held.names, home):
            (folder / name).unlink(missing_ok=True)
        _dataset_place_manifest(folder, adopted, replace=there is not None)
    raise Stop(EXIT_NOT_PERSISTED, f"{target} changed while the run began", fix="run the same command again")


def _dataset_place_manifest(folder: Path, manifest: RunManifest, *, replace: bool) -> None:
    """Write the manifest whole; unless it is to `replace` one, not over that of a sibling shard that was first."""
    folder.mkdir(parents=True, exist_ok=True)
    there = folder / PARTS_MANIFEST
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{PARTS_MANIFEST}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(manifest.to_bytes())
        # a sibling may have been first, and then taken this for a leftover
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            try:
                temporary.replace(there) if replace or there.exists() else there.hardlink_to(temporary)
            except (FileExistsError, FileNotFoundError):
                raise
            except OSError:  # a mounted bucket has no links
                temporary.replace(there)
    finally:
        temporary.unlink(missing_ok=True)


def _dataset_adopted(
    target: Target, held: Held, ours: RunManifest, store: _DatasetRepo | _DatasetPlace, *, overwrite: bool
) -> tuple[RunManifest | None, RunManifest]:
    """Return (the manifest that is there, the manifest to go by)."""
    there = parse_run_manifest(held.manifest)
    if there is None:
        run = Run(script=ours.script, request=ours.request, source=ours.source)
        refuse_foreign(target, held, run, overwrite=overwrite)
    complete = there is not None and there.source != ours.source and _dataset_is_complete(there, held.names, store)
    return there, adopt_manifest(there, ours, where=str(target), overwrite=overwrite, complete=complete)


def _dataset_is_complete(manifest: RunManifest, names: Sequence[str], store: _DatasetRepo | _DatasetPlace) -> bool:
    markers = [name for name in names if name.startswith(f"{SHARD_MARKERS}/")]
    with tempfile.TemporaryDirectory() as folder:
        total = parts_in_all(_dataset_read(store, markers[:1], Path(folder)))
    return total is not None and not missing_parts(total, _dataset_parts(manifest, names))


def _dataset_outdated(
    there: RunManifest | None, names: Sequence[str], store: _DatasetRepo | _DatasetPlace
) -> list[str]:
    """Return the files of a run that is replaced: its parts, what was made from them, stats and markers."""
    if there is None:
        return []
    own = (f"{DATASET_STATS}/", f"{SHARD_MARKERS}/")
    with tempfile.TemporaryDirectory() as folder:
        made = _dataset_noted_derived(store, names, Path(folder))[1]
    outdated = [name for name in names if name in made or name.startswith(own) or there.index(name) is not None]
    return sorted(outdated, key=lambda name: name == DATASET_DERIVED)  # last: it tells a second attempt of the others


def _dataset_sides(repo: _DatasetRepo, manifest: RunManifest) -> tuple[_DatasetPlace, ...]:
    """Return where this run's parts lie or go when they are not in `repo`; the run's bucket is the last."""
    run = hashlib.sha256(manifest.to_bytes()).hexdigest()[:8]
    name = f"{repo.repo_id.replace('/', '--')}-not-pushed-{run}"
    folders = {"folder": Path(name).absolute()}
    volume = os.environ.get("JOBSHELF_VOLUME")
    if volume:
        folders = {"volume": Path(volume) / name, **folders}
    sides = [
        _DatasetPlace(place=BucketPlace(bucket_id=None, prefix="", folder=folder), token=None, role=role)
        for role, folder in folders.items()
    ]
    bucket = BucketPlace(bucket_id=f"{repo.repo_id}-parts", prefix=run, folder=None)
    return (*sides, _DatasetPlace(place=bucket, token=repo.token, role="bucket"))


def _dataset_commit(repo: _DatasetRepo, operations: Callable[[], list[Any]], title: str) -> None:
    """Commit without a parent; a refusal because somebody else commits at this moment (409, 412) is tried again."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=repo.token)
    for race in range(1, DATASET_RACES + 1):
        try:
            retry(
                lambda: api.create_commit(repo.repo_id, operations(), commit_message=title, repo_type="dataset"),
                what=f"writing to {repo}",
            )
        except HfHubHTTPError as error:
            if http_status(error) not in {409, 412} or race == DATASET_RACES:
                raise
            time.sleep(retry_pause(error, race) * random.uniform(0.5, 1.5))  # noqa: S311 - it only spreads shards
        else:
            return


def _dataset_commit_on(repo: _DatasetRepo, held: Held, operations: list[Any], title: str) -> bool:
    """Commit on the head that was looked at; False when it has moved since."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=repo.token)
    try:
        retry(
            lambda: api.create_commit(
                repo.repo_id, operations, commit_message=title, repo_type="dataset", parent_commit=held.head
            ),
            what=f"writing to {repo}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {404, 409, 412}:
            raise
        return False
    return True


def _dataset_stats_name(shard: Shard) -> str:
    return f"{DATASET_STATS}/{shard.rank:05d}.json"


def _dataset_parts(manifest: RunManifest, names: Iterable[str]) -> dict[int, str]:
    """Return the parts among `names`: number -> path."""
    numbered = {name: manifest.index(name) for name in sorted(names)}
    return {index: name for name, index in numbered.items() if index is not None}


def _dataset_read(store: _DatasetRepo | _DatasetPlace, names: Sequence[str], spool: Path) -> dict[str, bytes]:
    """Return the content of small files of `store`."""
    with tempfile.TemporaryDirectory(dir=spool) as folder:
        wanted = {name: Path(folder) / f"{number}" for number, name in enumerate(names)}
        if wanted:
            store.fetch(wanted)
        return {name: path.read_bytes() for name, path in wanted.items()}


def _dataset_receipts(store: _DatasetRepo | _DatasetPlace, names: Sequence[str], spool: Path) -> dict[int, PartReceipt]:
    """Return the receipts in the stats files `names`; what is not a receipt counts as not noted."""
    found: dict[int, PartReceipt] = {}
    for content in _dataset_read(store, names, spool).values():
        try:
            noted = json.loads(content)["parts"]
            found.update({int(index): PartReceipt(**receipt) for index, receipt in noted.items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            note(f"a file in {DATASET_STATS}/ of {store} is damaged; the parts are read instead")
    return found


def _dataset_noted_derived(
    store: _DatasetRepo | _DatasetPlace, names: Iterable[str], spool: Path
) -> tuple[list[str], dict[str, PartReceipt]]:
    """Return (sha256 of the parts, receipts of the files made from them); none where nothing was made, or it is damaged."""
    if DATASET_DERIVED not in names:
        return [], {}
    content = _dataset_read(store, [DATASET_DERIVED], spool)[DATASET_DERIVED]
    try:
        noted = json.loads(content)
        return list(noted["parts"]), {name: PartReceipt(**receipt) for name, receipt in noted["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        note(f"{DATASET_DERIVED} of {store} is damaged; what it lists is made again")
        return [], {}


def _dataset_write_part(path: Path, rows: pa.Table | Sequence[Mapping[str, Any]], schema: pa.Schema) -> PartReceipt:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if isinstance(rows, pa.Table):
            table = rows.select(schema.names).cast(schema)
        else:
            table = pa.Table.from_pylist(list(rows), schema=schema)
    except (ValueError, TypeError, KeyError) as error:
        message = f"the rows of {path.name} do not have the columns of the output: {one_line(error)}"
        raise Stop(EXIT_INPUT, message, fix=f"expected {one_line(', '.join(schema.names))} of these types") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    return _dataset_receipt_of(path)


def _dataset_receipt_of(path: Path) -> PartReceipt:
    """Return what a part says of itself. Only the column of errors is read."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows, failed = file.metadata.num_rows, 0
        if DATASET_ERROR_COLUMN in file.schema_arrow.names:
            errors = file.read(columns=[DATASET_ERROR_COLUMN]).column(0)
            failed = rows - errors.null_count
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return PartReceipt(rows=rows, failed=failed, size=path.stat().st_size, sha256=digest)


def _dataset_verify(
    manifest: RunManifest, listed: Mapping[str, _DatasetEntry], receipts: Mapping[int, PartReceipt]
) -> None:
    """Raise RuntimeError when a part is not listed as it was written."""
    paths = {index: manifest.path(index) for index in receipts}
    wrong = [path for index, path in paths.items() if path not in listed or not listed[path].fits(receipts[index])]
    if wrong:
        raise RuntimeError(f"{len(wrong)} parts are not there as they were written: {', '.join(sorted(wrong)[:3])}")


def _dataset_reason(error: BaseException) -> str:
    return one_line(error.message if isinstance(error, Stop) else error)


def _dataset_job_timeout() -> float:
    """Return the seconds that this Job may run as JOBSHELF_TIMEOUT says (`300`, `90m`, `1.5h`, `2d`)."""
    given = os.environ.get("JOBSHELF_TIMEOUT", "")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", given)
    if match is None:
        return DATASET_JOB_TIMEOUT_S
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


@contextlib.contextmanager
def _dataset_no_second_sigterm() -> Iterator[None]:
    """Hold off SIGTERM: it often comes twice, from `uv run` and to the whole group, and the first is being obeyed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


# --- end block ---


# --- block: card 2 (jobshelf) ---
CARD_BEGIN = "<!-- jobshelf: this part is rewritten by each run -->"
CARD_END = "<!-- jobshelf: end -->"
CARD_TAGS = ("uv-script", "jobshelf")
_FRONT_MATTER = re.compile(r"\A\ufeff?---\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptStamp:
    """Which script ran: its name, the URL it is published at, its version."""

    name: str
    url: str
    version: str

    def sha256(self) -> str:
        """Return the digest of the file that runs, or why there is none (a script on stdin has no file)."""
        file = getattr(sys.modules["__main__"], "__file__", None)
        path = Path(file) if file else None
        if path is None or path.name != self.name or not path.is_file():
            return "not known (the script was not run from a file of its name)"
        return hashlib.sha256(path.read_bytes()).hexdigest()


def render_card(
    existing: str | None,
    *,
    front_matter: Mapping[str, Any],
    body: str,
) -> str:
    """Return `existing` with `body` in the part that belongs to the script, and `front_matter` merged in.

    Tags are united, `configs` are replaced by name, any other key that is already there stays as it is.
    """
    from huggingface_hub.utils import yaml_dump

    old, text = split_card(existing or "")
    merged = {**front_matter, **old}
    merged["tags"] = _united(old.get("tags"), [*CARD_TAGS, *front_matter.get("tags", ())])
    merged["configs"] = _replaced(old.get("configs"), front_matter.get("configs", ()))
    if not merged["configs"]:
        del merged["configs"]
    ours = f"{CARD_BEGIN}\n\n{body.strip()}\n\n{CARD_END}"
    before, begin, rest = text.partition(CARD_BEGIN)
    after = rest.partition(CARD_END)[2] if begin else ""
    parts = [part.strip() for part in (before, ours, after) if part.strip()]
    return f"---\n{yaml_dump(merged).strip()}\n---\n\n" + "\n\n".join(parts) + "\n"


def split_card(card: str) -> tuple[dict[str, Any], str]:
    """Return (front matter, text). Front matter that is no YAML mapping counts as text, so that nothing is lost."""
    import yaml

    match = _FRONT_MATTER.match(card)
    if match is None:
        return {}, card
    try:
        data = yaml.safe_load(match[1])
    except yaml.YAMLError:
        return {}, card
    return (data, card[match.end() :]) if isinstance(data, dict) else ({}, card)


def provenance(
    stamp: ScriptStamp, *, source: str, identity: str, arguments: Sequence[str], packages: Sequence[str]
) -> str:
    """Return the Markdown section that says what ran, on what, and how to run it again."""
    from importlib.metadata import version

    command = shlex.join(["uv", "run", stamp.url, *arguments])
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    rows = [
        ("Source", f"{md(source)} at `{md(identity)}`"),
        ("Script", f"[{md(stamp.name)}]({stamp.url}) {md(stamp.version)}"),
        ("Script sha256", md(stamp.sha256())),
        ("Versions", f"Python {sys.version.split()[0]}, {md(versions)}"),
    ]
    if os.environ.get("JOB_ID"):
        rows.append(("Ran as", "a Hugging Face Job" + _on_hardware()))
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"## Provenance\n\n| | |\n|---|---|\n{table}\n\nRun it again:\n\n{fenced(command)}"


def _on_hardware() -> str:
    accelerator = os.environ.get("ACCELERATOR")
    return f" on {md(accelerator)}" if accelerator else ""


def md(text: object) -> str:
    """Return `text` as literal Markdown for one line or one table cell."""
    from html import escape

    escaped = escape(" ".join(str(text).split()), quote=False)
    return re.sub(r"([\\`*_{}\[\]()#+!|~$])", r"\\\1", escaped)


def fenced(text: str) -> str:
    """Return `text` in a code fence that it cannot close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}sh\n{text}\n{fence}"


def md_table(rows: Sequence[Mapping[str, object]]) -> str:
    """Return `rows` as a Markdown table; the columns are those of the first row."""
    names = list(rows[0])
    lines = [names, ["---"] * len(names), *([row[name] for name in names] for row in rows)]
    return "\n".join("| " + " | ".join(c if c == "---" else md(c) for c in line) + " |" for line in lines)


def _united(old: object, new: Sequence[str]) -> list[str]:
    kept = [str(tag) for tag in old] if isinstance(old, list) else []
    return kept + [tag for tag in dict.fromkeys(new) if tag not in kept]


def _replaced(old: object, new: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    names = {config["config_name"] for config in new}
    kept = [item for item in old if isinstance(item, dict)] if isinstance(old, list) else []
    return [item for item in kept if item.get("config_name") not in names] + list(new)


# --- end block ---


# --- block: engine 1 (jobshelf) ---
ENGINES = ("vllm", "openai", "transformers")
ENGINE_API_KEY = "OPENAI_API_KEY"
ENGINE_API_ATTEMPTS = 8
ENGINE_API_TIMEOUT_S = 600.0
ENGINE_BATCH = 32  # conversations that transformers answers at a time
ENGINE_WINDOWS = 2  # times as many conversations wait in vLLM as it answers at once, so that it never runs dry
ENGINE_LONGEST_THAT_FITS = -1  # vLLM finds it: a model for long texts also runs where the memory holds short ones alone
ENGINE_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
ENGINE_OVERHEAD = 1.25  # memory for the cache and the work beside the weights, at least
_ENGINE_SEED_BITS = 31

Conversation = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineModel:
    """Which model answers and how it is loaded. `weights` is its size in bytes, `heads` its attention heads.

    `commit` pins a model of the Hub; None for a local folder and for an API. What is not known is 0.
    """

    name: str
    commit: str | None = None
    weights: int = 0
    heads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How an answer is drawn: `temperature` 0 is greedy; `count` answers each; `json_schema` binds their form."""

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 1024
    count: int = 1
    stop: tuple[str, ...] = ()
    seed: int = 0
    json_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What the engine is told beside the model. `extra` goes to it as it is; `base_url` and `concurrency` to an API."""

    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_model_len: int | None = None
    dtype: str = "auto"
    quantization: str | None = None
    lora: str | None = None
    tensor_parallel: int = 1
    memory_share: float = 0.9
    seed: int = 0
    base_url: str | None = None
    concurrency: int = 32
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A conversation to answer; `key` tells its reply from the others and, with the seed, draws its answer.

    `sampling` is how this one is answered, where it is not as the others are.
    """

    key: int
    conversation: Conversation
    sampling: Sampling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: `finish_reason` is "stop" when the model ended it and "length" when the tokens did.

    `tokens` is None where an API tells only how many all answers to a question have together.
    """

    text: str
    finish_reason: str
    tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back for the question `key`: the answers, or the `error` that took their place.

    `output_tokens` are those of all answers together.
    """

    key: int
    answers: tuple[Answer, ...] = ()
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None


class Engine(Protocol):
    """What all engines can do. `packages` are those whose versions a card should tell."""

    packages: tuple[str, ...]

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room.

        Where `questions` is a `QuestionQueue`, what is put in while replies are read is answered too.
        """
        ...


class QuestionQueue:
    """Questions that come up while others are answered. It seems to end whenever it is empty, and goes on later."""

    def __init__(self) -> None:
        self._waiting: deque[Question] = deque()

    def __iter__(self) -> QuestionQueue:
        return self

    def __next__(self) -> Question:
        if not self._waiting:
            raise StopIteration
        return self._waiting.popleft()

    def put(self, question: Question) -> None:
        """Add a question; those put in first are asked first."""
        self._waiting.append(question)


def describe_model(name: str, *, revision: str | None, token: str | None) -> EngineModel:
    """Return what is known of a model on the Hub or in a local folder, before anything of it is loaded.

    Stops with 3 when it is gated, with 4 when there is none.
    """
    if Path(name).is_dir():
        return _local_model(Path(name))
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi(token=token or False)
        info = retry(lambda: api.model_info(name, revision=revision, files_metadata=True), what=f"looking at {name}")
        if info.gated:
            retry(lambda: api.auth_check(name), what=f"asking for access to {name}")
    except (HfHubHTTPError, ValueError) as error:
        raise _no_model(error, name, revision) from error
    sizes = [sibling.size or 0 for sibling in info.siblings or () if sibling.rfilename.endswith(".safetensors")]
    heads = _heads(info.config or {})
    return EngineModel(name=name, commit=info.sha, weights=sum(sizes), heads=heads)


def require_engine(engine: str, model: EngineModel, *, base_url: str | None) -> None:
    """Stop with 5 when this machine cannot hold the model, in milliseconds and before anything heavy is imported."""
    if engine == "openai" and not base_url:
        raise Stop(EXIT_USAGE, "--engine openai needs the address of an API", fix="add --base-url https://.../v1")
    if engine == "vllm" and not _vllm_for_cpu():
        require_vram(int(model.weights * ENGINE_OVERHEAD))


def split_gpus(model: EngineModel) -> tuple[int, int]:
    """Return (tensor parallel, data parallel): the fewest GPUs that hold the model, and how many such groups there are.

    Copies of a model that answer apart are faster than one that is cut up. The GPUs of a group divide the heads.
    """
    gpus = list_gpus()
    if not gpus:
        return 1, 1
    smallest = min(gpu.memory for gpu in gpus)
    sizes = [n for n in range(1, len(gpus) + 1) if len(gpus) % n == 0 and (not model.heads or model.heads % n == 0)]
    holding = [n for n in sizes if n * smallest >= model.weights * ENGINE_OVERHEAD]
    tensor = holding[0] if holding else sizes[-1]
    return tensor, len(gpus) // tensor


def start_engine(engine: str, model: EngineModel, settings: EngineSettings, *, token: str | None) -> Engine:
    """Load the model into `engine` (one of `ENGINES`)."""
    if engine == "openai":
        return ApiEngine(model, settings, token=token)
    kind: Callable[..., Engine] = VllmEngine if engine == "vllm" else TransformersEngine
    try:
        return kind(model, settings)
    except (ImportError, RuntimeError, ValueError) as error:
        message = f"{engine} cannot load {model.name}: {one_line(error)[:500]}"
        fix = "check the model, its options and the memory of the machine (--max-model-len, --quantization, --flavor)"
        raise Stop(EXIT_ENVIRONMENT, message, fix=fix) from error


class VllmEngine:
    """vLLM in this process, fed while it answers."""

    packages = ("vllm", "torch", "transformers")

    def __init__(self, model: EngineModel, settings: EngineSettings) -> None:
        # The sampler of FlashInfer is compiled on first use, by a compiler that the image of a Job does not have.
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # stdout is for --json
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        from vllm import LLM

        adapter = _adapter_folder(settings.lora)
        options = {
            "model": model.name,
            "revision": model.commit,
            "tokenizer_revision": model.commit,
            "dtype": settings.dtype,
            "quantization": settings.quantization,
            "max_model_len": settings.max_model_len or ENGINE_LONGEST_THAT_FITS,
            "tensor_parallel_size": settings.tensor_parallel,
            "gpu_memory_utilization": settings.memory_share,
            "seed": settings.seed,
        }
        given = {name: value for name, value in options.items() if value is not None}
        self._llm = LLM(**{**given, **_lora_options(adapter), **settings.extra})
        self._lora = _vllm_lora(adapter)
        self._tokenizer = self._llm.get_tokenizer()
        self._template = settings.chat_template_kwargs
        self._longest = self._llm.llm_engine.vllm_config.model_config.max_model_len
        self._window = self._llm.llm_engine.vllm_config.scheduler_config.max_num_seqs * ENGINE_WINDOWS
        # On the CPU a generator of its own for each request fails once a prompt is read in pieces (vLLM 0.32).
        self._seeded = not _vllm_for_cpu()

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room."""
        stream = iter(questions)
        waiting = 0
        while True:
            for question in itertools.islice(stream, self._window - waiting):
                refusal = self._ask(question, question.sampling or sampling)
                if refusal is None:
                    waiting += 1
                else:
                    yield refusal
            if not waiting:
                return
            for done in self._llm.llm_engine.step():
                if done.finished:
                    waiting -= 1
                    yield _vllm_reply(done)

    def _ask(self, question: Question, sampling: Sampling) -> Reply | None:
        """Hand the question over to the engine, or return the reply that says why it cannot be asked."""
        from vllm.exceptions import VLLMValidationError

        try:
            tokens = _prompt_tokens(self._tokenizer, question.conversation, self._template)
            if len(tokens) >= self._longest:
                return Reply(key=question.key, prompt_tokens=len(tokens), error=_too_long(len(tokens), self._longest))
            seed = _seed_of(sampling.seed, question.key) if self._seeded and sampling.temperature > 0 else None
            self._llm.llm_engine.add_request(
                str(question.key),
                {"prompt_token_ids": tokens},
                _vllm_sampling(sampling, seed),
                lora_request=self._lora,
            )
        except (*_template_errors(), VLLMValidationError) as error:
            return Reply(key=question.key, error=one_line(error))
        return None


class ApiEngine:
    """Any server with OpenAI's chat completions: `vllm serve`, llama.cpp's, `transformers serve`, a provider."""

    packages = ("openai",)

    def __init__(self, model: EngineModel, settings: EngineSettings, *, token: str | None) -> None:
        from openai import OpenAI

        self._model, self._settings = model.name, settings
        self._client: OpenAI = OpenAI(
            base_url=settings.base_url,
            api_key=_api_key(str(settings.base_url), token),
            max_retries=ENGINE_API_ATTEMPTS,
            timeout=ENGINE_API_TIMEOUT_S,
        )

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room."""
        stream = iter(questions)
        stopped = threading.Event()
        with ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="ask") as pool:
            running: set[Future[Reply]] = set()
            try:
                while True:
                    room = itertools.islice(stream, self._settings.concurrency - len(running))
                    running |= {pool.submit(self._ask, asked, asked.sampling or sampling, stopped) for asked in room}
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            finally:
                stopped.set()  # what has not been asked yet is not asked any more
                pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, question: Question, sampling: Sampling, stopped: threading.Event) -> Reply:
        from openai import APIConnectionError, APIError, APIStatusError

        if stopped.is_set():
            return Reply(key=question.key, error="not asked: the run was stopped")
        try:
            done = self._client.chat.completions.create(
                model=self._model,
                messages=[dict(message) for message in question.conversation],
                **_api_sampling(sampling, question.key, self._settings),
            )
        except APIStatusError as error:
            if http_status(error) in {400, 413, 422}:  # this conversation is at fault, not the run
                return Reply(key=question.key, error=one_line(error.message))
            raise _api_refusal(error, str(self._settings.base_url)) from error
        except APIConnectionError as error:
            message = f"{self._settings.base_url} cannot be reached: {one_line(error.__cause__ or error)}"
            raise Stop(EXIT_ENVIRONMENT, message, fix="check --base-url and the network, then run it again") from error
        except (APIError, ValueError) as error:
            return Reply(key=question.key, error=one_line(error))
        return _api_reply(question.key, done)


class TransformersEngine:
    """transformers, one batch after the other: for small models, and machines without a GPU."""

    packages = ("transformers", "torch")

    def __init__(self, model: EngineModel, settings: EngineSettings) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        if settings.lora is not None:
            raise Stop(EXIT_USAGE, "an adapter needs vLLM here", fix="add --engine vllm, or merge it into the model")
        logging.disable_progress_bar()
        place = "cuda" if torch.cuda.is_available() else "cpu"
        dtype: Any = settings.dtype if settings.dtype != "auto" or place == "cuda" else torch.float32
        options = {"revision": model.commit} if model.commit else {}
        self._tokenizer = AutoTokenizer.from_pretrained(model.name, padding_side="left", **options)
        self._model = AutoModelForCausalLM.from_pretrained(model.name, dtype=dtype, **options, **settings.extra)
        self._model.to(place).eval()
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        known = getattr(self._model.config, "max_position_embeddings", None) or self._tokenizer.model_max_length
        self._longest = min(settings.max_model_len or known, known)
        self._template = settings.chat_template_kwargs

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room."""
        stream = iter(questions)
        while batch := list(itertools.islice(stream, ENGINE_BATCH)):
            for alike, group in itertools.groupby(batch, key=lambda question: question.sampling or sampling):
                asked: list[tuple[int, list[int]]] = []
                for question in group:
                    prompt = self._prompt(question)
                    if isinstance(prompt, Reply):
                        yield prompt
                    else:
                        asked.append((question.key, prompt))
                if asked:
                    yield from self._answer(asked, alike)

    def _prompt(self, question: Question) -> list[int] | Reply:
        try:
            tokens = _prompt_tokens(self._tokenizer, question.conversation, self._template)
        except _template_errors() as error:
            return Reply(key=question.key, error=one_line(error))
        if len(tokens) >= self._longest:
            return Reply(key=question.key, prompt_tokens=len(tokens), error=_too_long(len(tokens), self._longest))
        return tokens

    def _answer(self, asked: Sequence[tuple[int, list[int]]], sampling: Sampling) -> Iterator[Reply]:
        import torch

        if sampling.json_schema is not None:
            raise Stop(EXIT_USAGE, "transformers cannot bind an answer to a schema", fix="use --engine vllm or openai")
        padded = self._tokenizer.pad({"input_ids": [tokens for _, tokens in asked]}, return_tensors="pt")
        inputs = {name: value.to(self._model.device) for name, value in padded.items()}
        width = inputs["input_ids"].shape[1]
        torch.manual_seed(_seed_of(sampling.seed, asked[0][0]))
        with torch.inference_mode():
            output = self._model.generate(**inputs, **self._sampling(sampling, width))
        rows = output[:, width:].reshape(len(asked), sampling.count, -1)
        for (key, tokens), answers in zip(asked, rows, strict=True):
            told = tuple(self._cut(answer, sampling.stop) for answer in answers)
            yield _counted(key, told, len(tokens))

    def _sampling(self, sampling: Sampling, width: int) -> dict[str, Any]:
        options: dict[str, Any] = {
            "max_new_tokens": min(sampling.max_tokens, self._longest - width),
            "num_return_sequences": sampling.count,
            "repetition_penalty": sampling.repetition_penalty,
            "pad_token_id": self._tokenizer.pad_token_id,
            "do_sample": sampling.temperature > 0,
        }
        if sampling.temperature > 0:
            drawn = {"top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": sampling.min_p or None}
            options |= {"temperature": sampling.temperature, **drawn}
        if sampling.stop:
            options |= {"stop_strings": list(sampling.stop), "tokenizer": self._tokenizer}
        return options

    def _cut(self, tokens: torch.Tensor, stop: Sequence[str]) -> Answer:
        """Return the answer in a row of the batch, which goes on with padding after its end."""
        ends = self._model.generation_config.eos_token_id
        ending = {
            self._tokenizer.eos_token_id,
            self._tokenizer.pad_token_id,
            *(ends if isinstance(ends, list) else [ends]),
        }
        numbers = tokens.tolist()
        end = next((place for place, number in enumerate(numbers) if number in ending), None)
        text = self._tokenizer.decode(numbers[:end], skip_special_tokens=True)
        found = [place for word in stop if (place := text.find(word)) >= 0]
        ended = end is not None or bool(found)
        return Answer(
            text=text[: min(found)] if found else text,
            finish_reason="stop" if ended else "length",
            tokens=len(numbers) if end is None else end + 1,
        )


def split_thinking(text: str) -> tuple[str | None, str]:
    """Return (what the model thought, its answer). Some templates open <think> in the prompt: only its end is there."""
    if "</think>" in text:
        thought, _, answer = text.partition("</think>")
    elif text.lstrip().startswith("<think>"):  # cut off before it came to an answer
        thought, answer = text, ""
    else:
        return None, text
    return thought.strip().removeprefix("<think>").strip(), answer.strip()


def _local_model(folder: Path) -> EngineModel:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{folder} has no config.json that can be read ({one_line(error)})"
        raise Stop(EXIT_INPUT, message, fix="name a folder that save_pretrained() wrote") from error
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return EngineModel(name=str(folder), weights=weights, heads=_heads(config))


def _heads(config: Mapping[str, Any]) -> int:
    text = config.get("text_config") or config
    heads = text.get("num_attention_heads", 0)
    return heads if isinstance(heads, int) else 0


def _no_model(error: Exception, name: str, revision: str | None) -> Stop:
    kind, status = type(error).__name__, http_status(error)
    if kind == "GatedRepoError":
        fix = f"ask for access at its page on the Hub, then {token_advice()}"
        return Stop(EXIT_TOKEN, f"the model {name} is gated and this account has no access", fix=fix)
    if kind == "RevisionNotFoundError":
        return Stop(EXIT_INPUT, f"the model {name} has no revision {revision!r}", fix="name a branch, tag or commit")
    if status in {401, 403} and kind != "RepositoryNotFoundError":
        return Stop(EXIT_TOKEN, f"the Hub does not accept the token for the model {name}", fix=token_advice())
    message = f"there is no model {name} on the Hub for this account, and no such folder"
    return Stop(EXIT_INPUT, message, fix=f"check the spelling; if it is private, {token_advice()}")


def _vllm_for_cpu() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return "cpu" in version("vllm")
    except PackageNotFoundError:
        return False


def _vllm_sampling(sampling: Sampling, seed: int | None) -> SamplingParams:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    schema = sampling.json_schema
    return SamplingParams(
        n=sampling.count,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        seed=seed,
        structured_outputs=None if schema is None else StructuredOutputsParams(json=dict(schema)),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _vllm_reply(done: RequestOutput) -> Reply:
    answers = tuple(
        Answer(text=said.text, finish_reason=str(said.finish_reason), tokens=len(said.token_ids))
        for said in sorted(done.outputs, key=lambda said: said.index)
    )
    return _counted(int(done.request_id), answers, len(done.prompt_token_ids))


def _counted(key: int, answers: tuple[Answer, ...], prompt_tokens: int) -> Reply:
    spoken = sum(answer.tokens or 0 for answer in answers)
    return Reply(key=key, answers=answers, prompt_tokens=prompt_tokens, output_tokens=spoken)


def _vllm_lora(adapter: Path | None) -> LoRARequest | None:
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, str(adapter)) if adapter else None


def _adapter_folder(name: str | None) -> Path | None:
    """Return the folder of a LoRA adapter, fetched from the Hub when it is none."""
    if name is None or Path(name).is_dir():
        return Path(name) if name else None
    from huggingface_hub import snapshot_download

    return Path(retry(lambda: snapshot_download(name), what=f"fetching {name}"))


def _lora_options(adapter: Path | None) -> dict[str, Any]:
    """Return what vLLM has to reserve for `adapter`: of the few ranks that it knows, the least that holds it."""
    if adapter is None:
        return {}
    rank = int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    return {"enable_lora": True, "max_lora_rank": next((known for known in ENGINE_LORA_RANKS if known >= rank), rank)}


def _prompt_tokens(
    tokenizer: PreTrainedTokenizerBase, conversation: Conversation, template: Mapping[str, Any]
) -> list[int]:
    """Return the tokens of the conversation, ready for the assistant to speak; special tokens as the template sets them."""
    messages = [dict(message) for message in conversation]
    given = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **template)
    return list(tokenizer(given, add_special_tokens=False, verbose=False)["input_ids"])


def _template_errors() -> tuple[type[Exception], ...]:
    """Return what a chat template raises at a conversation that it was not written for."""
    from jinja2 import TemplateError

    return TemplateError, LookupError, ValueError, TypeError, AttributeError


def _too_long(tokens: int, longest: int) -> str:
    return f"the prompt has {tokens} tokens; the model takes {longest}, the answer included"


def _seed_of(seed: int, key: int) -> int:
    """Return a seed for one question, so that a restart draws the same answer for it."""
    return random.Random(f"{seed} {key}").getrandbits(_ENGINE_SEED_BITS)  # noqa: S311 - drawing answers, not secrets


def _api_key(base_url: str, token: str | None) -> str:
    """Return the key for an API: OPENAI_API_KEY; the Hub's token is for the Hub's own hosts, and nobody else."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme == "https" and (host == "huggingface.co" or host.endswith(".huggingface.co")):
        if token is None:
            raise Stop(EXIT_TOKEN, f"no Hub token, needed to ask {host}", fix=token_advice())
        return token
    return os.environ.get(ENGINE_API_KEY) or "none"


def _api_sampling(sampling: Sampling, key: int, settings: EngineSettings) -> dict[str, Any]:
    beyond_openai = {
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "chat_template_kwargs": dict(settings.chat_template_kwargs),
    }
    usual = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "chat_template_kwargs": {}}
    extra = {name: value for name, value in beyond_openai.items() if value != usual[name]}
    options: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "extra_body": {**extra, **settings.extra},
    }
    if sampling.temperature > 0:
        options["seed"] = _seed_of(sampling.seed, key)
    if sampling.count > 1:
        options["n"] = sampling.count
    if sampling.stop:
        options["stop"] = list(sampling.stop)
    if sampling.json_schema is not None:
        schema = {"name": "answer", "schema": dict(sampling.json_schema), "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    return options


def _api_refusal(error: APIStatusError, base_url: str) -> Stop:
    status, said = http_status(error), one_line(error.message)[:300]
    if status in {401, 403}:
        fix = f"set {ENGINE_API_KEY} (in a Job: --secrets {ENGINE_API_KEY})"
        return Stop(EXIT_TOKEN, f"{base_url} does not accept the key: {said}", fix=fix)
    if status == 404:
        return Stop(EXIT_INPUT, f"{base_url} has no such model or address: {said}", fix="check --model and --base-url")
    message = f"{base_url} answered {status} {ENGINE_API_ATTEMPTS + 1} times: {said}"
    return Stop(EXIT_ENVIRONMENT, message, fix="run the same command again later: it does what is missing")


def _api_reply(key: int, done: ChatCompletion) -> Reply:
    usage = done.usage
    asked, spoken = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
    each = spoken if len(done.choices) == 1 else None
    answers = tuple(
        Answer(text=choice.message.content or "", finish_reason=str(choice.finish_reason), tokens=each)
        for choice in done.choices
    )
    if not answers:
        return Reply(key=key, error="the API gave no answer")
    return Reply(key=key, answers=answers, prompt_tokens=asked, output_tokens=spoken)


# --- end block ---


# --- block: answers 1 (jobshelf) ---
ANSWERS_BOXED = re.compile(r"\\(?:boxed|fbox)\s*\{")
ANSWERS_WORDS = re.compile(r"(?i)(?:final\s+)?answer\s*(?:is|:|=)+\s*")
ANSWERS_LONGEST = 1000  # characters of a final answer; what is longer is none
ANSWERS_SECONDS = 3  # of each step of a comparison: models do write 9^{9^{9^9}}, which nobody can compute
_ANSWER_NUMBER = re.compile(
    r"(-?\d{1,40}(?:\.\d{1,40})?)|(-?)\\frac\{(-?\d{1,40})\}\{(\d{1,40})\}|(-?\d{1,40})/(\d{1,40})"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """How a set of solutions voted. `winner` is None on a tie, and where most have no answer.

    `votes` of `total` solutions are for the winner; `share` is that as a number from 0 to 1.
    """

    winner: str | None
    votes: int
    total: int

    @property
    def share(self) -> float:
        """The part of all solutions, those without an answer included, that is for the winner."""
        return self.votes / self.total if self.total else 0.0


def final_answer(text: str) -> str | None:
    """Return the last boxed answer in `text`, else what follows the last "answer is"; None when there is neither."""
    boxed = [found for opening in ANSWERS_BOXED.finditer(text) if (found := _braced(text, opening.end())) is not None]
    if boxed:
        answer = boxed[-1]
    else:
        said = list(ANSWERS_WORDS.finditer(text))
        answer = text[said[-1].end() :].strip().partition("\n")[0] if said else ""
    answer = tidy_answer(answer)
    return answer if 0 < len(answer) <= ANSWERS_LONGEST else None


def tidy_answer(text: str) -> str:
    """Return an answer without what does not belong to it: dollar signs, boxes around it, a closing full stop."""
    answer = " ".join(text.split())
    while True:
        before = answer
        opening = ANSWERS_BOXED.match(answer)
        if opening and (inner := _braced(answer, opening.end())) is not None:
            answer = inner
        answer = answer.strip().strip("$").strip()
        answer = re.sub(r"^\\[(\[]\s*|\s*\\[)\]]$", "", answer)
        answer = re.sub(r"(?<=[^.])\.$", "", answer)
        answer = re.sub(r"^\*\*(.*)\*\*$", r"\1", answer)
        if answer == before:
            return answer


def same_answer(one: str, other: str) -> bool:
    """Whether two answers are the same: as text, else as mathematics."""
    plain = _plain(one), _plain(other)
    if plain[0] == plain[1]:
        return True
    numbers = _answer_number(plain[0]), _answer_number(plain[1])
    if numbers[0] is not None and numbers[1] is not None:
        if numbers[0] == numbers[1]:
            return True
        if _answers_far_apart(numbers[0], numbers[1]):
            return False
    first, second = _answer_parsed(one), _answer_parsed(other)
    if not first or not second:
        return False
    verify, limit = _answer_math()[1], _answer_seconds()
    return bool(verify(first, second, timeout_seconds=limit) or verify(second, first, timeout_seconds=limit))


def vote(answers: Sequence[str | None]) -> Vote:
    """Return how these answers voted, equal ones together; the winner is the first spelling that was met."""
    groups: list[tuple[str | None, int]] = []
    for answer in answers:
        for place, (known, count) in enumerate(groups):
            if known is answer or (known is not None and answer is not None and same_answer(known, answer)):
                groups[place] = (known, count + 1)
                break
        else:
            groups.append((answer, 1))
    most = max((count for _, count in groups), default=0)
    leading = [known for known, count in groups if count == most]
    if len(leading) != 1 or leading[0] is None:
        return Vote(winner=None, votes=0, total=len(answers))
    return Vote(winner=leading[0], votes=most, total=len(answers))


def is_consistent(voted: Vote, answer: str) -> bool:
    """Answer-Consistency: whether the majority of the solutions is the answer that came with the question."""
    return voted.winner is not None and same_answer(voted.winner, answer)


def lowest_reward(rewards: Sequence[float]) -> float:
    """Return the score of a prompt: the lowest reward among its responses. Raises ValueError when there are none."""
    if not rewards:
        raise ValueError("no reward to take the lowest of")
    return min(rewards)


def quantile_cut(scores: Sequence[float], quantile: float) -> float:
    """Return the score at `quantile` (0 to 1) of `scores`, between two of them in proportion; keep what is not below."""
    if not scores:
        raise ValueError("no score to cut at")
    ordered = sorted(scores)
    place = quantile * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def _braced(text: str, start: int) -> str | None:
    """Return what stands between the brace that opens before `start` and the one that closes it."""
    depth = 1
    for place in range(start, len(text)):
        if text[place - 1] == "\\" and text[place] in "{}":
            continue
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return text[start:place]
    return None


def _plain(text: str) -> str:
    """Return an answer with its spelling evened out: spaces, case, brackets of a choice, thin spaces, dfrac."""
    plain = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s*\{([^{}]*)\}", r"\1", text)
    plain = (
        re.sub(r"\\[,;:! ]|\\(?:left|right)(?![a-z])|[\s$]", "", plain)
        .replace("\\dfrac", "\\frac")
        .replace("\\tfrac", "\\frac")
    )
    plain = re.sub(r"^\(([A-Za-z])\)$", r"\1", plain)
    return plain.rstrip(".").casefold()


def _answer_number(plain: str) -> Fraction | None:
    """Return the number that an answer is when it is nothing but one; most are, and need no algebra."""
    match = _ANSWER_NUMBER.fullmatch(plain)
    if match is None:
        return None
    decimal, sign, over, under, numerator, denominator = match.groups()
    if decimal is not None:
        return Fraction(decimal)
    below = int(under or denominator)
    above = int(over or numerator) * (-1 if sign else 1)
    return Fraction(above, below) if below else None


def _answers_far_apart(one: Fraction, other: Fraction) -> bool:
    """Whether two numbers differ by more than rounding does."""
    return abs(one - other) > max(1, abs(one), abs(other)) / 1000


@cache
def _answer_math() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Return math-verify's (parse, verify), at work once, so that no time limit counts what they import."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.CRITICAL)  # it tells of each answer that is none
    verify(parse("$x$", parsing_timeout=None), parse("$2x/2$", parsing_timeout=None), timeout_seconds=None)
    return parse, verify


@lru_cache(maxsize=4096)
def _answer_parsed(text: str) -> list[Any]:
    return _answer_math()[0](f"${text}$", parsing_timeout=_answer_seconds())


def _answer_seconds() -> int | None:
    """Return the time limit of one step, None in other threads: math-verify keeps it by a signal."""
    return ANSWERS_SECONDS if threading.current_thread() is threading.main_thread() else None


# --- end block ---


# --- block: reward 1 (jobshelf) ---
REWARD_BATCH = 16


def require_reward_model(model: EngineModel) -> None:
    """Stop with 4 when the config of `model` is not that of a model that gives one number for a text."""
    from transformers import AutoConfig

    options = {"revision": model.commit} if model.commit else {}
    try:
        config = AutoConfig.from_pretrained(model.name, **options)
    except (OSError, ValueError, KeyError) as error:
        message = f"the config of {model.name} cannot be read: {one_line(error)[:300]}"
        raise Stop(EXIT_INPUT, message, fix="name a model that transformers can load") from error
    kinds = config.architectures or []
    if config.num_labels != 1 or not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        message = (
            f"{model.name} is no reward model ({', '.join(kinds) or 'no architecture'}, {config.num_labels} labels)"
        )
        raise Stop(
            EXIT_INPUT, message, fix="name a sequence classification model with one label, trained on preferences"
        )


class RewardModel:
    """A sequence classification model with one label, from transformers."""

    packages = ("transformers", "torch")

    def __init__(self, model: EngineModel) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        options: dict[str, Any] = {"revision": model.commit} if model.commit else {}
        place = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if place == "cuda" else torch.float32
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model.name, padding_side="right", **options)
            self._model = AutoModelForSequenceClassification.from_pretrained(model.name, dtype=dtype, **options)
        except (OSError, RuntimeError, ValueError) as error:
            message = f"the reward model {model.name} cannot be loaded: {one_line(error)[:300]}"
            raise Stop(EXIT_ENVIRONMENT, message, fix="check the model and the memory of the machine") from error
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model.config.pad_token_id = self._tokenizer.pad_token_id
        self._model.to(place).eval()
        self._longest = getattr(self._model.config, "max_position_embeddings", None) or 4096

    def rewards(self, conversations: Sequence[Conversation]) -> list[float]:
        """Return the reward of each conversation, which ends with the response; the start of too long ones counts."""
        texts = [self._tokens(conversation) for conversation in conversations]
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # alike lengths make little padding
        found: dict[int, float] = {}
        rest = iter(order)
        while places := list(islice(rest, REWARD_BATCH)):
            found.update(zip(places, self._batch([texts[place] for place in places]), strict=True))
        return [found[place] for place in range(len(texts))]

    def _tokens(self, conversation: Conversation) -> list[int]:
        messages = [dict(message) for message in conversation]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False)
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])[: self._longest]

    def _batch(self, tokens: Sequence[list[int]]) -> Iterator[float]:
        import torch

        padded = self._tokenizer.pad({"input_ids": list(tokens)}, return_tensors="pt")
        inputs: dict[str, torch.Tensor] = {name: value.to(self._model.device) for name, value in padded.items()}
        with torch.inference_mode():
            logits = self._model(**inputs).logits
        yield from (float(value) for value in logits[:, 0])


# --- end block ---


if __name__ == "__main__":
    raise SystemExit(main())
