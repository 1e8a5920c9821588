# block: train_options 1
"""The command line that all trainers share: TRL's own names, in dashes or underscores, and the words of the shelf.

Promises: what TRL's command line takes is taken under its name; an option that TRL or transformers dropped is answered
with what replaces it (2); the three ways to say where the model goes (OUTPUT, --output-dir, --hub-model-id) become one.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .exits import EXIT_USAGE, Stop
from .persist_model import parse_model

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
