# SPDX-License-Identifier: Apache-2.0
# SPDX-FileCopyrightText: The Jobshelf authors
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "accelerate>=1.15,<2",
#     "datasets>=5.2,<6",
#     "huggingface-hub>=2.4,<3",
#     "matplotlib>=3.11,<4",
#     "peft>=0.21,<0.22",
#     "pyyaml>=6,<7",
#     "torch>=2.13,<3",
#     "trackio>=0.43,<0.44",
#     "transformers>=5.19,<6",
#     "trl>=1.16,<1.17",
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# [tool.hf-jobs]
# flavor = "a10g-large"
# timeout = "4h"
# secrets = ["HF_TOKEN"]
#
# [tool.jobshelf]
# version = "0.1.0"
# title = "Supervised fine-tuning"
# task = "fine-tuning"
# tags = ["sft", "trl", "lora", "fine-tuning", "text-generation"]
# inputs = ["dataset", "model"]
# outputs = ["model"]
# persists = "hub-model"
# token = "write"
# shardable = false
# license = "Apache-2.0"
# aliases = ["train-sft"]
# status = "stable"
# rehearse = ["{input:conversations}", "{output}", "--model", "{model}", "--max-steps", "2", "--save-steps", "1", "--commit-every", "0"]
# estimate = ["--job", "train", "--method", "sft", "--epochs", "1"]
# ///
"""Fine-tune a language model on a dataset (SFT of TRL), with LoRA adapters or all weights.

Reads conversations, prompts with completions, or plain text: a Hub dataset, an hf:// path, a local parquet, jsonl, json,
csv or arrow file or folder. Trains LoRA adapters on all linear layers; --full trains all weights, --load-in-4bit is QLoRA.
Writes the model, tokenizer, log, plot and card to a Hub model or a folder. First it checks the rows, prints every setting
with its reason, and what it takes in memory, time and dollars (--dry-run stops there); what cannot fit is not started.
Checkpoints go to the Hub as it trains: the same command, run again after a crash, goes on from the last one. TRL's own
option names work, with dashes or underscores.

    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/train_sft.py trl-lib/Capybara user/qwen-capybara --model Qwen/Qwen2.5-0.5B-Instruct --max-steps 20
    uv run https://huggingface.co/datasets/jobshelf/scripts/resolve/main/train_sft.py ./qa.jsonl ./out --model Qwen/Qwen2.5-0.5B-Instruct --map question=prompt answer=completion
    hf jobs uv run --secrets HF_TOKEN --attempts 3 https://huggingface.co/datasets/jobshelf/scripts/resolve/main/train_sft.py trl-lib/Capybara user/qwen-capybara --model Qwen/Qwen2.5-0.5B-Instruct

Several GPUs are all used (it starts itself under accelerate). A token with write access is needed for an OUTPUT on the Hub.
Exit codes: 0 done; 2 usage; 3 token; 4 input data; 5 network, memory or disk; 6 trained, but not persisted.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import errno
import fnmatch
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import queue
import re
import secrets
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    import httpx2
    from datasets import Dataset
    from huggingface_hub.utils import SafetensorsRepoMetadata
    from peft import LoraConfig
    from tqdm import tqdm
    from transformers import PreTrainedTokenizerBase, Trainer, TrainerCallback

SCRIPT_NAME = "train_sft.py"
SCRIPT_URL = f"https://huggingface.co/datasets/jobshelf/scripts/resolve/main/{SCRIPT_NAME}"
TITLE = "Supervised fine-tuning"
VERSION = "0.1.0"
RESULT_VERSION = 1  # part of every request: raise it when the same input gives another model
METHOD, MODEL_KIND = "SFT", "AutoModelForCausalLM"
LEARNING_RATES = {"lora": 2e-4, "full": 2e-5}
OWN_OPTIONS = ("packing", "assistant_only_loss", "completion_only_loss")


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(prog=SCRIPT_NAME, description=str(__doc__).partition("\n")[0])
    add_training_options(parser)
    add = parser.add_argument
    add("--packing", nargs="?", const=True, type=yes_or_no, help="several rows in a sequence; default: with flash-attn")
    add(
        "--assistant-only-loss",
        nargs="?",
        const=True,
        default=False,
        type=yes_or_no,
        help="learn the answers of conversations only",
    )
    add(
        "--completion-only-loss",
        nargs="?",
        const=True,
        type=yes_or_no,
        help="learn completions only; default: where there is a prompt",
    )
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run the command line `argv` (default: that of the process) and return the exit code."""
    args = parse_training(build_parser(), sys.argv[1:] if argv is None else argv)
    code = run_to_exit(lambda: follow_plan(train) if launched_plan() else work(args))
    leave_launched(code)
    return code


def work(args: argparse.Namespace) -> int:
    """Check everything, train, persist, report."""
    job = open_training(args, SCRIPT_NAME, extra=OWN_OPTIONS, version=RESULT_VERSION)
    if job.done:
        return show_training({"status": "already there", "output": str(job.target)}, as_json=args.json)
    check_adapter(job, args.adapter)
    rows, held_out = read_rows(job, args, METHOD)
    refuse_silent_options(args, rows)
    recipe = plan_recipe(job, args, rows, evaluates=held_out is not None)
    if args.dry_run:
        return show_training({"status": "dry run", "output": str(job.target), "rows": len(rows)}, as_json=args.json)
    plan = make_plan(job, args, recipe, METHOD)
    if plan.processes > 1:
        keep_examples(plan, rows, held_out)
        train_in_processes(plan, args.words)
    else:
        train(plan, rows, held_out)
    stamp = ScriptStamp(name=SCRIPT_NAME, url=SCRIPT_URL, version=VERSION)
    facts = finish_training(job, plan, args, stamp=stamp, title=TITLE, rows=len(rows), kind=MODEL_KIND)
    return show_training({"status": "written", **facts}, as_json=args.json)


def refuse_silent_options(args: argparse.Namespace, rows: Dataset) -> None:
    """Stop with 2 where TRL would take an option and do nothing with it."""
    if args.completion_only_loss and "completion" not in rows.column_names:
        message = "--completion-only-loss does nothing without a column 'completion'"
        raise Stop(EXIT_USAGE, message, fix="write --assistant-only-loss for conversations, or leave it out")


def plan_recipe(job: TrainJob, args: argparse.Namespace, rows: Dataset, *, evaluates: bool) -> TrainRecipe:
    """Return the settings, those of the earlier attempt where there was one; print them with what they cost."""
    lengths = measure_lengths(rows, load_tokenizer(job.base.name, job.base.commit, vars(args)), job.source.label)
    recipe = job.recipe or choose_recipe(
        args,
        method="sft",
        rates=LEARNING_RATES,
        model=job.base.model,
        lengths=lengths,
        machine=job.machine,
        packs=True,
        evaluates=evaluates,
    )
    costs = check_fit(recipe, job.base.model, lengths, job.machine, method="sft", force=args.force)
    print_recipe(recipe, costs)
    return recipe


def train(plan: TrainPlan, rows: Dataset | None = None, held_out: Dataset | None = None) -> None:
    """Train with TRL; the model is in the work folder of the plan then."""

    def make(plan: TrainPlan, watcher: TrainWatcher) -> Trainer:
        from trl import SFTConfig, SFTTrainer

        examples, checked = (rows, held_out) if rows is not None else kept_examples(plan)
        recipe, options = plan.settings, plan.options
        config = SFTConfig(
            **trainer_settings(plan),
            max_length=recipe["max_length"],
            packing=recipe["packing"],
            assistant_only_loss=options["assistant_only_loss"],
            completion_only_loss=options["completion_only_loss"],
            eos_token=options["eos_token"],
        )
        return SFTTrainer(
            model=model_to_train(plan, MODEL_KIND),
            args=config,
            train_dataset=examples,
            eval_dataset=checked,
            processing_class=load_tokenizer(plan.model, plan.revision, plan.options),
            quantization_config=quantization_settings(plan),
            peft_config=adapter_settings(plan, "CAUSAL_LM"),
            callbacks=[watcher.callback()],
        )

    run_training(make, plan)


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


# --- block: formats 3 (jobshelf) ---
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
        roles=frozenset(_role(turn) for turn in turns if isinstance(_given_role(turn), str)),
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


def _role(turn: Mapping[str, Any]) -> str:
    return str(_given_role(turn))


def _given_role(turn: Mapping[str, Any]) -> object:
    return next((turn[key] for key in ROLE_KEYS if key in turn), None)


def _content(turn: Mapping[str, Any]) -> str | list[Any] | None:
    return next((turn[key] for key in CONTENT_KEYS if turn.get(key) is not None), None)


def _turns_have_content(value: str | Sequence[Mapping[str, Any]]) -> bool:
    turns = json.loads(value) if isinstance(value, str) else value
    return all(
        turn
        and isinstance(_given_role(turn), str)
        and (turn.get("tool_calls") or isinstance(_content(turn), str | list))
        for turn in turns
    )


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
    role, key = _turn_keys(column)
    said = f"turn and (turn.get({key!r}) is not None or turn.get('tool_calls'))"
    if any(not isinstance(_given_role(turn), str) for turns in _chats_of(column) for turn in turns):
        said += f" and isinstance(turn.get({role!r}), str)"
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
    opening = {_role(turns[0]) for column in columns for turns in _chats_of(column) if turns}
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
        names.get(_role(turns[0]), _role(turns[0])) in {"user", "system"} for turns in _chats_of(column) if turns
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


# --- end block ---


# --- block: flavors 1 (jobshelf) ---
# From the price list of Jobs (docs `jobs-pricing`), read on that day.
# name, vCPUs, memory GB, disk GB, US dollars an hour, GPUs, memory of one GPU in GB, GPU model
FLAVORS_DATE = "2026-11-20"
FLAVORS_TABLE = """\
cpu-basic          2   16    50  0.01
cpu-upgrade        8   32    50  0.03
cpu-xl            16  124  1000  1.00
cpu-performance   32  256  1024  1.90
t4-small           4   15    50  0.40  1  16  T4
t4-medium          8   30   100  0.60  1  16  T4
l4x1               8   30   400  0.80  1  24  L4
l4x4              48  186  3200  3.80  4  24  L4
l40sx1             8   62   380  1.80  1  48  L40S
l40sx4            48  382  3200  8.30  4  48  L40S
l40sx8           192 1534  6500 23.50  8  48  L40S
a10g-small         4   15   110  1.00  1  24  A10G
a10g-large        12   46   200  1.50  1  24  A10G
a10g-largex2      24   92  1000  3.00  2  24  A10G
a10g-largex4      48  184  2000  5.00  4  24  A10G
a100-large        12  142  1000  2.50  1  80  A100
a100x4            48  568  4000 10.00  4  80  A100
a100x8            96 1136  8000 20.00  8  80  A100
h200              23  256  3000  5.00  1 141  H200
h200x2            46  512  6000 10.00  2 141  H200
h200x4            92 1024 12000 20.00  4 141  H200
h200x8           184 2048 24000 40.00  8 141  H200
rtx-pro-6000      23  256   475  2.75  1  96  RTX PRO 6000
rtx-pro-6000x2    46  512   950  5.50  2  96  RTX PRO 6000
rtx-pro-6000x4    92 1024  1900 11.00  4  96  RTX PRO 6000
rtx-pro-6000x8   184 2048  3800 22.00  8  96  RTX PRO 6000
"""
FLAVORS_TIMEOUT_S = 10
# What guides still name and Jobs do not have: how the name begins, how the nearest one does, why.
FLAVORS_ABSENT = (
    ("h100", "h200", "Jobs have no H100; the H200 is the same chip with more memory"),
    ("b200", "h200", "Jobs have no B200; the H200 is the fastest GPU there"),
    ("v5e-1", "l4x1", "Jobs have no TPUs; this GPU has at least the memory of one v5e chip"),
    ("v5e-2x2", "a100-large", "Jobs have no TPUs; this GPU has at least the memory of four v5e chips"),
    ("v5e", "h200", "Jobs have no TPUs; this GPU has at least the memory of eight v5e chips"),
    ("tpu", "l4x1", "Jobs have no TPUs; this is the cheapest GPU with bfloat16"),
    ("zero-", "a10g-small", "ZeroGPU is for Spaces, not for Jobs"),
    ("a100-small", "a100-large", "the A100 comes whole"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """A machine. Memory and disk in GB (10**9 bytes), `vram_gb` that of one GPU; `gpu` is its model, "" for none."""

    name: str
    vcpus: int
    ram_gb: float
    disk_gb: float
    usd_per_hour: float
    gpus: int = 0
    vram_gb: float = 0.0
    gpu: str = ""

    @property
    def chips(self) -> str:
        """The accelerators as people name them: `2x A10G 24 GB`, or `-`."""
        return f"{self.gpus}x {self.gpu} {self.vram_gb:g} GB" if self.gpus else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceList:
    """Flavors by name, where they come from, and whether that is the Hub's list of this moment."""

    flavors: Mapping[str, Flavor]
    origin: str
    live: bool


def read_flavor_table(table: str) -> dict[str, Flavor]:
    """Return the flavors of a table in the form of `FLAVORS_TABLE`."""
    flavors = (_flavor_of_line(line.split(None, 7)) for line in table.splitlines())
    return {flavor.name: flavor for flavor in flavors}


def read_flavor_list(listing: object) -> dict[str, Flavor]:
    """Return the flavors of the answer to `GET /api/jobs/hardware`. Raises ValueError where it is not such an answer."""
    if not isinstance(listing, list) or not listing:
        raise ValueError("it is not a list of flavors")
    try:
        flavors = {str(item["name"]): _flavor_of_item(item) for item in listing}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"an entry of it is not a flavor ({type(error).__name__}: {error})") from error
    return flavors


def current_flavors(token: str | None) -> PriceList:
    """Return the Hub's price list, or the one of `FLAVORS_DATE` when the Hub does not give a usable one."""
    from huggingface_hub import constants
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    url = f"{constants.ENDPOINT}/api/jobs/hardware"
    try:
        response = get_session().get(
            url, headers=build_hf_headers(token=token or False), timeout=FLAVORS_TIMEOUT_S, follow_redirects=True
        )
        hf_raise_for_status(response)
        return PriceList(flavors=read_flavor_list(response.json()), origin="the Hub's list of now", live=True)
    except Exception as error:
        reason = _why_no_prices(error)
        if reason is None:
            raise
    note(f"no price list from {url}: {reason}; using the one of {FLAVORS_DATE}")
    return PriceList(flavors=FLAVORS, origin=f"list of {FLAVORS_DATE}", live=False)


def nearest_flavor(asked: str, flavors: Mapping[str, Flavor]) -> tuple[str, str]:
    """Return the name of the flavor that `asked`, which is none, comes closest to, and why that one."""
    wanted = asked.strip().lower().replace("_", "-")
    if wanted in flavors:
        return wanted, "names are in lower case, with dashes"
    for beginning, nearest, reason in FLAVORS_ABSENT:
        several = f"{nearest}{wanted.removeprefix(beginning)}"
        if wanted.startswith(beginning) and nearest in flavors:
            return (several if several in flavors else nearest), reason
    cheapest = sorted(flavors.values(), key=lambda flavor: flavor.usd_per_hour)
    beginning = next((flavor.name for flavor in cheapest if wanted and flavor.name.startswith(wanted)), None)
    if beginning:
        return beginning, f"it is the cheapest one that begins with {wanted!r}"
    close = difflib.get_close_matches(wanted, [flavor.name for flavor in cheapest], n=1, cutoff=0.5)
    return (close[0], "it is spelled most alike") if close else (cheapest[0].name, "it is the cheapest one")


def _flavor_of_line(cells: list[str]) -> Flavor:
    name, vcpus, ram, disk, price, gpus, vram, gpu = [*cells, "0", "0", ""][:8] if len(cells) == 5 else cells
    return Flavor(
        name=name,
        vcpus=int(vcpus),
        ram_gb=float(ram),
        disk_gb=float(disk),
        usd_per_hour=float(price),
        gpus=int(gpus),
        vram_gb=float(vram),
        gpu=gpu,
    )


def _flavor_of_item(item: Mapping[str, Any]) -> Flavor:
    chips = item.get("accelerator") or {}
    count = int(_first_number(chips.get("quantity", 0)))
    price = {"minute": 60, "hour": 1}[item["unitLabel"]] * float(item["unitCostUSD"])
    if not (math.isfinite(price) and price >= 0):
        raise ValueError(f"the price of {item['name']!r} is {price}")
    return Flavor(
        name=item["name"],
        vcpus=int(_first_number(item["cpu"])),
        ram_gb=_first_number(item["ram"]),
        disk_gb=_first_number(item.get("ephemeralStorage", 0)),
        usd_per_hour=round(price, 4),
        gpus=count,
        vram_gb=_vram_of_one(str(item["name"]), _first_number(chips["vram"]), count) if count else 0.0,
        gpu=str(chips["model"]).strip() if count else "",
    )


def _vram_of_one(name: str, listed: float, count: int) -> float:
    """The list gives the memory of all GPUs together; one that gave it for each must not halve what a GPU has."""
    known = FLAVORS.get(name)
    return listed if known and listed == known.vram_gb else listed / count


def _first_number(text: object) -> float:
    """Return the quantity that a text such as `16 GB`, `1.5 TB` or `2 vCPU` begins with; terabytes as gigabytes."""
    match = re.match(r"\s*(\d+(?:\.\d+)?)\s*(T?)", str(text))
    if match is None:
        raise ValueError(f"{text!r} is no quantity")
    return float(match[1]) * (1000 if match[2] else 1)


def _why_no_prices(error: Exception) -> str | None:
    status = http_status(error)
    if status is not None:
        return f"the server answered {status}"
    return str(error) if isinstance(error, ValueError) else transient(error)


FLAVORS = read_flavor_table(FLAVORS_TABLE)


# --- end block ---


# --- block: fit 1 (jobshelf) ---
# Dense bfloat16 TFLOP/s (float16 on the T4, which has no bfloat16) and memory GB/s of one GPU, from the vendor's data
# sheets; then the share of the TFLOP/s that training reaches (model FLOPs utilisation): low, likely, high. The shares are
# assumptions after published runs of transformers trainers; they are not measured here, and smaller models reach less.
FIT_GPUS: Mapping[str, tuple[float, float, tuple[float, float, float]]] = {
    "T4": (65, 320, (0.15, 0.25, 0.40)),
    "L4": (121, 300, (0.20, 0.35, 0.50)),
    "A10G": (70, 600, (0.30, 0.45, 0.60)),
    "L40S": (362, 864, (0.20, 0.32, 0.45)),
    "A100": (312, 2039, (0.25, 0.40, 0.55)),
    "H100": (989, 3350, (0.20, 0.35, 0.50)),
    "H200": (989, 4800, (0.20, 0.35, 0.50)),
    "RTX PRO 6000": (500, 1597, (0.20, 0.33, 0.45)),
}
# float32 TFLOP/s and memory GB/s of one vCPU, and the share that training reaches (bench/calibrate_cost.py).
FIT_VCPU = (0.05, 4.0, (0.40, 0.70, 0.95))
FIT_SECONDS_A_LAYER = (0.0005, 0.001, 0.002)  # starting the kernels of a layer, all passes of one step on a GPU
FIT_SCALING = (0.80, 0.90, 0.97)  # of each GPU's speed when several work together
FIT_PADDING = (1.0, 1.1, 1.3)  # tokens computed for one token of data; more without packing and with mixed lengths
FIT_START_SECONDS = (60.0, 180.0, 480.0)  # billed before the script runs: image, packages
FIT_NETWORK_GB_S = (0.10, 0.25, 0.60)  # from the Hub to the machine, and back
FIT_DISK_GB_S = (0.3, 0.8, 2.0)
FIT_QUANTIZE_GB_S = (0.004, 0.008, 0.015)  # of the 16-bit file, for one vCPU
FIT_BUILD_SECONDS = (60.0, 180.0, 480.0)  # the converter, from its source
FIT_BANDWIDTH_SHARE = (0.40, 0.60, 0.80)  # of the memory's GB/s that decoding reaches
FIT_DECODE_SECONDS = (0.002, 0.004, 0.008)  # scheduling and sampling of one step for all running sequences
FIT_LONGEST_ANSWER_SHARE = (0.25, 0.60, 1.0)  # of the longest answer allowed that the average one is
FIT_SEQUENCES = 256  # decoded at once, at most (vLLM's default)
FIT_LOGITS_TILE = 4096 * 32768 * 4  # TRL 1.16 computes logits in tiles of so many tokens, words and bytes
FIT_GPU_SHARE, FIT_GPU_TAKEN_GB = 0.94, 0.8  # what the allocator loses between blocks; the driver's own context
FIT_CPU_SHARE, FIT_CPU_TAKEN_GB = 0.94, 2.0  # Python with its packages
FIT_SERVER_SHARE = 0.90  # of a GPU that vLLM takes (gpu_memory_utilization)
FIT_LARGEST_BATCH = 8
FIT_LONGEST_SECONDS = 86_400.0  # nobody waits longer to save a dollar
FIT_QUANTS_BYTES = 0.61 + 0.71 + 1.06  # of one parameter in Q4_K_M, Q5_K_M and Q8_0 together
FIT_LARGEST_QUANT_BYTES, FIT_CONVERTED_COPIES = 1.06, 3  # copies of a tensor in float32 while it is converted
FIT_BUFFER, FIT_SHORTEST_MINUTES = 1.3, 10
_BYTES_IN_GB = 1e9

# What configs do not say: (queries, keys and values have biases; norms a layer; norms of a head; the embedding is tied).
# From the models' own code in transformers 5.23; "whole" norms go over all heads together.
FIT_FAMILIES: Mapping[str, tuple[bool, int, str, bool]] = {
    "llama": (False, 2, "", False),
    "mistral": (False, 2, "", False),
    "ministral": (False, 2, "", False),
    "mixtral": (False, 2, "", False),
    "granite": (False, 2, "", False),
    "smollm3": (False, 2, "", True),
    "phi3": (False, 2, "", False),
    "qwen2": (True, 2, "", False),
    "qwen2_moe": (True, 2, "", False),
    "qwen3": (False, 2, "head", False),
    "qwen3_moe": (False, 2, "head", False),
    "gemma": (False, 2, "", True),
    "gemma2": (False, 4, "", True),
    "gemma3_text": (False, 4, "head", True),
    "olmo2": (False, 2, "whole", False),
}
# Families whose MLP has two matrices, not three; and those of unlisted families whose head is not the embedding.
FIT_PLAIN = frozenset({"gpt2", "gpt_neox", "gptj", "gpt_bigcode", "opt", "falcon", "bloom", "phi", "starcoder2"})
FIT_UNTIED = frozenset({"gpt_neox", "gptj", "phi", "gpt_oss", "deepseek_v2", "deepseek_v3", "glm4", "glm4_moe"})
# hidden, layers, heads, key-value heads, inner, words of models of about so many billion parameters (Qwen2.5, Llama 3.1)
FIT_TYPICAL: Mapping[float, tuple[int, int, int, int, int, int]] = {
    0.13: (576, 30, 9, 3, 1536, 49152),
    0.49: (896, 24, 14, 2, 4864, 151936),
    1.5: (1536, 28, 12, 2, 8960, 151936),
    3.1: (2048, 36, 16, 2, 11008, 151936),
    8.0: (4096, 32, 32, 8, 14336, 128256),
    14.8: (5120, 48, 40, 8, 13824, 152064),
    32.8: (5120, 64, 40, 8, 27648, 152064),
    70.6: (8192, 80, 64, 8, 28672, 128256),
    405.9: (16384, 126, 128, 8, 53248, 128256),
}

Span = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A decoder as its config describes it. Widths in numbers; `exact`: the family is known, so the count is too."""

    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int
    context: int
    tied: bool
    biases: int = 0
    norms: int = 2
    head_norms: str = ""
    gated: bool = True
    experts: int = 0
    experts_used: int = 0
    expert_inner: int = 0
    shared_inner: int = 0
    dense_layers: int = 0
    exact: bool = False

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def values(self) -> int:
        """Width of all key (or value) heads together."""
        return self.kv_heads * self.head_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model to be trained or run. `parameters` is its true size where that is known better than from the config.

    `active` are those that one token goes through; `weight_bytes` is what a stored weight takes (2 for bfloat16).
    """

    parameters: int
    active: int
    shape: Architecture
    weight_bytes: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model is trained. `length`: tokens of the longest sequence; `batch`: sequences a GPU takes at once, 0 for as
    many as fit; `sharded`: weights, gradients and optimizer are spread over the GPUs (FSDP, ZeRO-3)."""

    method: str = "sft"
    tuning: str = "lora"
    length: int = 1024
    batch: int = 0
    rank: int = 16
    checkpointing: bool = True
    sharded: bool = False
    generations: int = 8
    answer: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much there is to do, all epochs together. `tokens` are those of the data, with their uncertainty."""

    rows: int
    tokens: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes at the peak, of one GPU or of the machine."""

    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    cache: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would be on a flavor. Bytes, seconds, dollars (low, likely, high); `batch` sequences at once on a GPU.

    `short` says what there is too little of, "" when it fits. Where it does not fit, seconds and dollars are zero.
    """

    flavor: Flavor
    memory: Memory
    usable: float
    batch: int
    seconds: Span = (0.0, 0.0, 0.0)
    usd: Span = (0.0, 0.0, 0.0)
    short: str = ""

    @property
    def timeout_minutes(self) -> int:
        """The timeout to ask for."""
        return timeout_minutes(self.seconds[2])


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Return what `config.json` says of the language model. Raises ValueError when it lacks what the sizes follow from."""
    text = config.get("text_config")
    told = {**config, **text} if isinstance(text, Mapping) else dict(config)
    family = str(told.get("model_type") or "unknown")
    biased, norms, head_norms, tied = FIT_FAMILIES.get(family, (False, 2, "", family not in FIT_UNTIED))
    hidden = _told(told, "hidden_size", "n_embd", "d_model")
    heads = _told(told, "num_attention_heads", "n_head", "num_heads")
    head_dim = _told(told, "head_dim", default=0) or hidden // heads
    kv_heads = _told(told, "num_key_value_heads", "num_kv_heads", default=0) or (
        1 if told.get("multi_query") else heads
    )
    experts = _told(told, "num_experts", "num_local_experts", "n_routed_experts", default=0)
    inner = _told(told, "intermediate_size", "n_inner", "ffn_dim", default=4 * hidden) or 4 * hidden
    attention_biases = (heads + 2 * kv_heads) * head_dim if biased else 0
    if told.get("attention_bias") and not biased:
        attention_biases = (heads + 2 * kv_heads) * head_dim + hidden
    return Architecture(
        family=family,
        hidden=hidden,
        layers=(layers := _told(told, "num_hidden_layers", "n_layer", "num_layers")),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        inner=inner,
        vocabulary=_told(told, "vocab_size"),
        context=_told(told, "max_position_embeddings", "n_positions", default=0),
        tied=bool(told.get("tie_word_embeddings", tied)),
        biases=attention_biases + (2 * inner + hidden if told.get("mlp_bias") else 0),
        norms=norms,
        head_norms=head_norms,
        gated=family not in FIT_PLAIN,
        experts=experts,
        experts_used=_told(told, "num_experts_per_tok", "experts_per_token", default=1) if experts else 0,
        expert_inner=(_told(told, "moe_intermediate_size", default=0) or inner) if experts else 0,
        shared_inner=_shared_inner(told) if experts else 0,
        dense_layers=_dense_layers(told, layers) if experts else 0,
        exact=family in FIT_FAMILIES and not isinstance(text, Mapping),
    )


def typical_architecture(parameters: float) -> Architecture:
    """Return the shape that models of about so many parameters have, for when the config cannot be read."""
    nearest = min(FIT_TYPICAL, key=lambda billions: abs(math.log(billions * 1e9 / parameters)))
    hidden, layers, heads, kv_heads, inner, vocabulary = FIT_TYPICAL[nearest]
    return Architecture(
        family="typical",
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=hidden // heads,
        inner=inner,
        vocabulary=vocabulary,
        context=0,
        tied=parameters < 4e9,
    )


def count_parameters(shape: Architecture, *, active: bool = False) -> int:
    """Return the parameters of `shape`; with `active`, without the experts that a token does not go through."""
    experts = shape.experts_used if active else shape.experts
    hidden, layers, expert_layers = shape.hidden, shape.layers, shape.layers - shape.dense_layers
    per_expert_layer = 3 * hidden * (experts * shape.expert_inner + shape.shared_inner) + hidden * shape.experts
    per_expert_layer += hidden if shape.shared_inner else 0  # the gate of the shared expert
    dense = (3 if shape.gated else 2) * hidden * shape.inner * (shape.dense_layers if shape.experts else layers)
    inner = dense + (per_expert_layer * expert_layers if shape.experts else 0)
    norms = hidden * shape.norms + {"head": 2 * shape.head_dim, "whole": shape.queries + shape.values}.get(
        shape.head_norms, 0
    )
    attention = 2 * hidden * (shape.queries + shape.values)
    words = shape.vocabulary * hidden * (1 if shape.tied else 2)
    return layers * (attention + norms + shape.biases) + inner + words + hidden


def model_of(shape: Architecture, *, parameters: int = 0, weight_bytes: int = 2) -> Model:
    """Return the model of this shape, whose true size is `parameters` where that is given."""
    counted, active = count_parameters(shape), count_parameters(shape, active=True)
    total = parameters or counted
    return Model(
        parameters=total, active=max(1, round(active * total / counted)), shape=shape, weight_bytes=weight_bytes
    )


def adapter_parameters(shape: Architecture, rank: int) -> int:
    """Return the parameters of LoRA adapters on every linear layer but the head (experts, fused, get none)."""
    hidden, queries, values = shape.hidden, shape.queries, shape.values
    attention = (hidden + queries) * 2 + (hidden + values) * 2
    inner = shape.inner if not shape.experts else shape.shared_inner
    return rank * (shape.layers * (attention + ((3 if shape.gated else 2) * (hidden + inner) if inner else 0)))


def training_memory(model: Model, run: Training, *, batch: int, gpus: int = 1) -> Memory:
    """Return what training takes at its peak on one GPU.

    Weights, gradients and AdamW's two moments have the stored dtype in full tuning (TRL 1.16); adapters have float32.
    A second copy of the weights is the reference model of DPO and KTO in full tuning.
    """
    full = run.tuning == "full"
    weights = _stored_weights(model, run.tuning) * (2 if full and run.method in {"dpo", "kto"} else 1)
    trained = model.parameters if full else adapter_parameters(model.shape, run.rank)
    each = model.weight_bytes if full else 4
    spread = gpus if run.sharded else 1
    weights += 0 if full else 4 * trained
    sequences = batch * (2 if run.method in {"dpo", "reward"} else 1)
    cached = batch * (run.length + run.answer) * cache_bytes(model.shape) if run.method == "grpo" else 0
    length = run.length + (run.answer if run.method == "grpo" else 0)
    return Memory(
        weights=weights / spread + (_layer_weights(model) if spread > 1 else 0),
        gradients=trained * each / spread,
        optimizer=2 * trained * each / spread,
        activations=_activations(model, run, sequences * length),
        cache=cached,
    )


def cache_bytes(shape: Architecture) -> int:
    """Return the bytes of keys and values that one token leaves behind in all layers, in 16 bits."""
    return 2 * 2 * shape.layers * shape.values


def usable_memory(flavor: Flavor) -> float:
    """Return the bytes that a run can have: of one GPU, or of the machine when it has none."""
    if flavor.gpus:
        return flavor.vram_gb * _BYTES_IN_GB * FIT_GPU_SHARE - FIT_GPU_TAKEN_GB * _BYTES_IN_GB
    return flavor.ram_gb * _BYTES_IN_GB * FIT_CPU_SHARE - FIT_CPU_TAKEN_GB * _BYTES_IN_GB


def largest_batch(model: Model, run: Training, flavor: Flavor) -> int:
    """Return the largest power of two, at most 8, of sequences that fit on one GPU at once; 0 when not even one does."""
    batch = FIT_LARGEST_BATCH
    while batch and training_memory(model, run, batch=batch, gpus=flavor.gpus or 1).total > usable_memory(flavor):
        batch //= 2
    return batch


def training_flops(model: Model, run: Training, tokens: float, *, average: float) -> float:
    """Return the floating-point operations of training on `tokens` in sequences of `average` tokens.

    Forward: 2 for each active weight that is multiplied, and 4 times the width of the queries for each earlier token
    that is attended to (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, section 2.1). Backward is twice the
    forward, once with frozen weights; checkpointing adds one forward; reference models add theirs.
    """
    shape = model.shape
    looked_up = 0 if shape.tied else shape.vocabulary * shape.hidden
    forward = 2 * (model.active - looked_up) + 4 * shape.queries * shape.layers * average / 2
    passes = (3 if run.tuning == "full" else 2) + (1 if run.checkpointing else 0)
    passes += {"dpo": 1, "kto": 3}.get(run.method, 0)
    return tokens * forward * passes


def estimate_training(model: Model, run: Training, work: Work, flavor: Flavor) -> Estimate:
    """Return memory, time and cost of the training on `flavor`."""
    gpus = flavor.gpus or 1
    batch = run.batch or largest_batch(model, run, flavor)
    memory, usable = training_memory(model, run, batch=max(batch, 1), gpus=gpus), usable_memory(flavor)
    short = _short_of_memory(memory, usable, flavor) or _short_of_disk(model, flavor)
    speed = _speed(flavor)
    if short or speed is None:
        reason = short or f"the speed of {flavor.gpu} is not known"
        return Estimate(flavor=flavor, memory=memory, usable=usable, batch=batch, short=reason)
    steps = math.ceil(work.rows / (batch * gpus))
    generated = _generation(model, flavor, work.rows * run.generations, run.length, run.answer, batch)
    seconds = [
        _training_seconds(model, run, work, speed, gpus, steps, case) + (generated[case] if run.method == "grpo" else 0)
        for case in range(3)
    ]
    return _estimate(flavor, memory, usable, batch, seconds, model)


def estimate_generation(model: Model, *, rows: int, prompt: Span, answer: int, flavor: Flavor) -> Estimate:
    """Return memory, time and cost of answering `rows` prompts of `prompt` tokens with at most `answer` tokens.

    With continuous batching, as vLLM does it; on several GPUs each layer is split over all of them.
    """
    gpus = flavor.gpus or 1
    sequence = (prompt[2] + answer) * cache_bytes(model.shape) / gpus
    weights = _stored_weights(model, "lora") / gpus
    share = FIT_SERVER_SHARE if flavor.gpus else FIT_CPU_SHARE
    taken = FIT_GPU_TAKEN_GB if flavor.gpus else FIT_CPU_TAKEN_GB
    usable = ((flavor.vram_gb if flavor.gpus else flavor.ram_gb) * share - taken) * _BYTES_IN_GB
    batch = min(FIT_SEQUENCES, rows, int((usable - weights) // sequence))
    memory = Memory(weights=weights, cache=sequence * max(batch, 1))
    short = _short_of_memory(memory, usable, flavor) or _short_of_disk(model, flavor)
    if short or _speed(flavor) is None:
        reason = short or f"the speed of {flavor.gpu} is not known"
        return Estimate(flavor=flavor, memory=memory, usable=usable, batch=max(batch, 0), short=reason)
    seconds = _generation(model, flavor, rows, prompt[1], answer, batch)
    return _estimate(flavor, memory, usable, batch, seconds, model)


def estimate_conversion(model: Model, flavor: Flavor) -> Estimate:
    """Return memory, time and cost of merging adapters into the model and writing it as GGUF in 16 bits and three quants.

    As convert_to_gguf does it: a GPU is not used; the weights stay on the disk, and pass through RAM tensor by tensor,
    each several times in float32; the disk holds the download and the 16-bit file, and each quant until it is uploaded.
    """
    shape, size = model.shape, 2.0 * model.parameters
    largest = max(
        shape.vocabulary * shape.hidden, shape.hidden * shape.inner, shape.hidden * shape.experts * shape.expert_inner
    )
    memory = Memory(weights=FIT_CONVERTED_COPIES * 4.0 * largest)
    usable = flavor.ram_gb * _BYTES_IN_GB * FIT_CPU_SHARE - FIT_CPU_TAKEN_GB * _BYTES_IN_GB
    disk = 2 * size + FIT_LARGEST_QUANT_BYTES * model.parameters
    short = f"{memory.total / 1e9:.1f} GB of RAM needed, {usable / 1e9:.1f} usable" if memory.total > usable else ""
    if not short and disk > flavor.disk_gb * _BYTES_IN_GB * 0.9:
        short = f"{disk / 1e9:.0f} GB of disk needed, {flavor.disk_gb:g} there"
    if short:
        return Estimate(flavor=flavor, memory=memory, usable=usable, batch=0, short=short)
    upload = size + FIT_QUANTS_BYTES * model.parameters
    seconds = [
        FIT_BUILD_SECONDS[case]
        + 6 * size / _BYTES_IN_GB / FIT_DISK_GB_S[2 - case]
        + 3 * size / _BYTES_IN_GB / (FIT_QUANTIZE_GB_S[2 - case] * flavor.vcpus)
        + upload / _BYTES_IN_GB / FIT_NETWORK_GB_S[2 - case]
        for case in range(3)
    ]
    return _estimate(flavor, memory, usable, 0, seconds, model)


def rank_estimates(estimates: Iterable[Estimate]) -> list[Estimate]:
    """Return those that fit and take less than a day by their likely cost, then the slower ones, then the others."""
    return sorted(
        estimates,
        key=lambda one: (bool(one.short), one.seconds[1] > FIT_LONGEST_SECONDS, one.usd[1], one.flavor.usd_per_hour),
    )


def timeout_minutes(seconds: float) -> int:
    """Return a timeout for a run of at most `seconds`: 30 % more, rounded up to a round figure, 10 minutes at least."""
    minutes = seconds * FIT_BUFFER / 60
    step = 5 if minutes <= 120 else 15 if minutes <= 480 else 60
    return max(FIT_SHORTEST_MINUTES, math.ceil(round(minutes / step, 9)) * step)


def _told(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
            if value or default is not None:
                return value
        elif value is not None:
            raise ValueError(f"{name} is {value!r}, expected a whole number")
    if default is None:
        raise ValueError(f"it has no {names[0]}")
    return default


def _shared_inner(told: Mapping[str, Any]) -> int:
    shared = _told(told, "shared_expert_intermediate_size", default=0)
    return shared or _told(told, "n_shared_experts", default=0) * _told(told, "moe_intermediate_size", default=0)


def _dense_layers(told: Mapping[str, Any], layers: int) -> int:
    """Return how many layers have one plain MLP instead of experts."""
    named = told.get("mlp_only_layers")
    if isinstance(named, list):
        return len(named)
    return min(layers, _told(told, "first_k_dense_replace", default=0))


def _stored_weights(model: Model, tuning: str) -> float:
    """Return the bytes of the frozen or trained weights. NF4 has half a byte and its constants; embeddings keep 16 bits."""
    if tuning != "qlora":
        return float(model.parameters * model.weight_bytes)
    words = model.shape.vocabulary * model.shape.hidden * (1 if model.shape.tied else 2)
    return 0.53 * max(0, model.parameters - words) + 2.0 * words


def _layer_weights(model: Model) -> float:
    """Return the bytes of the two layers that sharded training gathers at once."""
    return 2.0 * model.weight_bytes * model.parameters / model.shape.layers


def _activations(model: Model, run: Training, tokens: float) -> float:
    """Return the bytes that the backward pass needs of `tokens` tokens.

    A layer keeps what its backward reads: counted with saved-tensor hooks on transformers 5.23 (float32 copies in norms,
    and in adapters of a 16-bit model). With checkpointing only the inputs of layers stay, and one layer is whole.
    """
    shape, each = model.shape, model.weight_bytes
    inner = shape.inner
    if shape.experts:
        inner = shape.experts_used * shape.expert_inner + shape.shared_inner
    if run.tuning == "full" or each == 4:
        layer = (8 + 4 * each) * shape.hidden + 2 * each * (shape.queries + shape.values) + 4 * each * inner
    else:
        layer = 28 * shape.hidden + 8 * shape.queries + 4 * shape.values + 10 * inner
    passing = 3 * each * inner  # gradients on their way through the MLP
    kept = layer + shape.layers * each * shape.hidden if run.checkpointing else shape.layers * layer
    logits = min(FIT_LOGITS_TILE, 4 * tokens * min(shape.vocabulary, 32768))
    return tokens * (kept + passing) + logits


def _short_of_memory(memory: Memory, usable: float, flavor: Flavor) -> str:
    what = "a GPU" if flavor.gpus else "RAM"
    if memory.total <= usable:
        return ""
    return f"{memory.total / _BYTES_IN_GB:.1f} GB of {what} needed, {max(usable, 0) / _BYTES_IN_GB:.1f} usable"


def _short_of_disk(model: Model, flavor: Flavor) -> str:
    """The weights pass through RAM shard by shard, but lie on the disk whole."""
    needed = model.parameters * model.weight_bytes * 1.1 / _BYTES_IN_GB
    return f"{needed:.0f} GB of disk needed, {flavor.disk_gb:g} there" if needed > 0.9 * flavor.disk_gb > 0 else ""


def _speed(flavor: Flavor) -> tuple[float, float, Span] | None:
    """Return FLOP/s and bytes/s of one GPU (of all vCPUs without one), and the share reached; None for an unknown GPU."""
    if not flavor.gpus:
        peak, bandwidth, share = FIT_VCPU
        return peak * 1e12 * flavor.vcpus, bandwidth * 1e9 * flavor.vcpus, share
    words = flavor.gpu.upper().replace("-", " ").replace("NVIDIA", "").split()
    for name, (peak, bandwidth, share) in FIT_GPUS.items():
        if name.split() == words[: len(name.split())]:
            return peak * 1e12, bandwidth * 1e9, share
    return None


def _training_seconds(
    model: Model, run: Training, work: Work, speed: tuple[float, float, Span], gpus: int, steps: int, case: int
) -> float:
    peak, _, shares = speed
    tokens = work.tokens[case] * FIT_PADDING[case]
    if run.method == "grpo":
        tokens = run.generations * (tokens + work.rows * run.answer * FIT_LONGEST_ANSWER_SHARE[case])
        steps *= run.generations
    share = shares[2 - case] * (0.8 if run.tuning == "qlora" else 1.0)  # unpacking 4 bits takes its share
    together = gpus * (FIT_SCALING[2 - case] if gpus > 1 else 1.0)
    flops = training_flops(model, run, tokens, average=min(run.length, tokens / max(work.rows, 1)))
    starting = steps * model.shape.layers * FIT_SECONDS_A_LAYER[case]
    return max(flops / (peak * share * together), starting)


def _generation(model: Model, flavor: Flavor, rows: int, prompt: float, answer: int, batch: int) -> Span:
    """Return the seconds of generating: prompts at the GPU's compute, then steps that read the weights and the cache."""
    speed = _speed(flavor)
    if speed is None or not batch:
        return (0.0, 0.0, 0.0)
    peak, bandwidth, shares = speed
    gpus = flavor.gpus or 1
    read = _weights_read(model, batch)
    low, likely, high = (
        _generation_seconds(
            compute=2 * model.active / (peak * shares[2 - case] * gpus),
            reading=1 / (bandwidth * FIT_BANDWIDTH_SHARE[2 - case] * gpus),
            overhead=FIT_DECODE_SECONDS[case],
            rows=rows,
            prompt=prompt,
            answer=answer * FIT_LONGEST_ANSWER_SHARE[case],
            batch=batch,
            weights=read,
            cache=cache_bytes(model.shape),
        )
        for case in range(3)
    )
    return low, likely, high


def _generation_seconds(
    *,
    compute: float,
    reading: float,
    overhead: float,
    rows: int,
    prompt: float,
    answer: float,
    batch: int,
    weights: float,
    cache: float,
) -> float:
    steps = math.ceil(rows / batch) * answer
    step = max(reading * (weights + batch * (prompt + answer / 2) * cache), batch * compute) + overhead
    return rows * prompt * compute + steps * step


def _weights_read(model: Model, batch: int) -> float:
    """Return the bytes of weights that one step reads: of the experts those that at least one of `batch` tokens uses."""
    shape = model.shape
    total = float(model.parameters * model.weight_bytes)
    if not shape.experts:
        return total
    unused = (1 - shape.experts_used / shape.experts) ** batch
    experts = 3 * shape.hidden * shape.experts * shape.expert_inner * (shape.layers - shape.dense_layers)
    return total - unused * experts * model.weight_bytes


def _estimate(
    flavor: Flavor, memory: Memory, usable: float, batch: int, seconds: Iterable[float], model: Model
) -> Estimate:
    """Add the start and the download to the seconds of the work, and the price, billed by the minute."""
    download = model.parameters * model.weight_bytes / _BYTES_IN_GB
    low, likely, high = (
        work + FIT_START_SECONDS[case] + download / FIT_NETWORK_GB_S[2 - case] for case, work in enumerate(seconds)
    )
    dollars = [math.ceil(one / 60) / 60 * flavor.usd_per_hour for one in (low, likely, high)]
    return Estimate(
        flavor=flavor,
        memory=memory,
        usable=usable,
        batch=batch,
        seconds=(low, likely, high),
        usd=(dollars[0], dollars[1], dollars[2]),
    )


# --- end block ---


# --- block: model 1 (jobshelf) ---
MODEL_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
MODEL_WEIGHT_FILES = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The model, how its size is known (`origin`), and what else the report says of it."""

    given: str
    commit: str | None
    model: Model
    origin: str
    tokenizer: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """What can be read of a model without its weights. None where there is no such file, or no right to read it.

    `headers` maps a tensor to its dtype and parameters, `counted` is the number of parameters that the Hub itself states,
    `refused` says that files may not be read.
    """

    given: str
    commit: str | None
    names: tuple[str, ...]
    config: Mapping[str, Any] | None
    headers: Mapping[str, tuple[str, int]] | None
    counted: int | None
    tokenizer: Path | None
    refused: bool = False


def find_model(given: str, token: str | None) -> ModelFacts:
    """Return what is known of the model without its weights."""
    size = read_model_size(given)
    if size:
        model = model_of(typical_architecture(size), parameters=size)
        return ModelFacts(
            given=given, commit=None, model=model, origin="given; the shape is that of a typical model of this size"
        )
    folder = Path(given).expanduser()
    if given and folder.is_dir():
        return facts_of_model(read_model_folder(given, folder))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", given) or given.startswith("."):
        message = f"the model {given!r} is no Hub model, no folder and no size"
        raise Stop(EXIT_USAGE, message, fix="write it as user/name, ./folder, or a size such as 8B")
    return facts_of_model(read_hub_model(given, token))


def read_model_size(text: str) -> int:
    """Return the parameters that `8B`, `0.5b` or `135M` stand for, 0 for any other text."""
    match = re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?)([bm])", text.strip().lower())
    return round(float(match[1]) * {"b": 1e9, "m": 1e6}[match[2]]) if match else 0


def size_in_model_name(given: str) -> int:
    """Return the one size in a model's name, 0 when it names none or several (`8x7B`, `7B-from-70B`).

    The experts that are used (`A3B` in `30B-A3B`) are no second size.
    """
    words = re.split(r"[-_/ ]", given.rpartition("/")[2])
    if any(re.fullmatch(r"\d+x\d+(\.\d+)?[bm]?", word.lower()) for word in words):
        return 0
    sizes = {size for word in words if (size := read_model_size(word))}
    return sizes.pop() if len(sizes) == 1 else 0


def read_model_folder(given: str, folder: Path) -> ModelFiles:
    """Return what the files of a local model say."""
    from huggingface_hub import get_local_safetensors_metadata

    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_file()))
    has = _has_headers(names)
    headers = _read_headers(given, lambda: get_local_safetensors_metadata(folder)) if has else None
    tokenizer = folder / "tokenizer.json"
    return ModelFiles(
        given=given,
        commit=None,
        names=names,
        config=_read_object(folder / "config.json") if "config.json" in names else None,
        headers=headers,
        counted=None,
        tokenizer=tokenizer if tokenizer.is_file() else None,
    )


def read_hub_model(repo_id: str, token: str | None) -> ModelFiles:
    """Return what the files of a Hub model say: ranged reads of the headers, and three small downloads."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    api = HfApi(token=token or False)
    try:
        info = retry(lambda: api.model_info(repo_id), what=f"reading {repo_id}")
    except HfHubHTTPError as error:
        raise _model_refusal(error, repo_id, token) from error
    names = tuple(sibling.rfilename for sibling in info.siblings or ())
    where = {"repo_id": repo_id, "revision": info.sha, "token": token or False}

    def small(name: str) -> Path | None:
        if name not in names:
            return None
        return Path(retry(lambda: hf_hub_download(filename=name, **where), what=f"reading {name} of {repo_id}"))

    config, headers, tokenizer, refused = None, None, None, False
    try:
        found = small("config.json")
        config = _read_object(found) if found else None
        if _has_headers(names):
            headers = _read_headers(
                repo_id,
                lambda: retry(
                    lambda: api.get_safetensors_metadata(repo_id, revision=info.sha), what=f"reading {repo_id}"
                ),
            )
        tokenizer = small("tokenizer.json")
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403}:
            raise _model_refusal(error, repo_id, token) from error
        refused = True
    counted = int(info.safetensors.total) if info.safetensors else None
    return ModelFiles(
        given=repo_id,
        commit=info.sha,
        names=names,
        config=config,
        headers=headers,
        counted=counted,
        tokenizer=tokenizer,
        refused=refused,
    )


def _model_refusal(error: Exception, repo_id: str, token: str | None) -> Stop:
    """Return the Stop for a Hub that does not show the model."""
    status = http_status(error)
    if type(error).__name__ == "RepositoryNotFoundError" or status == 404:
        seen = "for this account" if token else "for anonymous readers"
        fix = f"check the spelling; if it is private, {token_advice()}; or give the size: --model 8B"
        return Stop(EXIT_INPUT, f"there is no model {repo_id} {seen}", fix=fix)
    if status in {401, 403}:
        return Stop(EXIT_TOKEN, f"the Hub does not show {repo_id} ({status})", fix=token_advice())
    return Stop(EXIT_ENVIRONMENT, f"the Hub answered {status} for {repo_id}", fix="wait a minute, then run it again")


def _read_object(path: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file; stop with 4 when it holds anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Stop(
            EXIT_INPUT, f"{path.name} of the model is not JSON: {error}", fix="give the size: --model 8B"
        ) from error
    if not isinstance(found, dict):
        raise Stop(EXIT_INPUT, f"{path.name} of the model holds no object", fix="give the size: --model 8B")
    return found


def facts_of_model(files: ModelFiles) -> ModelFacts:
    """Return the model by the best source there is: headers, the Hub's count, config; its name only when all else fails."""
    _refuse_no_model(files)
    shape = _read_shape(files)
    counted, weight_bytes, quantized = count_in_headers(files.headers, shape, files.config)
    notes = ["the checkpoint is quantized: counted from its config"] if quantized else []
    if counted:
        origin = "exact: headers of its safetensors files"
    elif files.counted and not quantized:
        counted, origin = files.counted, "exact: the Hub's count of its safetensors files"
    elif shape:
        counted = count_parameters(shape)
        origin = "from config.json" + ("" if shape.exact else f", within two percent or so (family {shape.family!r})")
    else:
        counted, origin = _require_size(files), "LAST RESORT, its name: neither headers nor config can be read"
    if shape is None:
        shape = typical_architecture(counted)
        notes.append("its config cannot be read: the shape is that of a typical model of this size")
    return ModelFacts(
        given=files.given,
        commit=files.commit,
        model=model_of(shape, parameters=counted, weight_bytes=weight_bytes),
        origin=origin,
        tokenizer=files.tokenizer,
        notes=tuple(notes),
    )


def _refuse_no_model(files: ModelFiles) -> None:
    """Stop with 4 for adapters, GGUF files alone, and repositories without a model."""
    names = files.names
    weights = _has_headers(names) or any(name.endswith(MODEL_WEIGHT_FILES) for name in names)
    if "adapter_config.json" in names and "config.json" not in names:
        raise Stop(
            EXIT_INPUT,
            f"{files.given} holds adapters, not a model",
            fix="name the model that they belong to: --model BASE",
        )
    if not weights and any(name.endswith(".gguf") for name in names):
        message = f"{files.given} holds GGUF files only, which are neither trained nor converted"
        raise Stop(EXIT_INPUT, message, fix="name the model that they were made from, or give the size: --model 8B")
    if not weights and "config.json" not in names:
        raise Stop(
            EXIT_INPUT,
            f"{files.given} holds no model: no weights and no config.json",
            fix="name a model, or give the size: --model 8B",
        )


def _read_shape(files: ModelFiles) -> Architecture | None:
    """Return the architecture that the config describes, None when there is none to read or it says too little."""
    if files.config is None:
        return None
    try:
        return read_architecture(files.config)
    except ValueError as error:
        if files.headers is None and files.counted is None:
            raise Stop(EXIT_INPUT, f"config.json of {files.given}: {error}", fix="give the size: --model 8B") from error
        return None


def count_in_headers(
    tensors: Mapping[str, tuple[str, int]] | None, shape: Architecture | None, config: Mapping[str, Any] | None
) -> tuple[int, int, bool]:
    """Return (parameters, bytes of a weight, quantized); 0 parameters when the headers do not tell them.

    A head that is tied to the embedding counts once, even where the file stores it twice.
    """
    quantized = bool(config and config.get("quantization_config"))
    if not tensors:
        return 0, 2, quantized
    by_dtype: dict[str, int] = {}
    for dtype, count in tensors.values():
        by_dtype[dtype] = by_dtype.get(dtype, 0) + count
    main = max(by_dtype, key=lambda name: by_dtype[name])
    if quantized or main not in MODEL_DTYPE_BYTES:
        return 0, 2, True
    total = sum(count for dtype, count in by_dtype.items() if dtype in MODEL_DTYPE_BYTES)
    if shape and shape.tied and len(tensors) > 1:
        total -= tensors.get("lm_head.weight", ("", 0))[1]
    return total, MODEL_DTYPE_BYTES[main], False


def _require_size(files: ModelFiles) -> int:
    """Return the size in the model's name, or stop: 3 when a token would help, else 4."""
    size = size_in_model_name(files.given)
    if size:
        return size
    if files.refused:
        message = f"the files of {files.given} are gated for this account, and its name does not say one size"
        raise Stop(
            EXIT_TOKEN, message, fix=f"ask for access on its page, then {token_advice()}; or give the size: --model 8B"
        )
    message = f"{files.given} has neither safetensors nor config.json, and its name does not say one size"
    raise Stop(EXIT_INPUT, message, fix="give the size: --model 8B")


def _has_headers(names: Iterable[str]) -> bool:
    return bool({"model.safetensors", "model.safetensors.index.json"} & set(names))


def _read_headers(given: str, read: Callable[[], SafetensorsRepoMetadata]) -> Mapping[str, tuple[str, int]]:
    from huggingface_hub.errors import SafetensorsParsingError

    try:
        files = read().files_metadata.values()
        tensors = {name: (one.dtype, one.parameter_count) for file in files for name, one in file.tensors.items()}
        if sum(count for _, count in tensors.values()) < 1:
            raise ValueError("it lists no tensor")
    except (SafetensorsParsingError, ValueError, TypeError, KeyError, AttributeError, FileNotFoundError) as error:
        message = f"a safetensors file of {given} has no readable header: {error}"
        raise Stop(EXIT_INPUT, message, fix="upload it again, or give the size: --model 8B") from error
    return tensors


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


# --- block: persist_model 1 (jobshelf) ---
MODEL_MANIFEST = "jobshelf.json"
MODEL_CHECKPOINT = "last-checkpoint"
MODEL_LAST = "trainer_state.json"  # a checkpoint that has it is whole
MODEL_ATTEMPTS = 5
MODEL_NOT_FOREIGN = frozenset({".gitattributes", "README.md", "LICENSE", MODEL_MANIFEST})
_MODEL_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_MODEL_STEP = re.compile(r"checkpoint-([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeld:
    """What a model repository holds at commit `head`: path -> hash, the manifest at its root, its card."""

    head: str
    private: bool
    files: Mapping[str, str]
    manifest: Mapping[str, Any]
    card: str | None


def parse_model(given: str) -> str:
    """Return the id of a model repository; stop with 2 when `given` is none."""
    if not _MODEL_ID.fullmatch(given) or ".." in given or "--" in given or given.endswith((".git", ".", "-")):
        raise Stop(EXIT_USAGE, f"{given!r} is no model repository", fix="write user/name")
    return given


def look_at_model(repo_id: str, token: str | None) -> ModelHeld | None:
    """Return what the repository holds, None when there is none for this token."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    api = HfApi(token=token or False)
    try:
        info = retry(lambda: api.model_info(repo_id), what=f"looking at {repo_id}")
    except RepositoryNotFoundError:
        return None
    head = str(info.sha)
    files = _model_files(repo_id, head, token)
    small = {name: _model_read(repo_id, head, name, token) for name in (MODEL_MANIFEST, "README.md") if name in files}
    return ModelHeld(
        head=head,
        private=bool(info.private),
        files=files,
        manifest=_model_manifest(small.get(MODEL_MANIFEST, b"")),
        card=small["README.md"].decode("utf-8", "replace") if "README.md" in small else None,
    )


def open_model(
    repo_id: str, run: Run, *, token: str, private: bool, overwrite: bool, dry_run: bool
) -> ModelHeld | None:
    """Return what the repository holds after checking that `run` may write to it; create it when there is none.

    Stops with 4 when it holds what another script or another request made (unless `overwrite`), 3 when it cannot be
    created, 2 when a private model would go to a public repository. A dry run creates nothing.
    """
    held = look_at_model(repo_id, token)
    if held is None:
        if not dry_run:
            _model_create(repo_id, token, private=private)
        return None
    if private and not held.private:
        raise Stop(EXIT_USAGE, f"{repo_id} is public, but this model is private", fix="name another, or allow --public")
    theirs = [held.manifest.get("script"), held.manifest.get("request")]
    foreign = [name for name in held.files if name not in MODEL_NOT_FOREIGN]
    if foreign and not overwrite and theirs != [run.script, _model_request(run)]:
        message = f"{repo_id} holds {len(foreign)} files of another run ({', '.join(foreign[:3])})"
        raise Stop(EXIT_INPUT, message, fix="name another repository, or add --overwrite")
    return held


def persist_model(
    repo_id: str,
    folder: Path,
    run: Run,
    *,
    token: str,
    make_card: Callable[[str | None], str] | None = None,
    inside: str = "",
    keep: Collection[str] = (),
) -> str:
    """Put `folder` at `inside` of the repository ("" is its root) in one commit, and return that commit.

    Files of an earlier state that `folder` does not have go in the same commit; those named in `keep`, files of others,
    and at the root the checkpoints (MODEL_CHECKPOINT), stay. `make_card` gets the card of the repository, else of the folder, else None. Stops with 6 when the folder is not, or not provably, there.
    """
    try:
        for _ in range(MODEL_ATTEMPTS):
            held = look_at_model(repo_id, token)
            if held is None:
                raise RuntimeError(f"{repo_id} is not there any more")
            wanted = _model_wanted(folder, run, held, make_card, inside, keep)
            commit = _model_commit(repo_id, held, wanted, _model_stale(held, {*wanted, *keep}, inside), run, token)
            if commit is not None:
                _model_verify(wanted, _model_files(repo_id, commit, token))
                return commit
            note(f"{repo_id} changed while this was written: looking at it again")
        raise RuntimeError(f"{repo_id} changed {MODEL_ATTEMPTS} times while this was written")
    except (Stop, OSError, RuntimeError, ValueError) as error:
        raise _model_not_persisted(repo_id, folder, inside, token, error) from error


def fetch_model(repo_id: str, into: Path, *, token: str | None, inside: str = "") -> Path | None:
    """Bring `inside` of the repository to the folder `into`, all of one commit; None when there is nothing."""
    held = look_at_model(repo_id, token)
    start = f"{inside}/" if inside else ""
    names = [name for name in held.files if name.startswith(start) and name != ".gitattributes"] if held else []
    if held is None or not names:
        return None
    staging = into.with_name(f".{into.name}.part")  # beside it: files move whole, and the next attempt clears it
    shutil.rmtree(staging, ignore_errors=True)
    try:
        for name in names:
            _model_download(repo_id, held.head, name, str(staging), token)
        _model_verify({name: _model_hash(staging / name, held.files[name]) for name in names}, held.files)
        for name in sorted(names, key=lambda name: (Path(name).name == MODEL_LAST, name)):
            path = into / name.removeprefix(start)
            path.parent.mkdir(parents=True, exist_ok=True)
            (staging / name).replace(path)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return into


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the checkpoint of a Trainer with the highest step that was written to its end, None when there is none.

    A Trainer writes MODEL_LAST last.
    """
    steps = {int(match[1]): path for path in folder.glob("checkpoint-*") if (match := _MODEL_STEP.fullmatch(path.name))}
    whole = [step for step, path in steps.items() if (path / MODEL_LAST).is_file()]
    return steps[max(whole)] if whole else None


def _model_wanted(
    folder: Path,
    run: Run,
    held: ModelHeld,
    make_card: Callable[[str | None], str] | None,
    inside: str,
    keep: Collection[str],
) -> dict[str, Path | bytes]:
    """Return what is to be in the repository: path in it -> local file or content."""
    start = f"{inside}/" if inside else ""
    wanted: dict[str, Path | bytes] = {f"{start}{name}": folder / name for name in _model_names(folder)}
    if not wanted:
        raise RuntimeError(f"{folder} is empty")
    if make_card is not None and not inside:
        own = folder / "README.md"
        wanted["README.md"] = make_card(held.card or (own.read_text("utf-8") if own.is_file() else None)).encode()
    stays = {name for name in _model_owned(held) if name in keep or not _model_in_scope(name, inside)}
    owned = stays | wanted.keys()
    content = {
        "script": run.script,
        "request": _model_request(run),
        "source": run.source,
        "files": sorted(owned - MODEL_NOT_FOREIGN),
    }
    wanted[MODEL_MANIFEST] = (json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n").encode()
    return wanted


def _model_names(folder: Path) -> list[str]:
    """Return the files of a model, relative to its folder; what Git and the Hub's client keep there is none of it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith((".git", ".cache/"))]


def _model_owned(held: ModelHeld) -> set[str]:
    """Return the files that earlier commits of this kind made; no other file is ever removed."""
    listed = held.manifest.get("files")
    return {name for name in listed if name in held.files} if isinstance(listed, list) else set()


def _model_in_scope(name: str, inside: str) -> bool:
    return name.startswith(f"{inside}/") if inside else not name.startswith(f"{MODEL_CHECKPOINT}/")


def _model_stale(held: ModelHeld, wanted: Collection[str], inside: str) -> list[str]:
    """Return the files of the earlier state that are no longer made; checkpoints outlive a change of the model."""
    return sorted(name for name in _model_owned(held) if name not in wanted and _model_in_scope(name, inside))


def _model_commit(
    repo_id: str, held: ModelHeld, wanted: Mapping[str, Path | bytes], stale: list[str], run: Run, token: str
) -> str | None:
    """Commit on the head that was looked at; None when it has moved since."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    changed = {
        name: item for name, item in wanted.items() if held.files.get(name) != _model_hash(item, held.files.get(name))
    }
    if not changed and not stale:
        return held.head

    def commit() -> str:
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=item) for name, item in changed.items()]
        operations += [CommitOperationDelete(path_in_repo=name) for name in stale]
        message = f"Result of {run.script}"
        api = HfApi(token=token)
        return str(api.create_commit(repo_id, operations, commit_message=message, parent_commit=held.head).oid)

    try:
        return retry(commit, what=f"writing to {repo_id}")
    except HfHubHTTPError as error:
        if http_status(error) not in {409, 412}:
            raise
        return None


def _model_files(repo_id: str, commit: str, token: str | None) -> dict[str, str]:
    """Return path -> hash: the sha256 of a large file, git's id (40 digits) of a small one."""
    from huggingface_hub import HfApi

    api = HfApi(token=token or False)
    items = retry(lambda: list(api.list_repo_tree(repo_id, recursive=True, revision=commit)), what=f"listing {repo_id}")
    files = ((item, getattr(item, "lfs", None)) for item in items if hasattr(item, "size"))
    return {item.path: str(lfs.sha256) if lfs else str(item.blob_id) for item, lfs in files}


def _model_hash(item: Path | bytes, like: str | None) -> str:
    """Return the hash of a file or content, of the kind that `like` is: a sha256, or git's id of 40 digits."""
    size = len(item) if isinstance(item, bytes) else item.stat().st_size
    digest = hashlib.sha256() if like is None or len(like) != 40 else hashlib.sha1(b"blob %d\0" % size)  # noqa: S324 - git's
    if isinstance(item, bytes):
        digest.update(item)
    else:
        with item.open("rb") as stream:
            while chunk := stream.read(1_048_576):
                digest.update(chunk)
    return digest.hexdigest()


def _model_verify(wanted: Mapping[str, Path | bytes | str], there: Mapping[str, str]) -> None:
    """Raise RuntimeError when a file is not in the repository as it is here."""
    wrong = [
        name
        for name, item in wanted.items()
        if there.get(name) != (item if isinstance(item, str) else _model_hash(item, there.get(name)))
    ]
    if wrong:
        raise RuntimeError(f"{len(wrong)} files differ from what was sent: {', '.join(sorted(wrong)[:3])}")


def _model_download(repo_id: str, commit: str, name: str, folder: str, token: str | None) -> Path:
    from huggingface_hub import hf_hub_download

    def download() -> str:
        return hf_hub_download(repo_id, name, revision=commit, local_dir=folder, token=token, force_download=True)

    return Path(retry(download, what=f"reading {name} of {repo_id}"))


def _model_read(repo_id: str, commit: str, name: str, token: str | None) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        return _model_download(repo_id, commit, name, folder, token).read_bytes()


def _model_manifest(text: bytes) -> Mapping[str, Any]:
    try:
        content = json.loads(text or b"{}")
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _model_request(run: Run) -> Any:  # noqa: ANN401 - any JSON
    """Return the request as a file brings it back: tuples are lists."""
    return json.loads(json.dumps(dict(run.request)))


def _model_create(repo_id: str, token: str, *, private: bool) -> None:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token)
    try:
        retry(lambda: api.create_repo(repo_id, private=private, exist_ok=True), what=f"creating {repo_id}")
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 402, 403, 404}:
            raise
        message = f"the Hub does not let this token create {repo_id}: {one_line(error.server_message or error)}"
        raise Stop(EXIT_TOKEN, message, fix=f"use a token with write access to it; {token_advice()}") from error


def _model_not_persisted(repo_id: str, folder: Path, inside: str, token: str, error: BaseException) -> Stop:
    """Return the stop that says where the model is: on a Job in the volume or a bucket, else where it was made."""
    reason = one_line(error.message if isinstance(error, Stop) else error)
    here = folder.absolute()
    message = f"the model is not in {repo_id} ({reason}); it is in {here}"
    if not os.environ.get("JOB_ID"):
        return Stop(EXIT_NOT_PERSISTED, message, fix=_model_push(repo_id, str(here), inside))
    volume = os.environ.get("JOBSHELF_VOLUME")
    mounted = [f"{volume}/{repo_id.replace('/', '--')}"] if volume else []
    for given in [*mounted, f"hf://buckets/{repo_id}-model"]:
        if _model_saved(given, folder, inside, token):
            fetch = "" if given in mounted else f"hf buckets sync {given} ./to-push && "
            push = _model_push(repo_id, given if given in mounted else "./to-push", "")
            saved = f"the model is not in {repo_id} ({reason}); it is saved in {given}"
            return Stop(EXIT_NOT_PERSISTED, saved, fix=fetch + push)
    return Stop(EXIT_NOT_PERSISTED, message, fix=f"{_model_push(repo_id, str(here), inside)} before this disk is gone")


def _model_push(repo_id: str, folder: str, inside: str) -> str:
    leave_out = ["--exclude", ".cache/*"] if (Path(folder) / ".cache").exists() else []
    return shlex.join(["hf", "upload", repo_id, folder, inside or ".", *leave_out, "--repo-type", "model"])


def _model_saved(given: str, folder: Path, inside: str, token: str) -> bool:
    place = parse_bucket(given)
    start = f"{inside}/" if inside else ""
    try:
        if place.bucket_id is not None:
            create_bucket_once(place, token)
        put_in_bucket(place, {f"{start}{name}": folder / name for name in _model_names(folder)}, token)
    except (Stop, OSError, RuntimeError) as error:
        note(
            f"{given} does not take the model either ({one_line(error.message if isinstance(error, Stop) else error)})"
        )
        return False
    return True


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


# --- block: checkpoints 1 (jobshelf) ---
CHECKPOINTS_FOLDER = "checkpoints"
CHECKPOINT_SEAL = "complete.json"
CHECKPOINT_PAUSE_S = 30.0  # between two tries to push, while the Hub does not take it
CHECKPOINT_FLUSH_S = 600.0  # the most that the end of the training waits for the Hub
_CHECKPOINT_NAME = re.compile(r"checkpoint-([0-9]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint after optimizer step `step`. `facts` are what its seal says of the training.

    `path` is its folder here, None for one that is on the Hub only.
    """

    step: int
    facts: Mapping[str, Any]
    path: Path | None = None


def seal_checkpoint(folder: Path, facts: Mapping[str, Any]) -> None:
    """Declare the checkpoint in `folder` complete: list its files with their sizes, in a file that appears at once.

    The facts keep their order: what goes on from here tells its settings in the same one.
    """
    sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.name != CHECKPOINT_SEAL}
    part = folder.with_name(f".{folder.name}.part")
    part.write_text(json.dumps({"files": sizes, "facts": facts}, indent=1), encoding="utf-8")
    part.replace(folder / CHECKPOINT_SEAL)


def newest_here(folder: Path) -> Checkpoint | None:
    """Return the complete checkpoint below `folder` with the highest step, None when there is none."""
    found = [_checkpoint_here(path) for path in folder.glob("checkpoint-*")] if folder.is_dir() else []
    return max((one for one in found if one), key=lambda one: one.step, default=None)


def newest_on_hub(repo_id: str, held: ModelHeld, token: str | None) -> Checkpoint | None:
    """Return the complete checkpoint of the repository, as `held` shows it, with the highest step; None without one."""
    seals = [
        name for name in held.files if name.startswith(f"{CHECKPOINTS_FOLDER}/") and name.endswith(CHECKPOINT_SEAL)
    ]
    steps = {int(match[1]): name for name in seals if (match := _CHECKPOINT_NAME.fullmatch(name.split("/")[1]))}
    for step in sorted(steps, reverse=True):
        seal = _checkpoint_seal(_model_read(repo_id, held.head, steps[step], token))
        inside = steps[step].removesuffix(CHECKPOINT_SEAL)
        if seal and all(f"{inside}{name}" in held.files for name in seal["files"]):
            return Checkpoint(step=step, facts=seal["facts"])
        note(f"{inside} of {repo_id} is not complete: looking for an earlier one")
    return None


def fetch_checkpoint(repo_id: str, checkpoint: Checkpoint, into: Path, token: str | None) -> Path:
    """Bring a checkpoint of the repository to the folder `into` of all checkpoints; return its own folder."""
    name = f"checkpoint-{checkpoint.step}"
    found = fetch_model(repo_id, into / name, token=token, inside=f"{CHECKPOINTS_FOLDER}/{name}")
    if found is None:
        raise RuntimeError(f"{name} of {repo_id} is not there any more")
    return found


def push_checkpoints(repo_id: str, folder: Path, run: Run, token: str) -> str:
    """Make CHECKPOINTS_FOLDER of the repository what `folder` holds, in one commit; return that commit."""
    for _ in range(MODEL_ATTEMPTS):
        held = look_at_model(repo_id, token)
        if held is None:
            raise RuntimeError(f"{repo_id} is not there any more")
        wanted = _model_wanted(folder, run, held, None, CHECKPOINTS_FOLDER, keep=())
        stale = _model_stale(held, wanted, CHECKPOINTS_FOLDER)
        commit = _model_commit(repo_id, held, wanted, stale, run, token)
        if commit is not None:
            _model_verify(wanted, _model_files(repo_id, commit, token))
            return commit
    raise RuntimeError(f"{repo_id} changed {MODEL_ATTEMPTS} times while this was written")


class CheckpointPusher:
    """Pushes checkpoints from a thread of its own. `limit` is how many the Hub keeps, `every` the seconds between pushes.

    With `every` 0 each push is done before `push` returns, or has been tried once.
    """

    def __init__(self, repo_id: str, run: Run, token: str, *, limit: int, every: float) -> None:
        self._repo_id, self._run, self._token = repo_id, run, token
        self._limit, self._every = limit, every
        self._changed = threading.Condition()
        self._waiting: Path | None = None
        self._busy, self._closing, self._cancelled, self._refused, self._ended = False, False, False, False, False
        self.pushed: list[int] = []
        self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
        self._thread.start()

    def push(self, folder: Path) -> None:
        """Take the complete checkpoints in `folder` for the next push; one that still waits is replaced."""
        staged = _stage_checkpoints(folder, self._limit)
        with self._changed:
            if self._waiting is not None:
                shutil.rmtree(self._waiting, ignore_errors=True)
            self._waiting = staged
            self._changed.notify_all()
            if not self._every:
                self._changed.wait_for(self._is_idle, CHECKPOINT_PAUSE_S)

    def close(self, seconds: float) -> bool:
        """Wait at most so long until the newest checkpoint is pushed; return whether it is."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            self._changed.wait_for(self._is_idle, seconds)
            return not self._busy and self._waiting is None and not self._refused

    def cancel(self) -> None:
        """Push nothing more: the model itself is there. A push that is under way comes to its end first."""
        with self._changed:
            self._closing = self._cancelled = True
            if self._waiting is not None:
                shutil.rmtree(self._waiting, ignore_errors=True)
                self._waiting = None
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._busy)

    def _is_idle(self) -> bool:
        return not self._busy and (self._waiting is None or self._ended)

    def _work(self) -> None:
        try:
            self._push_each()
        finally:  # whatever ends this thread: nobody waits for it
            with self._changed:
                self._busy, self._ended = False, True
                self._changed.notify_all()

    def _push_each(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting is not None)
                staged, self._waiting, self._busy = self._waiting, None, True
            self._push(Path(str(staged)))
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                if not self._closing:
                    self._changed.wait_for(lambda: self._closing, self._every)

    def _push(self, staged: Path) -> None:
        newest = newest_here(staged)
        while newest is not None and not self._refused:
            try:
                push_checkpoints(self._repo_id, staged, self._run, self._token)
            except (Stop, OSError, RuntimeError, ValueError) as error:
                reason = one_line(error.message if isinstance(error, Stop) else error)
                self._refused = http_status(error) in {401, 403, 404}
                more = "no more of them will be sent" if self._refused else "training goes on, it will be tried again"
                note(f"checkpoint {newest.step} is not on the Hub ({reason}): {more}")
                if self._refused or self._pause():
                    break
            else:
                self.pushed.append(newest.step)
                note(f"checkpoint {newest.step} is in {self._repo_id}")
                break
        shutil.rmtree(staged, ignore_errors=True)

    def _pause(self) -> bool:
        """Wait before the next try; return whether this checkpoint is not needed any more."""
        with self._changed:
            return self._changed.wait_for(lambda: self._cancelled or self._waiting is not None, CHECKPOINT_PAUSE_S)


def _checkpoint_here(path: Path) -> Checkpoint | None:
    match = _CHECKPOINT_NAME.fullmatch(path.name)
    file = path / CHECKPOINT_SEAL
    seal = _checkpoint_seal(file.read_bytes()) if match and file.is_file() else None
    if match is None or seal is None:
        return None
    whole = all(
        (path / name).is_file() and (path / name).stat().st_size == size for name, size in seal["files"].items()
    )
    return Checkpoint(step=int(match[1]), facts=seal["facts"], path=path) if whole else None


def _checkpoint_seal(text: bytes) -> dict[str, Any] | None:
    try:
        seal = json.loads(text)
    except ValueError:
        return None
    known = isinstance(seal, dict) and isinstance(seal.get("files"), dict) and isinstance(seal.get("facts"), dict)
    return seal if known else None


def _stage_checkpoints(folder: Path, limit: int) -> Path:
    """Return a folder beside `folder` with links to the newest complete checkpoints: the trainer deletes old ones."""
    whole = [found for path in folder.glob("checkpoint-*") if (found := _checkpoint_here(path))]
    staged = folder.with_name(f".{folder.name}-{time.monotonic_ns()}")
    for checkpoint in sorted(whole, key=lambda one: one.step)[-limit:]:
        shutil.copytree(str(checkpoint.path), staged / str(checkpoint.path.name), copy_function=_link_or_copy)  # type: ignore[union-attr]
    return staged


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


# --- end block ---


# --- block: trackio 1 (jobshelf) ---
TRACKIO_CLOSE_S = 60.0
TRACKIO_FAILURES = 5  # in a row: then it is left alone
_TrackioCall = Callable[[Any], object]


def new_run_name(words: str) -> str:
    """Return a name that no other run has. It belongs to the training, not the attempt: keep it in the checkpoints."""
    return f"{re.sub(r'[^A-Za-z0-9.]+', '-', words).strip('-')[:60]}-{secrets.token_hex(3)}"


def trackio_space(asked: str | None, user: str | None) -> str | None:
    """Return the Space that shows the figures: the one asked for ("none" for none), on Jobs that of the user, else none."""
    if asked:
        return None if asked == "none" else asked
    return f"{user}/trackio" if user and os.environ.get("JOB_ID") else None


class TrackioRun:
    """One run in Trackio. `log` and `finish` return at once, or after TRACKIO_CLOSE_S seconds at the most."""

    def __init__(self, project: str, name: str, *, space: str | None, private: bool, config: Mapping[str, Any]) -> None:
        self._calls: queue.SimpleQueue[_TrackioCall | None] = queue.SimpleQueue()
        self._failures = 0
        self.where = f"Space {space}" if space else "local"
        self._calls.put(
            lambda trackio: trackio.init(
                project=project,
                name=name,
                space_id=space,
                private=private or None,
                resume="allow",
                config=dict(config),
                embed=False,
            )
        )
        self._thread = threading.Thread(target=self._work, args=(space,), name="trackio", daemon=True)
        self._thread.start()

    def log(self, figures: Mapping[str, float], step: int) -> None:
        """Add the figures of one step."""
        self._calls.put(lambda trackio: trackio.log(dict(figures), step=step))

    def finish(self) -> None:
        """End the run; what is not through after TRACKIO_CLOSE_S seconds is left behind."""
        self._calls.put(lambda trackio: trackio.finish())
        self._calls.put(None)
        self._thread.join(TRACKIO_CLOSE_S)
        if self._thread.is_alive():
            note(f"Trackio did not answer for {TRACKIO_CLOSE_S:g} s: its last figures may be missing")

    def _work(self, space: str | None) -> None:
        if space is None:
            os.environ.pop("TRACKIO_SPACE_ID", None)  # it would be taken although it was not asked for
        while (call := self._calls.get()) is not None:
            if self._failures < TRACKIO_FAILURES:
                self._try(call)

    def _try(self, call: _TrackioCall) -> None:
        try:
            import trackio

            call(trackio)
            self._failures = 0
        except Exception as error:  # noqa: BLE001  # vet: ignore[UVS306] -- a training is worth more than its figures
            self._failures += 1
            note(f"Trackio: {one_line(error) or type(error).__name__}; the training goes on")


# --- end block ---


# --- block: launch 1 (jobshelf) ---
LAUNCH_PLAN = "JOBSHELF_PLAN"
LAUNCH_CODE = "exit-code"


def launched_plan() -> Path | None:
    """Return the plan that this process is to follow, None in the process that the user started."""
    given = os.environ.get(LAUNCH_PLAN)
    return Path(given) if given else None


def launch(plan: Path, words: Sequence[str], *, processes: int, on_cpu: bool) -> int:
    """Run this script with the arguments `words` in `processes` processes that follow `plan`; return the exit code."""
    with tempfile.TemporaryDirectory(prefix="launch-") as folder:
        script = _own_source(Path(folder))
        argv = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"]
        argv += ["--num_processes", str(processes), "--mixed_precision", "no", "--dynamo_backend", "no"]
        argv += ["--main_process_port", "0", str(script), *words]
        threads = max(1, (os.cpu_count() or 1) // processes)
        variables = {LAUNCH_PLAN: str(plan), "ACCELERATE_USE_CPU": str(on_cpu).lower()}
        variables |= {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}
        note(f"training in {processes} processes under accelerate")
        code = _run_relayed(argv, os.environ | variables)
    told = plan.with_name(LAUNCH_CODE)
    return int(told.read_text(encoding="ascii")) if code and told.is_file() else code


def leave_launched(code: int) -> None:
    """End a launched process with `code`, and tell it to the one that launched it; the first word counts.

    At once: what torch leaves running aborts now and then when the interpreter goes while other processes still work.
    """
    plan = launched_plan()
    if plan is None:
        return
    if code != EXIT_DONE and not plan.with_name(LAUNCH_CODE).exists():
        plan.with_name(LAUNCH_CODE).write_text(str(code), encoding="ascii")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _own_source(folder: Path) -> Path:
    """Return a file with this script: its own, or for one that came on stdin (uv hands it to `python -c`) a copy."""
    file = globals().get("__file__")
    if file is not None and Path(file).is_file():
        return Path(file).absolute()
    if "-c" not in sys.orig_argv:
        raise Stop(EXIT_USAGE, "this script has no file to start again", fix="run it from its URL or from a file")
    copy = folder / "script.py"
    copy.write_text(sys.orig_argv[sys.orig_argv.index("-c") + 1], encoding="utf-8")
    return copy


def _run_relayed(argv: Sequence[str], variables: dict[str, str]) -> int:
    """Run to the end, handing a SIGTERM on; return the exit code."""
    process = subprocess.Popen(argv, env=variables, stdout=sys.stderr)
    stopped = False

    def hand_on(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True
        process.send_signal(number)

    previous = signal.signal(signal.SIGTERM, hand_on)
    try:
        code = process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
    if stopped:
        raise SystemExit(128 + signal.SIGTERM)
    return code if code >= 0 else EXIT_UNEXPECTED


# --- end block ---


# --- block: train_options 1 (jobshelf) ---
# Options that are gone, by the version of the stack that this runs on: what to write instead.
TRAIN_GONE = {
    "--max-seq-length": "--max-length",
    "--warmup-ratio": "--warmup-steps 0.1 (below 1 it is a ratio)",
    "--evaluation-strategy": "--eval-strategy",
    "--tokenizer": "--model: its tokenizer is used",
    "--overwrite-output-dir": "--overwrite",
    "--push-to-hub-model-id": "--hub-model-id",
    "--logging-dir": "--trackio-space",
    "--report-to": "--trackio-space: figures go to Trackio, `--trackio-space none` keeps them local",
    "--group-by-length": "nothing: rows of alike lengths are batched together by default",
    "--max-prompt-length": "--max-length: prompt and answer count together",
    "--max-completion-length": "--max-length: prompt and answer count together",
    "--resume-from-checkpoint": "nothing: the same command goes on from the newest checkpoint",
    "--hub-token": "nothing: set HF_TOKEN, or `hf auth login`",
    "--trust-remote-code": "nothing: this script runs no code from a model repository",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTarget:
    """Where the model goes: a Hub repository, a folder here, or both (`folder` then keeps the work)."""

    repo_id: str | None
    folder: Path | None

    def __str__(self) -> str:
        return self.repo_id or str(self.folder)


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that all trainers have, TRL's names first where the two differ."""
    _add_places(parser)
    _add_data_options(parser)
    _add_tuning_options(parser)
    _add_step_options(parser)
    _add_run_options(parser)


def parse_training(
    parser: argparse.ArgumentParser, argv: Sequence[str], *, kept: Sequence[str] = ()
) -> argparse.Namespace:
    """Parse `argv`, in which options may have underscores. `kept` are options of TRAIN_GONE that this trainer does have."""
    words = [_with_dashes(word) for word in argv]
    for word in words:
        name = word.partition("=")[0]
        if name in TRAIN_GONE and name not in kept:
            parser.error(f"{name} is gone; write {TRAIN_GONE[name]}")
    args = parser.parse_args(words)
    args.words = words
    args.dataset = args.dataset or args.dataset_name
    args.model = args.model or args.model_name
    if not args.dataset:
        parser.error("name the dataset: DATASET, or --dataset-name D")
    if not args.model:
        parser.error("name the model to train: --model M")
    return args


def train_target(args: argparse.Namespace) -> TrainTarget:
    """Return where the model goes; stop with 2 when nothing, or two different things, say it."""
    hub = [args.hub_model_id] if args.hub_model_id else []
    folder = Path(args.output_dir).expanduser() if args.output_dir else None
    if args.output and re.match(r"[./~]", args.output):
        folder = folder or Path(args.output).expanduser()
    elif args.output:
        hub.append(args.output)
    if args.push_to_hub and not hub:
        raise Stop(EXIT_USAGE, "--push-to-hub does not say where", fix="add --hub-model-id user/name")
    if len(set(hub)) > 1:
        raise Stop(EXIT_USAGE, f"two outputs are named: {hub[0]} and {hub[1]}", fix="name one of them")
    if not hub and folder is None:
        raise Stop(EXIT_USAGE, "nothing says where the model goes", fix="add OUTPUT: user/name on the Hub, or ./folder")
    if hub and "/" not in hub[0]:
        fix = f"write ./{hub[0]} for a folder, or user/{hub[0]} for a repository on the Hub"
        raise Stop(EXIT_USAGE, f"the output {hub[0]!r} could be either", fix=fix)
    return TrainTarget(repo_id=parse_model(hub[0]) if hub else None, folder=folder)


def yes_or_no(text: str) -> bool:
    """Return the value of an option that may be written alone, or with true or false as TRL has it."""
    values = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in values:
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return values[text.lower()]


def positive_number(text: str) -> int:
    """Return a whole number from 1 on."""
    if not re.fullmatch(r"[1-9][0-9]{0,11}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def positive_amount(text: str) -> float:
    """Return a number above 0 that is not infinite."""
    if not re.fullmatch(r"[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]{1,3})?", text) or not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return float(text)


def not_negative(text: str) -> float:
    """Return a number from 0 on."""
    return 0.0 if re.fullmatch(r"0+(?:\.0*)?", text) else positive_amount(text)


def _with_dashes(word: str) -> str:
    name, equals, value = word.partition("=")
    return f"{name.replace('_', '-')}{equals}{value}" if re.match(r"--[a-z]", word) else word


def _add_places(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("dataset", nargs="?", metavar="DATASET", help="Hub dataset (user/name), hf:// path, local file or folder")
    add("output", nargs="?", metavar="OUTPUT", help="Hub model (user/name) or local folder (./out) that gets the model")
    add("--dataset-name", metavar="D", help="the same as DATASET")
    add("--model", "--model-name-or-path", metavar="M", help="model to begin with: on the Hub, or a local folder")
    add("--model-name", metavar="M", help="the same as --model")
    add("--model-revision", metavar="REV", help="branch, tag or commit of the model (default: main)")
    add("--output-dir", metavar="DIR", help="folder that gets the model and keeps the checkpoints")
    add("--push-to-hub", nargs="?", const=True, type=yes_or_no, help="with --hub-model-id: accepted, it is the default")
    add("--hub-model-id", metavar="R", help="the same as OUTPUT on the Hub")


def _add_data_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", "--dataset-config", metavar="NAME", help="config (subset) of the dataset; default: its default")
    add("--split", "--dataset-train-split", metavar="NAME", help="split to train on; default: train, else the first")
    add("--revision", "--dataset-revision", metavar="REV", help="branch, tag or commit of the dataset")
    add("--map", nargs="+", default=[], metavar="OLD=NEW", help="rename columns first; conversations get TRL's form")
    add(
        "--as-chat", action="store_true", help="make conversations of texts: prompt the user's, answers the assistant's"
    )
    add(
        "--skip-bad-rows",
        action="store_true",
        help="leave rows out that lack what the method needs, instead of stopping",
    )
    add("--max-samples", type=positive_number, metavar="N", help="read only the first N rows")
    add("--eval-split", "--dataset-test-split", metavar="NAME", help="split to evaluate on; default: made, if it pays")
    add(
        "--eval-strategy",
        choices=("auto", "steps", "no"),
        default="auto",
        help="evaluate or not (default: %(default)s)",
    )
    add("--max-length", type=positive_number, metavar="N", help="tokens of a row; default: what 99 of 100 rows keep to")
    add("--chat-template-path", metavar="M", help="take the chat template of this model, or of a .jinja file")
    add("--eos-token", metavar="T", help="token that ends a turn; default: the tokenizer's")


def _add_tuning_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--full", action="store_true", help="train all weights; default: LoRA adapters on all linear layers")
    add("--use-peft", nargs="?", const=True, type=yes_or_no, help="accepted: LoRA is the default")
    add("--load-in-4bit", nargs="?", const=True, default=False, type=yes_or_no, help="QLoRA (needs bitsandbytes)")
    add("--adapter", metavar="A", help="go on from this LoRA adapter of the model, instead of a new one")
    add("--lora-r", type=positive_number, metavar="R", help="rank of the adapters (default: 16)")
    add("--lora-alpha", type=positive_number, metavar="A", help="their scale (default: twice the rank)")
    add("--lora-dropout", type=not_negative, metavar="P", help="their dropout (default: 0)")
    add("--lora-target-modules", nargs="+", metavar="NAME", help="layers that get one (default: all linear ones)")
    add("--merge", action="store_true", help="push the merged model too; the adapter is then in the folder adapter/")
    add(
        "--dtype",
        "--torch-dtype",
        choices=("auto", "bfloat16", "float16", "float32"),
        default="auto",
        help="of weights",
    )
    add("--attn-implementation", metavar="NAME", help="attention kernel; default: flash_attention_2 where installed")
    add("--gradient-checkpointing", nargs="?", const=True, type=yes_or_no, help="default: where memory asks for it")


def _add_step_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--learning-rate", type=positive_amount, metavar="LR", help="highest learning rate; default: by what is trained"
    )
    add("--num-train-epochs", "--epochs", type=positive_amount, metavar="E", help="passes over the rows (default: 1)")
    add(
        "--max-steps", type=int, default=-1, metavar="N", help="stop after N optimizer steps: a smoke test, or a budget"
    )
    number = {"type": positive_number, "metavar": "N"}
    add(
        "--per-device-train-batch-size",
        "--batch-size",
        help="rows a device takes at once; default: what fits",
        **number,
    )
    add("--gradient-accumulation-steps", help="passes to a step; default: up to 16 rows a step", **number)
    add("--lr-scheduler-type", default="cosine", metavar="NAME", help="learning rate schedule (default: %(default)s)")
    add("--warmup-steps", type=not_negative, default=0.1, metavar="N", help="below 1 a share (default: %(default)s)")
    add("--weight-decay", type=not_negative, default=0.0, metavar="W", help="of AdamW (default: %(default)s)")
    add("--optim", default="adamw_torch", metavar="NAME", help="optimizer (default: %(default)s)")
    add("--logging-steps", help="steps to a line (default: 10, fewer in short runs)", **number)
    add("--save-steps", help="steps to a checkpoint; default: a tenth of the run", **number)
    add("--eval-steps", help="steps to an evaluation; default: as --save-steps", **number)
    add("--save-total-limit", default=2, help="checkpoints kept, here and on the Hub (default: %(default)s)", **number)
    add("--seed", type=int, default=42, metavar="N", help="seed of data order and adapters (default: %(default)s)")


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--num-processes", type=positive_number, metavar="N", help="processes; default: one for each GPU, else one")
    add("--run-name", metavar="NAME", help="name of the run in Trackio; default: a new one for each training")
    add("--project", metavar="NAME", help="project in Trackio; default: the name of the script")
    add("--trackio-space", "--trackio-space-id", metavar="SPACE", help="Space with the figures; on Jobs USER/trackio")
    add("--commit-every", type=not_negative, default=60.0, metavar="S", help="seconds between pushes (default: 60)")
    add("--force", action="store_true", help="start although the memory estimate says that it does not fit")
    add(
        "--overwrite",
        action="store_true",
        help="replace what another run, or this one once complete, left in the output",
    )
    privacy = parser.add_mutually_exclusive_group()
    privacy.add_argument("--private", "--hub-private-repo", action="store_true", help="make the new repository private")
    privacy.add_argument("--public", action="store_true", help="push a public model although the dataset is private")
    add("--dry-run", action="store_true", help="check everything, print the plan and what it costs, train nothing")
    add("--json", action="store_true", help="print one JSON object on standard output and nothing else")


# --- end block ---


# --- block: train_data 1 (jobshelf) ---
TRAIN_JUDGED, TRAIN_MEASURED = 20_000, 1000
TRAIN_EVAL_SHARE, TRAIN_EVAL_MOST, TRAIN_EVAL_FROM = 0.05, 500, 1000
# What a method can be fed after renaming: each a set of columns with the words that the columns of a dataset have.
TRAIN_WANTED: dict[str, tuple[dict[str, Sequence[str]], ...]] = {
    "SFT": ({"prompt": PROMPT_WORDS, "completion": RESPONSE_WORDS}, {"messages": CHAT_WORDS}, {"text": TEXT_WORDS}),
    "DPO": ({"prompt": PROMPT_WORDS, "chosen": CHOSEN_WORDS, "rejected": REJECTED_WORDS},),
    "Reward": ({"prompt": PROMPT_WORDS, "chosen": CHOSEN_WORDS, "rejected": REJECTED_WORDS},),
    "GRPO": ({"prompt": PROMPT_WORDS},),
}
_TRAIN_TEXTS = ("text", "messages", "conversations")
_TRAIN_FOREIGN = CHATS - {"messages"}
_TRAIN_ROLES = {"prompt": "user", "completion": "assistant", "chosen": "assistant", "rejected": "assistant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainLengths:
    """Tokens of the rows: mean, what 50 and 99 of 100 rows keep to, the longest; of how many rows (`rows`: of all)."""

    rows: int
    measured: int
    mean: float
    middle: int
    most: int
    longest: int


def read_examples(source: Source, token: str | None, most: int | None) -> Dataset:
    """Return the rows of `source`, the first `most` of them; stop with 4 when they cannot be read or there are none."""
    from datasets import Dataset, concatenate_datasets, disable_progress_bars
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()
    files = [_train_file(source, file, token) for file in source.files]
    try:
        if source.format == "arrow":
            rows = concatenate_datasets([Dataset.from_file(file) for file in files])
        elif source.format == "parquet":
            rows = Dataset.from_parquet(files)
        elif source.format == "csv":
            rows = Dataset.from_csv(files, sep="\t" if files[0].lower().endswith(".tsv") else ",")
        else:
            rows = Dataset.from_json(files)
    except StopIteration:  # what the reader of JSON makes of an empty file
        raise _no_rows(source) from None
    except (DatasetGenerationError, ValueError, OSError) as error:
        if "corresponds to no data" in str(error):
            raise _no_rows(source) from error
        raise unreadable(source, source.files[0], error.__cause__ or error) from error  # type: ignore[arg-type]
    if not len(rows):
        raise _no_rows(source)
    return rows.select(range(min(most, len(rows)))) if most else rows


def prepare_examples(
    rows: Dataset,
    method: str,
    renames: Sequence[str],
    label: str,
    *,
    as_chat: bool = False,
    skip_bad: bool = False,
) -> Dataset:
    """Return `rows` as `method` takes them after the `renames` of --map; stop with 4, and the --map to add, otherwise.

    A conversation in another form than TRL's (ShareGPT, JSON text, other names of roles) gets that form when --map names
    it. With `as_chat`, texts become turns of user and assistant; with `skip_bad`, rows that are not usable go.
    """
    if renames:
        rows = rename_columns(rows, renames, label)
        rows = _with_turns(rows, [text.partition("=")[2] for text in renames])
    if as_chat:
        rows = _with_chats(rows, label)
    if skip_bad:
        rows = _without_bad(rows, method, label)
    verdict = judge_examples(rows, method)
    if verdict.status != READY:
        message = f"{label} is not what {method} takes: {verdict.reason}"
        raise Stop(EXIT_INPUT, message, fix=_train_fix(rows, method, verdict))
    for text in verdict.notes:
        note(text)
    return rows


def rename_columns(rows: Dataset, renames: Sequence[str], label: str) -> Dataset:
    """Return `rows` with columns renamed as in `["instruction=prompt", ...]`."""
    pairs = [text.partition("=")[::2] for text in renames]
    if not all(old and new for old, new in pairs):
        raise Stop(EXIT_USAGE, f"--map {' '.join(renames)} is no renaming", fix="write --map OLD=NEW")
    names = dict(pairs)
    require_columns(names, rows.column_names, where=label)
    taken = [new for new in names.values() if new in rows.column_names and new not in names]
    if taken or len(set(names.values())) < len(names):
        name = taken[0] if taken else next(iter(names.values()))
        message = f"--map would make a second column {name!r} in {label}"
        raise Stop(EXIT_USAGE, message, fix=f"move the other one away: --map {name}=other_{name} ...")
    return rows.rename_columns(names)


def judge_examples(rows: Dataset, method: str) -> Verdict:
    """Return what `method` makes of at most TRAIN_JUDGED rows, evenly spread."""
    verdicts = inspect_rows(_spread_rows(rows, TRAIN_JUDGED), dict.fromkeys(rows.column_names, ""))
    return verdicts[METHODS.index(method)]


def hold_out(
    rows: Dataset, source: Source, token: str | None, *, asked: str | None, strategy: str, smoke: bool, seed: int
) -> tuple[Dataset, Dataset | None, str]:
    """Return the rows to train on, those to evaluate on (None: no evaluation), and why.

    The split `asked` for is taken as it is; otherwise one is made where there are rows enough for it to pay.
    """
    if strategy == "no":
        return rows, None, "no evaluation: --eval-strategy no"
    if asked:
        pinned = None if "@" in source.given else source.commit
        named = resolve_source(source.given, config=source.config, split=asked, revision=pinned, token=token)
        return rows, read_examples(named, token, None), f"evaluated on the split {asked}"
    if strategy == "auto" and (smoke or len(rows) < TRAIN_EVAL_FROM):
        why = "--max-steps is a smoke test or a budget" if smoke else f"fewer than {TRAIN_EVAL_FROM:,} rows"
        return rows, None, f"no evaluation: {why}"
    count = max(1, min(TRAIN_EVAL_MOST, round(TRAIN_EVAL_SHARE * len(rows))))
    if count >= len(rows):
        raise Stop(EXIT_INPUT, f"{len(rows)} rows cannot be split", fix="add --eval-strategy no, or --eval-split NAME")
    parts = rows.train_test_split(test_size=count, seed=seed)
    return parts["train"], parts["test"], f"evaluated on {count} rows held out"


def measure_lengths(rows: Dataset, tokenizer: PreTrainedTokenizerBase, label: str) -> TrainLengths:
    """Return how many tokens a row is, prompt and answer together, the longer one of two answers."""
    sample = _spread_rows(rows, TRAIN_MEASURED)
    chats = any(isinstance(value, list) and value and isinstance(value[0], Mapping) for value in sample[0].values())
    if chats and not tokenizer.chat_template:
        message = f"{label} holds conversations, and the tokenizer of {tokenizer.name_or_path} has no chat template"
        fix = "train the instruct version of the model, or add --chat-template-path MODEL, whose template to take"
        raise Stop(EXIT_INPUT, message, fix=fix)
    try:
        lengths = sorted(max(_tokens_of(sequence, tokenizer) for sequence in _sequences(row)) for row in sample)
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "jinja2":
            raise
        message = f"the chat template of {tokenizer.name_or_path} refuses a conversation of {label}: {one_line(error)}"
        fix = "mend these rows, or take another template with --chat-template-path"
        raise Stop(EXIT_INPUT, message, fix=fix) from error
    if not lengths[-1]:
        raise Stop(EXIT_INPUT, f"the rows of {label} hold no text", fix="name another --config or --split")
    return TrainLengths(
        rows=len(rows),
        measured=len(lengths),
        mean=sum(lengths) / len(lengths),
        middle=lengths[len(lengths) // 2],
        most=lengths[min(len(lengths) - 1, math.ceil(0.99 * len(lengths)) - 1)],
        longest=lengths[-1],
    )


def _no_rows(source: Source) -> Stop:
    message = f"the split {source.split!r} of {source.given} has no rows"
    return Stop(EXIT_INPUT, message, fix="name another --config or --split")


def _train_file(source: Source, file: str, token: str | None) -> str:
    if source.folder is not None:
        return str(source.folder / file)
    from huggingface_hub import hf_hub_download

    where = {"repo_id": str(source.repo_id), "repo_type": "dataset", "revision": source.commit}
    return retry(lambda: hf_hub_download(filename=file, token=token or False, **where), what=f"reading {file}")


def _spread_rows(rows: Dataset, most: int) -> list[dict[str, Any]]:
    """Return at most `most` rows, evenly apart, always the same ones."""
    if len(rows) <= most:
        return rows.to_list()
    return rows.select([number * len(rows) // most for number in range(most)]).to_list()


def _train_fix(rows: Dataset, method: str, verdict: Verdict) -> str:
    """Return the --map that makes the rows fit, where one does, else where the code is to be had that does."""
    head = rows.select(range(min(100, len(rows)))).to_list()
    for wanted in TRAIN_WANTED[method]:
        renames = _likely_renames(rows.column_names, wanted)
        if len(renames) < len(wanted):
            continue
        names = {old: new for new, old in renames.items()}
        mapped = [
            {names.get(name, name): _turns_of(value) if name in names else value for name, value in row.items()}
            for row in head
        ]
        if inspect_rows(mapped)[METHODS.index(method)].status == READY:
            foreign = [old for old in names if kind_of(head[0][old]) in _TRAIN_FOREIGN]
            changed = [f"{old}={new}" for old, new in names.items() if old != new or old in foreign]
            return f"add --map {' '.join(changed)}" if changed else "add --skip-bad-rows"
    if verdict.mapping:
        return f"map it first: dataset_inspector.py --require {method.lower()} prints the code for this dataset"
    return "use another dataset, or another trainer: dataset_inspector.py says which one it can feed"


def _likely_renames(columns: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return wanted column -> the column whose name says so, for those that have one."""
    found: dict[str, str] = {}
    for new, words in wanted.items():
        free = [name for name in columns if name not in found.values()]
        named = [name for word in (new, *words) for name in free if name.lower() == word]
        if named:
            found[new] = named[0]
    return found


def _without_bad(rows: Dataset, method: str, label: str) -> Dataset:
    """Return the rows that `method` takes, each judged alone."""
    place = METHODS.index(method)
    kept = rows.filter(lambda row: inspect_rows([row])[place].status == READY)
    note(f"{len(rows) - len(kept):,} of {len(rows):,} rows of {label} are skipped: they lack what {method} needs")
    return kept if len(kept) else rows


def _with_turns(rows: Dataset, names: Sequence[str]) -> Dataset:
    """Return `rows` with the conversations among the columns `names` in TRL's form."""
    head = rows.select(range(min(100, len(rows)))).to_list()
    chats = [name for name in names if any(kind_of(row[name]) in _TRAIN_FOREIGN for row in head)]
    return rows.map(lambda row: {name: _turns_of(row[name]) for name in chats}) if chats else rows


def _with_chats(rows: Dataset, label: str) -> Dataset:
    names = [name for name in _TRAIN_ROLES if name in rows.column_names and isinstance(rows[0][name], str)]
    if "prompt" not in names:
        fix = "name the column with the prompts: --map NAME=prompt"
        raise Stop(EXIT_INPUT, f"--as-chat finds no column 'prompt' with text in {label}", fix=fix)
    return rows.map(lambda row: {name: [{"role": _TRAIN_ROLES[name], "content": row[name]}] for name in names})


def _turns_of(value: Any) -> Any:  # noqa: ANN401 - a value of any column
    """Return a conversation in TRL's form; anything else as it is."""
    if kind_of(value) not in CHATS:
        return value
    turns = json.loads(value) if isinstance(value, str) else value
    return [_turn_of(turn) for turn in turns if turn]


def _turn_of(turn: Mapping[str, Any]) -> dict[str, Any]:
    role = str(next((turn[key] for key in ROLE_KEYS if turn.get(key)), ""))
    content = next((turn[key] for key in CONTENT_KEYS if turn.get(key) is not None), None)
    kept = {name: turn[name] for name in ("tool_calls", "name") if turn.get(name)}
    return {"role": ROLE_NAMES.get(role.lower(), role.lower()), "content": content, **kept}


def _sequences(row: Mapping[str, Any]) -> list[object]:
    """Return what becomes a sequence of tokens: one, or both of a preference."""
    if row.get("input_ids"):
        return [row["input_ids"]]
    if "chosen" in row and "rejected" in row:
        return [_joined(row.get("prompt"), row[name]) for name in ("chosen", "rejected")]
    if "prompt" in row:
        return [_joined(row["prompt"], row.get("completion"))]
    return [next((row[name] for name in _TRAIN_TEXTS if row.get(name)), "")]


def _joined(prompt: object, answer: object) -> object:
    if isinstance(prompt, list) or isinstance(answer, list):
        return [*(prompt or []), *(answer or [])]  # type: ignore[misc]
    return f"{prompt or ''}{answer or ''}"


def _tokens_of(sequence: object, tokenizer: PreTrainedTokenizerBase) -> int:
    if isinstance(sequence, str):
        return len(tokenizer(sequence, verbose=False)["input_ids"])
    if not isinstance(sequence, list) or not sequence or not isinstance(sequence[0], Mapping):
        return len(sequence) if isinstance(sequence, list) else 0
    turns = [
        turn if "role" in turn else {"role": ROLE_NAMES.get(turn["from"], turn["from"]), "content": turn["value"]}
        for turn in sequence
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])


# --- end block ---


# --- block: train_recipe 1 (jobshelf) ---
TRAIN_ROWS_A_STEP = 16
TRAIN_LONGEST = 4096  # tokens of a row by default; longer ones are cut, and it is said how many
# GPUs whose tensor cores do not know bfloat16 (before NVIDIA's Ampere).
TRAIN_NO_BF16 = ("T4", "V100", "P100", "P40", "GTX", "RTX 20", "QUADRO RTX", "TITAN")
_TRAIN_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainMachine:
    """What there is to train on: one device (`flavor`: one GPU, or the machine without one) for each of `processes`."""

    flavor: Flavor
    processes: int

    @property
    def on_cpu(self) -> bool:
        """Whether there is no GPU."""
        return not self.flavor.gpus

    @property
    def has_bf16(self) -> bool:
        """Whether its GPU computes in bfloat16."""
        return not self.on_cpu and not any(name in self.flavor.gpu.upper() for name in TRAIN_NO_BF16)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSetting:
    """One choice and what it rests on."""

    value: Any
    reason: str


class TrainRecipe:
    """The settings of a training by name; `recipe["batch"]` is a value."""

    def __init__(self, settings: Mapping[str, TrainSetting] | None = None) -> None:
        self.settings: dict[str, TrainSetting] = dict(settings or {})

    def __getitem__(self, name: str) -> Any:  # noqa: ANN401 - settings are of all kinds
        return self.settings[name].value

    def choose(self, name: str, asked: Any, otherwise: Any, reason: str) -> Any:  # noqa: ANN401 - as above
        """Take what was asked for, else `otherwise` for its `reason`; return it."""
        found = (
            TrainSetting(value=otherwise, reason=reason)
            if asked is None
            else TrainSetting(value=asked, reason="asked for")
        )
        self.settings[name] = found
        return found.value

    def to_json(self) -> dict[str, list[Any]]:
        """Return it as plain values."""
        return {name: [one.value, one.reason] for name, one in self.settings.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Sequence[Any]]) -> TrainRecipe:
        """Return what `to_json` wrote."""
        return cls({name: TrainSetting(value=value, reason=reason) for name, (value, reason) in values.items()})

    def lines(self) -> list[str]:
        """Return it for a reader, a line each."""
        shown = {
            name: f"{one.value:g}" if isinstance(one.value, float) else str(one.value)
            for name, one in self.settings.items()
        }
        width = max(map(len, shown))
        return [f"{name:<{width}}  {text:<12}  {self.settings[name].reason}" for name, text in shown.items()]


def this_machine(processes: int | None) -> TrainMachine:
    """Return what this machine has, as far as this process may use it."""
    gpus = list_gpus()
    ram = available_ram()
    flavor = Flavor(
        name="this machine",
        vcpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        ram_gb=ram / 1e9 if ram else math.inf,
        disk_gb=0.0,
        usd_per_hour=0.0,
        gpus=1 if gpus else 0,
        vram_gb=min((gpu.memory for gpu in gpus), default=0) / 1e9,
        gpu=gpus[0].name if gpus else "",
    )
    if gpus and processes and processes > len(gpus):
        message = f"{processes} processes asked for, and this machine has {len(gpus)} GPUs"
        raise Stop(EXIT_USAGE, message, fix=f"write --num-processes {len(gpus)}, or nothing")
    count = processes or max(1, len(gpus))
    if not gpus and count > 1:
        flavor = replace(flavor, ram_gb=flavor.ram_gb / count, vcpus=max(1, flavor.vcpus // count))
    return TrainMachine(flavor=flavor, processes=count)


def choose_recipe(
    args: argparse.Namespace,
    *,
    method: str,
    rates: Mapping[str, float],
    model: Model,
    lengths: TrainLengths,
    machine: TrainMachine,
    packs: bool = False,
    evaluates: bool = False,
    generations: int = 0,
    answer: int = 0,
) -> TrainRecipe:
    """Return the settings. `method` is fit's name of it, `rates` the learning rates by tuning, `packs` whether it can pack.

    `generations` and `answer` are those of grpo where nothing else was asked for: answers to a prompt, and tokens of the
    longest.
    """
    recipe = TrainRecipe()
    tuning = "full" if args.full else "qlora" if args.load_in_4bit else "lora"
    reasons = {"full": "--full", "qlora": "--load-in-4bit", "lora": "--full trains all weights"}
    recipe.choose("tuning", None, tuning, reasons[tuning])
    if tuning != "full":
        rank = recipe.choose("lora_r", args.lora_r, 16, "enough for most data sets")
        recipe.choose("lora_alpha", args.lora_alpha, 2 * rank, "twice the rank")
        recipe.choose("lora_dropout", args.lora_dropout, 0.0, "one pass over the data does not overfit")
        recipe.choose(
            "lora_targets", args.lora_target_modules, "all-linear", "as good as all weights, attention alone is not"
        )
    _choose_numbers(recipe, args, tuning, machine)
    _choose_lengths(recipe, args, lengths, model, machine, packs=packs)
    if generations:
        recipe.choose("num_generations", args.num_generations, generations, "answers to a prompt, as in TRL")
        reason = "tokens of an answer, as in TRL; half of the context at most"
        recipe.choose("max_completion_length", args.max_completion_length, answer, reason)
    run = Training(
        method=method,
        tuning=tuning,
        length=recipe["max_length"],
        rank=args.lora_r or 16,
        generations=_group(recipe),
        answer=recipe["max_completion_length"] if generations else 0,
    )
    _choose_batch(recipe, args, _stored(model, recipe), run, machine)
    recipe.choose(
        "learning_rate", args.learning_rate, rates["full" if tuning == "full" else "lora"], f"{method}, {tuning}"
    )
    _choose_steps(recipe, args, lengths, machine, evaluates=evaluates)
    return recipe


def check_fit(
    recipe: TrainRecipe, model: Model, lengths: TrainLengths, machine: TrainMachine, *, method: str, force: bool
) -> list[str]:
    """Return what memory, time and money it takes, in lines; stop with 5 when the memory is not there, unless `force`."""
    run = _planned(recipe, method)
    model = _stored(model, recipe)
    memory, usable = training_memory(model, run, batch=recipe["batch"]), usable_memory(machine.flavor)
    rows = math.ceil(recipe["steps"] * recipe["batch"] * recipe["accumulation"] * machine.processes / _group(recipe))
    each = recipe["max_length"] if recipe["packing"] else min(lengths.mean, recipe["max_length"])
    work = Work(rows=rows, tokens=(rows * each, rows * each, rows * each))
    elsewhere = rank_estimates(
        estimate_training(model, replace(run, batch=0), work, flavor) for flavor in FLAVORS.values()
    )
    if memory.total > usable:
        refusal = _does_not_fit(recipe, memory, usable, machine, elsewhere[0])
        if not force:
            raise refusal
        note(f"{refusal.message}; started all the same (--force)")
    return list(_told_costs(model, run, work, memory, usable, machine, elsewhere[0]))


def print_recipe(recipe: TrainRecipe, costs: Sequence[str]) -> None:
    """Print the settings with their reasons, then memory, time and money, on stderr."""
    print("\n".join(["settings:", *(f"  {line}" for line in recipe.lines()), *costs]), file=sys.stderr, flush=True)


def require_4bit() -> None:
    """Stop with 5 when the package of QLoRA is not installed."""
    if importlib.util.find_spec("bitsandbytes") is None:
        message = "--load-in-4bit needs the package bitsandbytes, which this script does not bring along"
        raise Stop(
            EXIT_ENVIRONMENT, message, fix="run it with `uv run --with bitsandbytes ...`, or leave --load-in-4bit out"
        )


def _choose_numbers(recipe: TrainRecipe, args: argparse.Namespace, tuning: str, machine: TrainMachine) -> None:
    """Choose the types of weights and of the computation, and the attention kernel."""
    gpu = machine.flavor.gpu or "no GPU"
    half = "bfloat16" if machine.has_bf16 else "float16"
    asked = None if args.dtype == "auto" else args.dtype
    if machine.on_cpu:
        recipe.choose("dtype", asked, "float32", "no GPU")
    elif tuning == "full":
        recipe.choose("dtype", asked, "float32", "small updates get lost in 16 bits; computed in 16 bits")
    else:
        recipe.choose("dtype", asked, half, f"frozen weights; {gpu} {'has' if machine.has_bf16 else 'lacks'} bfloat16")
    recipe.choose("bf16", None, machine.has_bf16, gpu)
    recipe.choose("fp16", None, not machine.on_cpu and not machine.has_bf16, gpu)
    flash = machine.has_bf16 and importlib.util.find_spec("flash_attn") is not None
    reason = "flash-attn is installed" if flash else "flash-attn is not installed" if machine.has_bf16 else gpu
    recipe.choose("attention", args.attn_implementation, "flash_attention_2" if flash else "sdpa", reason)


def _choose_lengths(
    recipe: TrainRecipe,
    args: argparse.Namespace,
    lengths: TrainLengths,
    model: Model,
    machine: TrainMachine,
    *,
    packs: bool,
) -> None:
    context = model.shape.context or TRAIN_LONGEST
    if args.max_length and args.max_length > context:
        message = f"--max-length {args.max_length} is more than the context of the model, {context} tokens"
        raise Stop(EXIT_USAGE, message, fix=f"write --max-length {context}, or less")
    longest = min(context, TRAIN_LONGEST, 64 * math.ceil(lengths.most / 64))
    reason = (
        f"99 of 100 rows have at most {lengths.most:,} tokens, the longest {lengths.longest:,}, the context {context:,}"
    )
    chosen = recipe.choose("max_length", args.max_length, longest, reason)
    if lengths.longest > chosen:
        note(
            f"rows of more than {chosen:,} tokens are cut there: --max-length {min(context, lengths.longest)} keeps more"
        )
    flash = str(recipe["attention"]).startswith(("flash", "kernels"))
    asked = getattr(args, "packing", None) if packs else False
    recipe.choose(
        "packing", asked, packs and flash, "pays with a flash attention kernel" if packs else "not in this method"
    )
    grouped = packs and not recipe["packing"]
    recipe.choose(
        "grouped", None, grouped, "rows of alike lengths make little padding" if grouped else "nothing to group"
    )


def _choose_batch(
    recipe: TrainRecipe, args: argparse.Namespace, model: Model, run: Training, machine: TrainMachine
) -> None:
    """Choose rows at once, passes to a step and gradient checkpointing: as little of it as memory allows."""
    wanted = max(1, TRAIN_ROWS_A_STEP // machine.processes)
    asked = args.per_device_train_batch_size
    enough = asked or min(4, wanted)
    fits = {flag: largest_batch(model, replace(run, checkpointing=flag), machine.flavor) for flag in (False, True)}
    checkpointing = fits[False] < enough
    reason = "activations do not fit without" if checkpointing else "activations fit without, which is faster"
    flag = recipe.choose("checkpointing", args.gradient_checkpointing, checkpointing, reason)
    batch = min(wanted, max(1, fits[flag]))
    recipe.choose("batch", asked, batch, f"fits on {machine.flavor.gpu or 'this machine'}, 8 at most")
    alone = _group(recipe) // math.gcd(_group(recipe), recipe["batch"] * machine.processes)  # a step has whole groups
    passes = alone * math.ceil(max(1, round(wanted / recipe["batch"])) / alone)
    rows = recipe["batch"] * passes * machine.processes
    recipe.choose("accumulation", args.gradient_accumulation_steps, passes, f"{rows} rows a step")


def _choose_steps(
    recipe: TrainRecipe, args: argparse.Namespace, lengths: TrainLengths, machine: TrainMachine, *, evaluates: bool
) -> None:
    epochs = recipe.choose("epochs", args.num_train_epochs, 1.0, "once through the data")
    packed = math.ceil(lengths.rows * lengths.mean / recipe["max_length"]) if recipe["packing"] else lengths.rows
    packed *= _group(recipe)
    a_step = recipe["batch"] * recipe["accumulation"] * machine.processes
    steps = max(1, math.ceil(math.ceil(packed / a_step) * epochs))
    recipe.choose(
        "steps", args.max_steps if args.max_steps > 0 else None, steps, f"{packed:,} sequences, {a_step} a step"
    )
    tenth = max(1, min(200, max(10, recipe["steps"] // 10)))
    saves = recipe.choose("save_steps", args.save_steps, tenth, "a tenth of the run, 10 to 200")
    recipe.choose(
        "eval_steps", args.eval_steps, saves if evaluates else 0, "as save_steps" if evaluates else "no evaluation"
    )
    recipe.choose(
        "logging_steps", args.logging_steps, max(1, min(10, recipe["steps"] // 10)), "10, fewer in a short run"
    )


def _group(recipe: TrainRecipe) -> int:
    """Return how many sequences one row becomes: the answers to a prompt in grpo, else 1."""
    return recipe["num_generations"] if "num_generations" in recipe.settings else 1


def _planned(recipe: TrainRecipe, method: str) -> Training:
    answer = recipe.settings.get("max_completion_length")
    return Training(
        method=method,
        tuning=recipe["tuning"],
        length=recipe["max_length"],
        batch=recipe["batch"],
        rank=16 if recipe["tuning"] == "full" else recipe["lora_r"],
        checkpointing=recipe["checkpointing"],
        generations=_group(recipe),
        answer=answer.value if answer else 0,
    )


def _stored(model: Model, recipe: TrainRecipe) -> Model:
    """Return the model with weights of the chosen type."""
    return replace(model, weight_bytes=_TRAIN_BYTES[recipe["dtype"]])


def _does_not_fit(
    recipe: TrainRecipe, memory: Memory, usable: float, machine: TrainMachine, elsewhere: Estimate
) -> Stop:
    where = f"a {machine.flavor.gpu}" if machine.flavor.gpus else "this machine"
    message = f"about {memory.total / 1e9:.1f} GB needed, {max(0.0, usable) / 1e9:.1f} GB usable on {where}"
    return Stop(EXIT_ENVIRONMENT, message, fix=memory_advice(recipe, "" if elsewhere.short else elsewhere.flavor.name))


def memory_advice(recipe: TrainRecipe, flavor: str = "") -> str:
    """Return the three settings that change how much memory a training takes, and the flavor that has more."""
    name = "max_completion_length" if "max_completion_length" in recipe.settings else "max_length"
    batch, length = max(1, recipe["batch"] // 2), max(64, recipe[name] // 2)
    third = "--load-in-4bit" if recipe["checkpointing"] and recipe["tuning"] == "lora" else "--gradient-checkpointing"
    third = "no --full" if recipe["checkpointing"] and recipe["tuning"] == "full" else third
    advice = f"change --per-device-train-batch-size {batch}, --{name.replace('_', '-')} {length}, {third}"
    return f"{advice}; or run it as a Job with --flavor {flavor}" if flavor else advice


def _told_costs(
    model: Model,
    run: Training,
    work: Work,
    memory: Memory,
    usable: float,
    machine: TrainMachine,
    elsewhere: Estimate,
) -> list[str]:
    has = f"{max(usable, 0) / 1e9:.1f} GB usable" if math.isfinite(usable) else "how much there is, is not known"
    lines = [f"memory: about {memory.total / 1e9:.2f} GB on a device, {has} ({machine.flavor.gpu or 'no GPU'})"]
    here = estimate_training(model, run, work, replace(machine.flavor, disk_gb=0.0))
    if not here.short:
        low, likely, high = (max(1.0, here.seconds[case] - FIT_START_SECONDS[case]) for case in range(3))
        spread = f"{progress_duration(low / machine.processes)} to {progress_duration(high / machine.processes)}"
        lines.append(f"time: about {progress_duration(likely / machine.processes)} here ({spread})")
    if not elsewhere.short:
        low, likely, high = elsewhere.seconds
        lines.append(
            f"cost: as a Job about ${elsewhere.usd[1]:.2f} on {elsewhere.flavor.name} (${elsewhere.usd[0]:.2f} to "
            f"${elsewhere.usd[2]:.2f}, {progress_duration(likely)}; prices of {FLAVORS_DATE}), "
            f"--timeout {elsewhere.timeout_minutes}m"
        )
    return lines


def disk_needed(recipe: TrainRecipe, model: Model, checkpoints: int) -> int:
    """Return the bytes that so many checkpoints and the model take: weights that are trained, and AdamW's two moments."""
    if recipe["tuning"] == "full":
        trained, each = model.parameters, _TRAIN_BYTES[recipe["dtype"]]
    else:
        trained, each = adapter_parameters(model.shape, recipe["lora_r"]), 4
    return 3 * each * trained * (checkpoints + 1)


# --- end block ---


# --- block: train_job 1 (jobshelf) ---
# What changes the model: a run with others of these is another run.
TRAIN_REQUEST = (
    *("model", "model_revision", "config", "split", "map", "as_chat", "skip_bad_rows", "max_samples", "eval_split"),
    *("eval_strategy", "max_length", "chat_template_path", "eos_token", "full", "load_in_4bit", "adapter", "lora_r"),
    *("lora_alpha", "lora_dropout", "lora_target_modules", "merge", "dtype", "learning_rate", "num_train_epochs"),
    *("max_steps", "lr_scheduler_type", "warmup_steps", "weight_decay", "optim", "per_device_train_batch_size"),
    *("gradient_accumulation_steps", "seed"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainBase:
    """The model to begin with: `name` is a Hub id or a folder, `commit` its commit, `licence` what its card states."""

    name: str
    commit: str | None
    model: Model
    config: Mapping[str, Any]
    licence: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainJob:
    """A training that was checked: input, model and output exist and fit together.

    `done` says that the output holds its result already; `resume` is the checkpoint to go on from.
    """

    target: TrainTarget
    source: Source
    base: TrainBase
    machine: TrainMachine
    run: Run
    resume: Checkpoint | None
    done: bool
    token: str | None
    private: bool
    run_name: str
    space: str | None

    @property
    def recipe(self) -> TrainRecipe | None:
        """The settings of the attempt that this one goes on from."""
        return TrainRecipe.from_json(self.resume.facts["recipe"]) if self.resume else None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPlan:
    """All that the training itself needs, as plain values: each of several processes reads it from a file."""

    method: str
    model: str
    revision: str | None
    label: str
    folder: str
    checkpoint: str | None
    repo_id: str | None
    run: Mapping[str, Any]
    recipe: Mapping[str, Any]
    options: Mapping[str, Any]
    run_name: str
    space: str | None
    private: bool
    processes: int
    on_cpu: bool

    @property
    def settings(self) -> TrainRecipe:
        """The recipe."""
        return TrainRecipe.from_json(self.recipe)

    @property
    def work(self) -> Path:
        """The folder with checkpoints, model and log."""
        return Path(self.folder)

    def write(self) -> Path:
        """Write it to its folder and return the file."""
        file = self.work / "plan.json"
        file.write_text(json.dumps(asdict(self), default=str), encoding="utf-8")
        return file

    @classmethod
    def read(cls, file: Path) -> TrainPlan:
        """Return what `write` wrote."""
        return cls(**json.loads(file.read_text(encoding="utf-8")))


def open_training(args: argparse.Namespace, script: str, *, extra: Sequence[str] = (), version: int) -> TrainJob:
    """Check token, output, input and model, and find the checkpoint to go on from; nothing is written, trained or downloaded yet.

    `extra` names the script's own options that change the model, `version` is its RESULT_VERSION.
    """
    target = train_target(args)
    token = require_write(target.repo_id) if target.repo_id else find_token()
    if args.load_in_4bit:
        require_4bit()
    machine = this_machine(args.num_processes)
    held = look_at_model(target.repo_id, token) if target.repo_id else None
    source = _find_source(args, args.revision, token)
    request = {name: getattr(args, name) for name in (*TRAIN_REQUEST, *extra)} | {"result_version": version}
    request |= {"dataset": source.repo_id or source.given}
    run = Run(script=script, request=json.loads(json.dumps(request)), source=source.identity)
    resume = _find_checkpoint(target, run, held, token)
    if resume and source.commit is None and resume.facts["source"] != source.identity:
        if not args.overwrite:
            message = f"{args.dataset} is not what {target} was begun with"
            raise Stop(EXIT_INPUT, message, fix="bring the old rows back, or add --overwrite to begin anew")
        resume = None
    if resume and not (args.revision or "@" in args.dataset):
        source = _find_source(args, resume.facts["dataset_commit"], token)
        run = replace(run, source=source.identity)
    private = args.private or (source.private and not args.public)
    done = _open_target(target, run, args, held=held, token=token, private=private)
    base = read_base(args.model, resume.facts["model_commit"] if resume else args.model_revision, token)
    user = who_am_i(token).get("name") if token and target.repo_id else None
    return TrainJob(
        target=target,
        source=source,
        base=base,
        machine=machine,
        run=run,
        resume=resume,
        done=done,
        token=token,
        private=private,
        run_name=args.run_name or (resume.facts["run_name"] if resume else new_run_name(f"{base.name}-{args.dataset}")),
        space=trackio_space(args.trackio_space, user),
    )


def read_base(name: str, revision: str | None, token: str | None) -> TrainBase:
    """Return the model to begin with; stop with 4 for what cannot be trained here (adapters, vision-language models)."""
    folder = Path(name).expanduser()
    facts = find_model(str(folder) if folder.is_dir() else name, token)
    commit = None if folder.is_dir() else (_commit_of(name, revision, token) if revision else facts.commit)
    config = _read_json(_small_file(name, "config.json", commit, token))
    kinds = config.get("architectures") or []
    if "vision_config" in config or any(
        kind.endswith(("ForConditionalGeneration", "ForImageTextToText")) for kind in kinds
    ):
        message = f"{name} is a vision-language model ({', '.join(kinds) or config.get('model_type')}): this script trains text models"
        fix = "name its text-only sibling, or use TRL's own sft_vlm.py example for images"
        raise Stop(EXIT_INPUT, message, fix=fix)
    return TrainBase(name=name, commit=commit, model=facts.model, config=config, licence=_licence(name, commit, token))


def _find_source(args: argparse.Namespace, revision: str | None, token: str | None) -> Source:
    return resolve_source(args.dataset, config=args.config, split=args.split, revision=revision, token=token)


def _find_checkpoint(target: TrainTarget, run: Run, held: ModelHeld | None, token: str | None) -> Checkpoint | None:
    """Return the newest complete checkpoint of this run, here or on the Hub; the one here when they are equally new.

    A run that came to its end has left none: what there is, is of an attempt that was interrupted, also with --overwrite.
    """
    here = newest_here(target.folder / CHECKPOINTS_FOLDER) if target.folder else None
    there = newest_on_hub(target.repo_id, held, token) if target.repo_id and held else None
    found = (one for one in (here, there) if one and one.facts["script"] == run.script)
    own = (one for one in found if one.facts["request"] == run.request)
    return max(own, key=lambda one: one.step, default=None)


def _open_target(
    target: TrainTarget, run: Run, args: argparse.Namespace, *, held: ModelHeld | None, token: str | None, private: bool
) -> bool:
    """Check that the output is this run's or nobody's; return whether it holds the finished model already."""
    if target.repo_id is None:
        return _open_folder(target.folder, run, overwrite=args.overwrite)
    open_model(target.repo_id, run, token=str(token), private=private, overwrite=args.overwrite, dry_run=True)
    if held is None or args.overwrite or held.manifest.get("source") != run.source:
        return False
    return any(name.endswith((".safetensors", ".bin")) and "/" not in name for name in held.files)


def _open_folder(folder: Path | None, run: Run, *, overwrite: bool) -> bool:
    if folder is None or not folder.exists():
        return False
    if not folder.is_dir():
        raise Stop(EXIT_USAGE, f"{folder} is a file", fix="name a folder")
    manifest = folder / MODEL_MANIFEST
    held = _read_json(manifest) if manifest.is_file() else {}
    begun = newest_here(folder / CHECKPOINTS_FOLDER)
    theirs = held or (begun.facts if begun else {})
    ours = theirs.get("script") == run.script and theirs.get("request") == run.request
    foreign = [path.name for path in folder.iterdir() if not path.name.startswith(".")]
    if foreign and not ours and not overwrite:
        if set(foreign) <= {CHECKPOINTS_FOLDER, "plan.json"} and not theirs:
            return False  # left by an attempt that was killed before its first checkpoint
        message = f"{folder} holds what is not of this run ({', '.join(sorted(foreign)[:3])})"
        raise Stop(EXIT_INPUT, message, fix="name another folder, or add --overwrite")
    return bool(held) and ours and not overwrite and held.get("source") == run.source


def _commit_of(name: str, revision: str | None, token: str | None) -> str:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    api = HfApi(token=token or False)
    try:
        return str(retry(lambda: api.model_info(name, revision=revision), what=f"reading {name}").sha)
    except RevisionNotFoundError as error:
        fix = "name a branch, tag or commit of it"
        raise Stop(EXIT_INPUT, f"{name} has no revision {revision!r}", fix=fix) from error
    except RepositoryNotFoundError as error:
        raise Stop(EXIT_INPUT, f"there is no model {name}", fix="check --model") from error


def _small_file(name: str, file: str, commit: str | None, token: str | None) -> Path | None:
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder / file if (folder / file).is_file() else None
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError

    try:
        found = retry(
            lambda: hf_hub_download(name, file, revision=commit, token=token or False), what=f"reading {file} of {name}"
        )
    except EntryNotFoundError:
        return None
    return Path(found)


def _read_json(file: Path | None) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8")) if file else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _licence(name: str, commit: str | None, token: str | None) -> str | None:
    """Return the licence that the card of the base model states."""
    from huggingface_hub import metadata_load

    card = _small_file(name, "README.md", commit, token)
    stated = (metadata_load(card) or {}).get("license") if card else None
    return stated if isinstance(stated, str) else None


def load_tokenizer(name: str, commit: str | None, options: Mapping[str, Any]) -> PreTrainedTokenizerBase:
    """Return the tokenizer of the model, with the chat template and the end token that `options` ask for."""
    from transformers import AutoTokenizer

    template, end = options["chat_template_path"], options["eos_token"]
    is_file = bool(template) and template.endswith((".jinja", ".j2"))
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=commit or "main")
        if is_file:
            tokenizer.chat_template = Path(template).read_text(encoding="utf-8")
        elif template:
            tokenizer.chat_template = AutoTokenizer.from_pretrained(template).chat_template
    except (OSError, ValueError) as error:
        message = f"the tokenizer or the chat template of {name} cannot be loaded: {one_line(error)[:300]}"
        raise Stop(EXIT_INPUT, message, fix="name a model that has one, and check --chat-template-path") from error
    if end:
        if end not in tokenizer.get_vocab():
            fix = "name one of its tokens with --eos-token"
            raise Stop(EXIT_INPUT, f"the tokenizer of {name} has no token {end!r}", fix=fix)
        tokenizer.eos_token = end
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def read_rows(job: TrainJob, args: argparse.Namespace, method: str) -> tuple[Dataset, Dataset | None]:
    """Return the rows to train on and those to evaluate on, as TRL takes them for `method`."""
    rows = read_examples(job.source, job.token, args.max_samples)
    changes = {"as_chat": args.as_chat, "skip_bad": args.skip_bad_rows}
    rows = prepare_examples(rows, method, args.map, job.source.label, **changes)
    rows, held_out, why = hold_out(
        rows,
        job.source,
        job.token,
        asked=args.eval_split,
        strategy=args.eval_strategy,
        smoke=args.max_steps > 0,
        seed=args.seed,
    )
    note(why)
    if held_out is not None and args.eval_split:
        label = f"the split {args.eval_split}"
        held_out = prepare_examples(held_out, method, args.map, label, **changes)
    return rows, held_out


def check_adapter(job: TrainJob, adapter: str | None) -> None:
    """Stop with 4 when the adapter to go on from is none, or belongs to another model."""
    if adapter is None:
        return
    config = _read_json(_small_file(adapter, "adapter_config.json", None, job.token))
    if not config:
        raise Stop(EXIT_INPUT, f"{adapter} holds no adapter_config.json", fix="name an adapter with --adapter")
    base = config.get("base_model_name_or_path")
    if base != job.base.name:
        message = f"{adapter} is an adapter for {base}, not for {job.base.name}"
        raise Stop(EXIT_INPUT, message, fix=f"write --model {base}, or leave --adapter out")


def make_plan(job: TrainJob, args: argparse.Namespace, recipe: TrainRecipe, method: str) -> TrainPlan:
    """Return the plan; the repository is there then, and so is the checkpoint to go on from."""
    if job.target.repo_id:
        settled = {"token": str(job.token), "private": job.private, "overwrite": args.overwrite, "dry_run": False}
        open_model(job.target.repo_id, job.run, **settled)
    folder = job.target.folder or Path(tempfile.mkdtemp(prefix="training-"))
    require_disk(disk_needed(recipe, job.base.model, args.save_total_limit), folder)
    checkpoints = folder / CHECKPOINTS_FOLDER
    if job.resume is None:
        shutil.rmtree(checkpoints, ignore_errors=True)
    checkpoints.mkdir(parents=True, exist_ok=True)
    path = job.resume.path if job.resume else None
    if job.resume and path is None:
        path = fetch_checkpoint(str(job.target.repo_id), job.resume, checkpoints, job.token)
    if job.resume:
        note(f"going on after step {job.resume.step}")
    return TrainPlan(
        method=method,
        model=job.base.name,
        revision=job.base.commit,
        label=job.source.label,
        folder=str(folder),
        checkpoint=str(path) if path else None,
        repo_id=job.target.repo_id,
        run=asdict(job.run) | {"dataset_commit": job.source.commit},
        recipe=recipe.to_json(),
        options=vars(args),
        run_name=job.run_name,
        space=job.space,
        private=job.private,
        processes=job.machine.processes,
        on_cpu=job.machine.on_cpu,
    )


# --- end block ---


# --- block: train_run 1 (jobshelf) ---
TRAIN_LOG = "training_log.jsonl"
_LAYER_NAMES = ("target_modules", "exclude_modules", "modules_to_save")
_TRAIN_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
_TRAIN_FULL = ("no space left on device", "file write failed", "disk quota exceeded")


def trainer_settings(plan: TrainPlan) -> dict[str, Any]:
    """Return the arguments that the configs of all TRL's trainers have."""
    recipe, options = plan.settings, plan.options
    return {
        "output_dir": str(plan.work / CHECKPOINTS_FOLDER),
        "model_init_kwargs": model_settings(plan),
        "per_device_train_batch_size": recipe["batch"],
        "per_device_eval_batch_size": recipe["batch"],
        "gradient_accumulation_steps": recipe["accumulation"],
        "gradient_checkpointing": recipe["checkpointing"],
        "learning_rate": recipe["learning_rate"],
        "num_train_epochs": recipe["epochs"],
        "max_steps": options["max_steps"],
        "lr_scheduler_type": options["lr_scheduler_type"],
        "warmup_steps": options["warmup_steps"],
        "weight_decay": options["weight_decay"],
        "optim": options["optim"],
        "bf16": recipe["bf16"],
        "fp16": recipe["fp16"],
        "use_cpu": plan.on_cpu,
        "ddp_find_unused_parameters": False,
        "dataloader_pin_memory": not plan.on_cpu,
        "logging_steps": recipe["logging_steps"],
        "logging_nan_inf_filter": False,  # else a loss that is no number passes as the mean of the others
        "save_steps": recipe["save_steps"],
        "save_total_limit": options["save_total_limit"],
        "eval_strategy": "steps" if recipe["eval_steps"] else "no",
        "eval_steps": recipe["eval_steps"] or None,
        "train_sampling_strategy": "group_by_length" if recipe["grouped"] else "random",
        "seed": options["seed"],
        "data_seed": options["seed"],
        "report_to": "none",  # to Trackio by TrainWatcher, which no Space can stop
        "disable_tqdm": True,
    }


def model_settings(plan: TrainPlan) -> dict[str, Any]:
    """Return how the model is loaded."""
    recipe = plan.settings
    return {"revision": plan.revision or "main", "dtype": recipe["dtype"], "attn_implementation": recipe["attention"]}


def adapter_settings(plan: TrainPlan, task: str) -> LoraConfig | None:
    """Return the new adapter for PEFT's `task` (CAUSAL_LM, SEQ_CLS), None when all weights or an old adapter are trained."""
    from peft import LoraConfig

    recipe = plan.settings
    if recipe["tuning"] == "full" or plan.options["adapter"]:
        return None
    return LoraConfig(
        r=recipe["lora_r"],
        lora_alpha=recipe["lora_alpha"],
        lora_dropout=recipe["lora_dropout"],
        target_modules=recipe["lora_targets"],
        task_type=task,
    )


def quantization_settings(plan: TrainPlan) -> Any:  # noqa: ANN401 - transformers' BitsAndBytesConfig
    """Return how QLoRA stores the frozen weights, None for any other tuning."""
    if not plan.options["load_in_4bit"]:
        return None
    import torch
    from transformers import BitsAndBytesConfig

    kind = getattr(torch, plan.settings["dtype"])
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=kind, bnb_4bit_use_double_quant=True
    )


def model_to_train(plan: TrainPlan, kind: str, **loading: Any) -> Any:  # noqa: ANN401 - a name, or a PeftModel
    """Return the name of the model, or the model with the adapter to go on from, loaded by transformers' class `kind`."""
    if not plan.options["adapter"]:
        return plan.model
    import transformers
    from peft import PeftModel

    loading |= model_settings(plan) | {"quantization_config": quantization_settings(plan)}
    base = getattr(transformers, kind).from_pretrained(plan.model, **loading)
    return PeftModel.from_pretrained(base, plan.options["adapter"], is_trainable=True)


class TrainWatcher:
    """What happens between the steps of a training; `callback()` is what a Trainer takes."""

    def __init__(self, plan: TrainPlan, pusher: CheckpointPusher | None, trackio: TrackioRun | None) -> None:
        self._plan, self._pusher, self._trackio = plan, pusher, trackio
        self._recipe = plan.settings
        self._progress: Progress | None = None
        self.stopping = False

    def callback(self) -> TrainerCallback:
        """Return the callback that hands the Trainer's events to this object."""
        from transformers import TrainerCallback

        watcher = self

        class Watch(TrainerCallback):
            def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
                watcher.begin(state.global_step, state.max_steps)

            def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
                watcher.begin_epoch(int(state.epoch or 0), _["train_dataloader"])

            def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
                watcher.end_step(control)

            def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:  # noqa: ANN401
                watcher.log(logs or {}, state.global_step, state.is_world_process_zero)

            def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
                if _together(state.is_world_process_zero):
                    watcher.save(Path(args.output_dir), state.global_step, last=state.global_step >= state.max_steps)

            def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ANN401
                watcher.end()

        return Watch()

    def begin(self, step: int, steps: int) -> None:
        """Show how far it is from here on."""
        if self._progress is None and launched_rank() == 0:
            self._progress = Progress(steps, "steps", start=step)
            self._progress.__enter__()

    def begin_epoch(self, epoch: int, loader: Any) -> None:  # noqa: ANN401 - accelerate's DataLoaderShard
        """Seed the order of the epoch: the sampler that groups by length takes it from wherever the common generator is."""
        if self._recipe["grouped"]:
            import torch

            batches = loader.batch_sampler
            while hasattr(batches, "batch_sampler"):
                batches = batches.batch_sampler
            sampler = batches.sampler
            sampler.generator = torch.Generator().manual_seed(self._plan.options["seed"] + epoch)
            # rows of a whole step, so that the order is the same in however many processes
            sampler.batch_size = self._recipe["batch"] * self._recipe["accumulation"] * self._plan.processes

    def end_step(self, control: Any) -> None:  # noqa: ANN401 - transformers' TrainerControl
        """Count the step; on SIGTERM save and stop; look at the loss before it is saved."""
        if self._progress is not None:
            self._progress.add()
        if _any_rank(self.stopping):
            self.stopping = True
            control.should_save = control.should_training_stop = True
        if control.should_save:
            control.should_log = True

    def log(self, figures: Mapping[str, Any], step: int, first: bool) -> None:
        """Report figures; stop with 4 when the loss is no number."""
        numbers = {name: float(value) for name, value in figures.items() if isinstance(value, int | float)}
        for name in ("loss", "eval_loss"):
            if not math.isfinite(numbers.get(name, 0.0)):
                raise _no_number(name, numbers[name], step, self._recipe)
        if first and self._trackio is not None:
            self._trackio.log({_trackio_name(name): value for name, value in numbers.items()}, step)
        shown = [
            f"{name} {numbers[name]:.4g}"
            for name in ("loss", "eval_loss", "reward", "eval_reward", "learning_rate")
            if name in numbers
        ]
        if first and shown:
            note(f"step {step}: {', '.join(shown)}")

    def save(self, folder: Path, step: int, *, last: bool) -> None:
        """Declare the checkpoint complete and push it; the last one is not pushed, as the model itself follows at once."""
        path = folder / f"checkpoint-{step}"
        (path / "training_args.bin").unlink(missing_ok=True)  # this machine's paths, and nothing that resuming needs
        seal_checkpoint(path, checkpoint_facts(self._plan))
        if self._pusher is not None and (not last or self.stopping):
            self._pusher.push(folder)

    def end(self) -> None:
        """Say how far it came."""
        if self._progress is not None:
            self._progress.__exit__(None, None, None)
            self._progress = None


def checkpoint_facts(plan: TrainPlan) -> dict[str, Any]:
    """Return what an attempt must know of the one that it goes on from."""
    return {
        "script": plan.run["script"],
        "request": plan.run["request"],
        "source": plan.run["source"],
        "dataset_commit": plan.run["dataset_commit"],
        "model_commit": plan.revision,
        "recipe": dict(plan.recipe),
        "run_name": plan.run_name,
    }


def run_training(make: Callable[[TrainPlan, TrainWatcher], Trainer], plan: TrainPlan) -> None:
    """Train by `plan` with the Trainer that `make` returns; the model, its tokenizer and the log are in the work folder then.

    Ends the process with 143 after a SIGTERM, once the checkpoint of the step that it was in is pushed.
    """
    from transformers import PrinterCallback

    first = launched_rank() == 0
    pusher, trackio = (_pusher(plan), _trackio(plan)) if first else (None, None)
    watcher = TrainWatcher(plan, pusher, trackio)
    with redirect_stdout(sys.stderr), _stopped_by_sigterm(watcher), _explained(plan):
        try:
            _hush()
            trainer = make(plan, watcher)
            trainer.remove_callback(PrinterCallback)  # TrainWatcher reports
            _count_on(trainer, plan.checkpoint)
            trainer.train(resume_from_checkpoint=plan.checkpoint)
            if not watcher.stopping:
                _save_model(trainer, plan)
        finally:
            watcher.end()
            if trackio is not None:
                trackio.finish()
            if pusher is not None and (watcher.stopping or sys.exc_info()[0]):
                pusher.close(CHECKPOINT_FLUSH_S)
            elif pusher is not None:
                pusher.cancel()
    if watcher.stopping:
        note("stopped by SIGTERM; the same command goes on from here")
        raise SystemExit(128 + signal.SIGTERM)


def launched_rank() -> int:
    """Return which of several processes this is, from 0."""
    return int(os.environ.get("RANK", "0")) if launched_plan() else 0


def train_in_processes(plan: TrainPlan, words: Sequence[str]) -> None:
    """Train by `plan` in processes of their own; end this one as they ended, where they failed."""
    file = plan.write()
    file.with_name(LAUNCH_CODE).unlink(missing_ok=True)
    code = launch(file, words, processes=plan.processes, on_cpu=plan.on_cpu)
    if code:
        raise SystemExit(code)


def follow_plan(train: Callable[[TrainPlan], None]) -> int:
    """Do in a launched process what the plan says; return the exit code."""
    train(TrainPlan.read(Path(str(launched_plan()))))
    return EXIT_DONE


def keep_examples(plan: TrainPlan, rows: Dataset, held_out: Dataset | None) -> None:
    """Put the rows where the processes that are launched find them."""
    rows.save_to_disk(str(plan.work / "rows"))
    if held_out is not None:
        held_out.save_to_disk(str(plan.work / "held-out"))


def kept_examples(plan: TrainPlan) -> tuple[Dataset, Dataset | None]:
    """Return what `keep_examples` kept."""
    from datasets import Dataset

    held_out = plan.work / "held-out"
    return Dataset.load_from_disk(str(plan.work / "rows")), (
        Dataset.load_from_disk(str(held_out)) if held_out.is_dir() else None
    )


def _pusher(plan: TrainPlan) -> CheckpointPusher | None:
    if plan.repo_id is None:
        return None
    run = Run(script=plan.run["script"], request=plan.run["request"], source=plan.run["source"])
    token = str(find_token())
    limit, every = plan.options["save_total_limit"], plan.options["commit_every"]
    return CheckpointPusher(plan.repo_id, run, token, limit=limit, every=every)


def _trackio(plan: TrainPlan) -> TrackioRun:
    project = plan.options["project"] or str(plan.run["script"]).removesuffix(".py")
    config = {"model": plan.model, "dataset": plan.label, **{name: value for name, (value, _) in plan.recipe.items()}}
    return TrackioRun(project, plan.run_name, space=plan.space, private=plan.private, config=config)


def _trackio_name(name: str) -> str:
    return f"eval/{name.removeprefix('eval_')}" if name.startswith("eval_") else f"train/{name}"


@contextmanager
def _stopped_by_sigterm(watcher: TrainWatcher) -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        watcher.stopping = True

    previous = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _explained(plan: TrainPlan) -> Iterator[None]:
    """Turn what the libraries raise when memory or disk runs out into a line that says what to change."""
    try:
        yield
    except (RuntimeError, OSError, MemoryError) as error:
        said = one_line(error).lower()
        kept = _last_kept(plan)
        if isinstance(error, MemoryError) or any(words in said for words in _TRAIN_MEMORY):
            message = f"out of memory{kept}"
            raise Stop(EXIT_ENVIRONMENT, message, fix=memory_advice(plan.settings)) from error
        full = getattr(error, "errno", None) in {errno.ENOSPC, errno.EDQUOT} or any(
            words in said for words in _TRAIN_FULL
        )
        if full or shutil.disk_usage(plan.work).free < 1_000_000:
            message = f"the disk of {plan.work} is full{kept}"
            fix = "free some space or name another --output-dir, and run the same command again"
            raise Stop(EXIT_ENVIRONMENT, message, fix=fix) from error
        raise


def _last_kept(plan: TrainPlan) -> str:
    found = newest_here(plan.work / CHECKPOINTS_FOLDER)
    return f"; the checkpoint of step {found.step} stays" if found else ""


def _no_number(name: str, value: float, step: int, recipe: TrainRecipe) -> Stop:
    message = f"the {name.replace('_', ' ')} is {value} at step {step}; checkpoints of earlier steps stay"
    lower = recipe["learning_rate"] / 10
    return Stop(EXIT_INPUT, message, fix=f"look for broken rows, or write --learning-rate {lower:g} --overwrite")


def _any_rank(flag: bool) -> bool:
    """Whether the flag is set in any of the processes; all must ask at the same step."""
    if launched_plan() is None:
        return flag
    import torch
    from accelerate import PartialState

    state = PartialState()
    asked = torch.tensor([float(flag)], device=state.device)
    torch.distributed.all_reduce(asked)
    return bool(asked.item())


def _together(first: bool) -> bool:
    """Wait until all processes are here; return whether this is the first one."""
    if launched_plan() is not None:
        from accelerate import PartialState

        PartialState().wait_for_everyone()
    return first


def _hush() -> None:
    """Leave deprecations to the libraries' own developers, and their bars to terminals."""
    import warnings

    from datasets import disable_progress_bars

    warnings.filterwarnings("ignore", category=FutureWarning)
    disable_progress_bars()


def _count_on(trainer: Trainer, checkpoint: str | None) -> None:
    """Let TRL's count of tokens go on from the checkpoint, in which it does not keep it."""
    if checkpoint is None or not hasattr(trainer, "_total_train_tokens"):
        return
    history = json.loads((Path(checkpoint) / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    counts = [entry["num_tokens"] for entry in history if "num_tokens" in entry]
    trainer._total_train_tokens = counts[-1] if counts else 0


def _save_model(trainer: Trainer, plan: TrainPlan) -> None:
    """Write the model with its tokenizer, and what the training logged, to the work folder."""
    folder = plan.work / "model"
    if launched_rank() == 0:
        shutil.rmtree(folder, ignore_errors=True)
    merge = plan.options["merge"] and not plan.options["full"]
    trainer.save_model(str(folder / "adapter" if merge else folder))
    if launched_rank() == 0:
        if merge:
            _save_merged(trainer, folder, plan)
        for name in ("README.md", "training_args.bin", "adapter/README.md", "adapter/training_args.bin"):
            (folder / name).unlink(missing_ok=True)
        for config in folder.rglob("adapter_config.json"):
            _sort_layers(config)
        lines = (json.dumps(entry, sort_keys=True) + "\n" for entry in _steady_log(trainer.state.log_history))
        (folder / TRAIN_LOG).write_text("".join(lines), encoding="utf-8")


def _sort_layers(config: Path) -> None:
    """Sort the names of the layers: PEFT holds them as a set, and would write the same adapter differently each time."""
    content = json.loads(config.read_text(encoding="utf-8"))
    content |= {name: sorted(content[name]) for name in _LAYER_NAMES if isinstance(content.get(name), list)}
    config.write_text(json.dumps(content, indent=2, sort_keys=True), encoding="utf-8")


def _save_merged(trainer: Trainer, folder: Path, plan: TrainPlan) -> None:
    import torch

    model = trainer.accelerator.unwrap_model(trainer.model)
    merged = model.merge_and_unload()
    if plan.settings["dtype"] == "float32" and not plan.on_cpu:
        merged = merged.to(torch.bfloat16)
    merged.save_pretrained(str(folder))
    if trainer.processing_class is not None:
        trainer.processing_class.save_pretrained(str(folder))


def _steady_log(history: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield what was logged, without durations and speeds: the same training logs the same."""
    for entry in history:
        if "train_runtime" not in entry:
            yield {
                name: value for name, value in entry.items() if not name.endswith(("_runtime", "_per_second", "_time"))
            }


# --- end block ---


# --- block: train_card 1 (jobshelf) ---
TRAIN_PLOT = "training.png"


def finish_training(
    job: TrainJob,
    plan: TrainPlan,
    args: argparse.Namespace,
    *,
    stamp: ScriptStamp,
    title: str,
    rows: int,
    kind: str,
    told: Sequence[str] = (),
) -> dict[str, Any]:
    """Persist the model with its log, plot and card; return the facts.

    `kind` is transformers' class that loads it, `told` what the card says after the figures, a section each.
    """
    folder = plan.work / "model"
    log = training_log(plan)
    (folder / TRAIN_PLOT).write_bytes(plot_training(log))

    def make_card(existing: str | None) -> str:
        return training_card(existing, job, plan, log, args, stamp=stamp, title=title, rows=rows, kind=kind, told=told)

    facts = {"steps": plan.settings["steps"], "rows": rows, **_last_figures(log)}
    if job.target.repo_id is None:
        _move_to_folder(job, folder, make_card)
        return facts | {"output": str(job.target)}
    _make_whole(folder, job.run, make_card)
    _await_hub(job.target.repo_id, job.token)
    commit = persist_model(job.target.repo_id, folder, job.run, token=str(job.token), make_card=make_card)
    shutil.rmtree(plan.work / CHECKPOINTS_FOLDER, ignore_errors=True)
    if job.target.folder is None:
        shutil.rmtree(plan.work, ignore_errors=True)
    else:
        _move_to_folder(job, folder, make_card)
    return facts | {"output": job.target.repo_id, "commit": commit}


def _make_whole(folder: Path, run: Run, make_card: Callable[[str | None], str]) -> None:
    """Put card and manifest into the folder: where the Hub refuses the model, somebody uploads it as it lies there."""
    (folder / "README.md").write_text(make_card(None), encoding="utf-8")
    nothing = ModelHeld(head="", private=False, files={}, manifest={}, card=None)
    manifest = _model_wanted(folder, run, nothing, None, "", keep=())[MODEL_MANIFEST]
    (folder / MODEL_MANIFEST).write_bytes(bytes(manifest))  # type: ignore[arg-type]


def _await_hub(repo_id: str, token: str | None) -> None:
    """Wait until the Hub answers, or for CHECKPOINT_FLUSH_S seconds: the model is made, and this disk may go with the Job."""
    deadline = time.monotonic() + CHECKPOINT_FLUSH_S
    while True:
        try:
            look_at_model(repo_id, token)
        except Stop as stop:
            if stop.code != EXIT_ENVIRONMENT or time.monotonic() > deadline:
                return  # persist_model says what can be done
            note(f"the model waits for the Hub ({stop.message})")
            time.sleep(CHECKPOINT_PAUSE_S)
        else:
            return


def training_card(
    existing: str | None,
    job: TrainJob,
    plan: TrainPlan,
    log: Sequence[Mapping[str, Any]],
    args: argparse.Namespace,
    *,
    stamp: ScriptStamp,
    title: str,
    rows: int,
    kind: str,
    told: Sequence[str] = (),
) -> str:
    """Return the model card: base, data and their commits, settings with reasons, figures, plot, versions, how to load it."""
    adapter = not args.full and not args.merge
    base, source = job.base, job.source
    tuning = {"lora": "LoRA", "qlora": "QLoRA", "full": "all weights"}[plan.settings["tuning"]]
    name = source.repo_id or source.given
    recipe = [{"setting": key, "value": one.value, "why": one.reason} for key, one in plan.settings.settings.items()]
    licence = base.licence or "not stated in its card"
    sections = [
        f"# {md(title)}",
        f"{md(base.name)}, trained with {md(plan.method)} ({tuning}) on {rows:,} rows of {md(name)} (split {md(source.split)}).",
        f"Base model: {md(base.name)}"
        + (f" at `{md(base.commit)}`" if base.commit else "")
        + f"; licence: {md(licence)}.",
        "## Load it\n\n" + _loading(job, kind, adapter=adapter),
        "## Figures\n\n" + md_table([{key: f"{value:.6g}" for key, value in _last_figures(log).items()}]),
        f"![{'Reward' if any('reward' in entry for entry in log) else 'Loss'} by step]({TRAIN_PLOT})",
        f"All figures by step are in `{TRAIN_LOG}`" + (f"; also in Trackio, {md(plan.space)}." if plan.space else "."),
        *told,
        "## Settings\n\n" + md_table(recipe),
        provenance(
            stamp,
            source=name,
            identity=source.identity,
            arguments=args.words,
            packages=("trl", "transformers", "peft", "datasets", "torch"),
        ),
    ]
    front: dict[str, Any] = {"library_name": "peft" if adapter else "transformers"}
    front |= {"base_model": base.name} if base.commit else {}  # a folder here is nothing that the Hub could link
    front |= {"license": base.licence} if base.licence else {}
    front |= {"datasets": [source.repo_id]} if source.repo_id else {}
    front["tags"] = ["trl", plan.method.lower(), *([] if args.full else ["lora"])]
    return render_card(existing, front_matter=front, body="\n\n".join(sections))


def training_log(plan: TrainPlan) -> list[dict[str, Any]]:
    """Return what a finished training logged, an entry for each step that was logged."""
    lines = (plan.work / "model" / TRAIN_LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def plot_training(log: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the plot of the losses by step, or of the rewards, as PNG; the same log gives the same bytes."""
    import io
    import logging

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    rewarded = any("reward" in entry for entry in log)  # the loss of such a training says nothing
    for name in ("reward", "eval_reward") if rewarded else ("loss", "eval_loss"):
        points = [(entry["step"], entry[name]) for entry in log if entry.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else "", label=name.replace("_", " "))
    axes.set_xlabel("step")
    if axes.lines:
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def show_training(facts: Mapping[str, Any], *, as_json: bool) -> int:
    """Print what was done, as JSON or in lines; return the exit code."""
    if as_json:
        print(json.dumps(facts))
    else:
        print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return EXIT_DONE


def _last_figures(log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the first and the last loss and reward, and the last of every other figure that says how good the model is."""
    figures: dict[str, float] = {}
    for name in ("loss", "reward"):
        values = [entry[name] for entry in log if entry.get(name) is not None]
        figures |= {f"first_{name}": values[0], f"last_{name}": values[-1]} if values else {}
    for name in (
        "eval_loss",
        "mean_token_accuracy",
        "rewards/accuracies",
        "rewards/margins",
        "accuracy",
        "margin",
        "eval_reward",
    ):
        values = [entry[name] for entry in log if entry.get(name) is not None]
        figures |= {name: values[-1]} if values else {}
    return figures


def _loading(job: TrainJob, kind: str, *, adapter: bool) -> str:
    model, place = job.base.name, job.target
    if adapter:
        lines = [f"from transformers import {kind}", "from peft import PeftModel", ""]
        lines += [f"model = PeftModel.from_pretrained({kind}.from_pretrained({model!r}), {str(place)!r})"]
    else:
        lines = [f"from transformers import {kind}", "", f"model = {kind}.from_pretrained({str(place)!r})"]
    return "```python\n" + "\n".join(lines) + "\n```"


def _move_to_folder(job: TrainJob, folder: Path, make_card: Callable[[str | None], str]) -> None:
    """Move the model to the folder that was asked for; the manifest comes last, and says that it is whole."""
    target = job.target.folder or folder
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    readme = target / "README.md"
    readme.write_text(make_card(readme.read_text("utf-8") if readme.is_file() else None), encoding="utf-8")
    manifest = {"script": job.run.script, "request": job.run.request, "source": job.run.source}
    (target / MODEL_MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name in (CHECKPOINTS_FOLDER, "model", "rows", "held-out"):
        shutil.rmtree(target / name, ignore_errors=True)
    (target / "plan.json").unlink(missing_ok=True)


# --- end block ---


if __name__ == "__main__":
    raise SystemExit(main())
