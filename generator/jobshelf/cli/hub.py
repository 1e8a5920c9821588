"""The embedded Hub: hub, demo."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from jobshelf.cli.parser import Verbs, port
from jobshelf.cli.printing import say


def add_to(verbs: Verbs) -> None:
    """Add the verbs of this module."""
    demo = verbs.add(
        "demo", _demo, "publish the shelf to an embedded Hub and run scripts from there", example="jobshelf demo"
    )
    demo.add_argument("--keep", action="store_true", help="keep the Hub running at the end, until interrupted")
    hub = verbs.add(
        "hub", _hub, "run an embedded Hub on 127.0.0.1 until interrupted", example="jobshelf hub --root ./hub-state"
    )
    hub.add_argument("--root", metavar="DIR", type=Path, help="keep its state there (default: a temporary folder)")
    hub.add_argument("--port", metavar="P", type=port, default=8600, help="default: 8600")
    hub.add_argument("--tls", action="store_true", help="also serve clients that hard-code https://huggingface.co")


def _hub(arguments: argparse.Namespace) -> int:
    from jobshelf.host import host
    from jobshelf.shelf import find_shelf

    organisation = find_shelf().dataset.partition("/")[0]
    if arguments.root is not None:
        host(arguments.root, port=arguments.port, organisation=organisation, tls=arguments.tls)
        return 0
    with tempfile.TemporaryDirectory(prefix="jobshelf-hub-") as folder:
        say(f"no --root given: everything on this Hub is deleted when it stops ({folder})", file=sys.stderr)
        host(Path(folder), port=arguments.port, organisation=organisation, tls=arguments.tls)
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from jobshelf.demo import demo

    demo(keep=arguments.keep)
    return 0
