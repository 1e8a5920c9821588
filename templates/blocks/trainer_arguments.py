"""The command line of a trainer: our few options; all others are TRL's."""

import argparse
import re
import sys
from itertools import takewhile


def trainer_arguments(argv: list[str] | None, description: str) -> argparse.Namespace:
    """Return our options; `words` are those that TRL parses. Imports nothing heavy."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    add = parser.add_argument
    add("dataset", metavar="DATASET", nargs="?", help="Hub dataset (user/name), or a local file or folder")
    add("output", metavar="OUTPUT", nargs="?", help="Hub model (user/name), hf://buckets/..., or a folder (./out)")
    add("--model", "--model-name", dest="name", metavar="M", help="model to train: on the Hub, or a local folder")
    add("--config", dest="yaml", metavar="FILE", help="YAML file with options of TRL")
    add("--split", metavar="NAME", help="split to train on (default: train)")
    add("--map", nargs="+", default=[], metavar="OLD=NEW", help="rename columns first")
    add("--max-samples", type=int, metavar="N", help="train on the first N rows only")
    add("--full", action="store_true", help="train all weights, not a LoRA adapter")
    add("--checkpoints", metavar="PLACE", help="keep checkpoints there, as in hf://buckets/user/name (default: OUTPUT)")
    add("--commit-every", type=int, default=240, metavar="S", help="seconds between checkpoints (default: 240)")
    add("--num-processes", type=int, metavar="N", help="processes to train in (default: one for each GPU)")
    add("--private", action="store_true", help="make a new output private, as for private input")
    add("--public", action="store_true", help="make a new output public, also for private input")
    add("--keep", action="store_true", help="resume what another version of this script or other options began")
    add("--overwrite", action="store_true", help="replace what is in OUTPUT")
    add("--dry-run", action="store_true", help="check everything, take one step on a tiny model, write nothing")
    add("--help-all", action="store_true", help="show the options of TRL, which all work here, and exit")
    given = [word.partition("=") for word in (sys.argv[1:] if argv is None else argv)]
    words = [(head.replace("_", "-") if head.startswith("--") else head) + is_ + value for head, is_, value in given]
    places = list(takewhile(lambda word: not word.startswith("-"), words))
    if len(places) not in {0, 2}:
        parser.error("DATASET and OUTPUT come first, then the options")
    args, args.words = parser.parse_known_args([*(places or ["", ""]), *words[len(places) :]])
    if args.commit_every < 0 or min(args.max_samples or 1, args.num_processes or 1) < 1:
        parser.error("--max-samples and --num-processes are at least 1, --commit-every is at least 0")
    if not all(0 < pair.find("=") < len(pair) - 1 for pair in args.map):
        parser.error("--map takes OLD=NEW")
    args.words += ["--model-name-or-path", args.name] if args.name else []
    args.words += ["--dataset-train-split", args.split] if args.split else []
    args.words += ["--use-peft", "false"] if args.full else []
    args.words += ["--dataset-name", args.dataset, "--output-dir", args.output] if places else []
    if re.fullmatch(r"\w[\w.-]*/[\w.-]+", args.output):  # unless --push-to-hub false follows
        args.words = ["--push-to-hub", "--hub-model-id", args.output, *args.words]
    return args
