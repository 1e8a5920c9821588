"""A small script on the shared functions, for the processes that tests start, kill and race.

python -m blocks.writer OUTPUT --rows N --size BYTES --seed S [--keep ...]     writes N parts, then the card
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

from blocks.shared import block


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--parts", type=int, default=3)
    parser.add_argument("--size", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--commit-every", type=float, default=240)
    for name in ("private", "public", "keep", "overwrite"):
        parser.add_argument(f"--{name}", action="store_true")
    return parser.parse_args(words)


def identity(args: argparse.Namespace) -> dict[str, str]:
    return {"script": "c0de", "arguments": f"seed {args.seed}", "input": "beef"}


def work(args: argparse.Namespace, *, private: bool = False, kind: str = "dataset") -> Any:
    """Do what the templates do in main(); return the output."""
    output = block("output").Output(args, identity(args), kind=kind)
    output.claim(private=private)
    try:
        for number in range(args.parts):
            name = f"data/{number:05}.bin"
            if name not in output.finished:
                time.sleep(args.pause)
                output.write(name, bytes([args.seed + number % 9]) * args.size)
                print(name, flush=True)
        if "README.md" not in output.finished:
            output.write("README.md", f"card of seed {args.seed}".encode())
    finally:
        output.send()
    return output


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        work(parse(sys.argv[1:]))
    except OSError as error:
        block("stop").stop(5, f"{error}", "check the network and the disk, then run the same command again")
