"""Make shelves and scripts: init, new, blocks."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from jobshelf.cli.parser import Verbs
from jobshelf.cli.printing import say
from jobshelf.errors import UsageError

QUESTIONS = {
    "kind": "dataset, inference, training, artifact or utility",
    "name": "file name, and so the URL",
    "title": "title on the page and in the docs",
    "persistence": "none, hub-dataset, hub-model, hub-file, bucket, s3, gcs or http",
    "token": "none, read or write",
    "flavor": "machine of the Job",
    "timeout": "timeout of the Job, such as 90m",
    "trigger": "none, schedule or webhook",
    "extras": "test, ci, or both separated by a comma",
    "base": "URL of the folder it will be published in",
}
SHELF_QUESTIONS = {
    "name": "name of the shelf (default: the folder's)",
    "repo": "Hub dataset to publish to (owner/name)",
    "github": "GitHub repository (owner/name)",
    "space": "Space for the page (owner/name)",
    "description": "what the shelf is for, in a few words",
}


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    init = verbs.add(
        "init",
        _init,
        "create a shelf: a folder for your own scripts",
        example="jobshelf init my-shelf --repo me/scripts",
    )
    init.add_argument("folder", metavar="DST", nargs="?", type=Path, default=Path(), help="folder (default: this one)")
    new = verbs.add(
        "new",
        _new,
        "create a script from a template",
        example="jobshelf new --kind dataset --name count-words --defaults",
    )
    new.add_argument("folder", metavar="DST", nargs="?", type=Path, help="folder to write to, outside of a shelf")
    new.add_argument(
        "--catalog", action="store_true", help="write to the shelf around this folder; fail if there is none"
    )
    for parser, questions in ((init, SHELF_QUESTIONS), (new, QUESTIONS)):
        parser.add_argument("--defaults", action="store_true", help="ask nothing, use defaults for what is not given")
        for question, help_ in questions.items():
            parser.add_argument(f"--{question}", metavar=question.upper(), help=help_)
    blocks = verbs.add("blocks", _blocks, "list the shared functions that scripts contain", example="jobshelf blocks")
    blocks.add_argument("--write", action="store_true", help="update their copies in the scripts of this shelf")


def _init(arguments: argparse.Namespace) -> int:
    from jobshelf.scaffold import init

    given = {name: value for name in SHELF_QUESTIONS if (value := getattr(arguments, name)) is not None}
    made = init(arguments.folder, given, ask=_asks(arguments))
    say("\n".join(str(made.folder / file) for file in made.files))
    _print_next(f"the shelf {made.shelf.name} is published to {made.shelf.dataset}; next:", made.next)
    return 0


def _new(arguments: argparse.Namespace) -> int:
    from jobshelf.scaffold import new, new_in_catalog
    from jobshelf.shelf import has_shelf

    given = {name: value for name in QUESTIONS if (value := getattr(arguments, name)) is not None}
    if "extras" in given:
        given["extras"] = [word for word in given["extras"].split(",") if word]
    if arguments.catalog and arguments.folder is not None:
        raise UsageError("--catalog puts the script on the shelf, and DST elsewhere", fix="give one of them")
    if arguments.catalog or (arguments.folder is None and has_shelf()):
        made = new_in_catalog(given, ask=_asks(arguments))
        say("\n".join(["index.json", *map(str, made.files)]))
    else:
        made = new(arguments.folder or Path(), given, ask=_asks(arguments))
        say("\n".join(str(made.folder / file) for file in made.files))
    _print_next("write the function at TODO(jobshelf), then:" if made.unwritten else "next:", made.next)
    return 0


def _asks(arguments: argparse.Namespace) -> bool:
    return sys.stdin.isatty() and not arguments.defaults


def _print_next(title: str, commands: Iterable[str]) -> None:
    """Say what to type next, beside the output that a program may read."""
    say("\n".join([title, *(f"  {command}" for command in commands)]), file=sys.stderr)


def _blocks(args: argparse.Namespace) -> int:
    from jobshelf.blocks import block_folder, list_blocks, refresh_catalog
    from jobshelf.shelf import own_shelf

    if args.write:
        say("\n".join(refresh_catalog(own_shelf())) or "every copy is up to date")
        return 0
    for name, block in sorted(list_blocks(block_folder()).items()):
        say(f"{name:<18} {block.promise}")
    return 0
