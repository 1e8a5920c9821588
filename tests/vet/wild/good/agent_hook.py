#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["python-dotenv"]
# ///
"""A hook: reads an event on stdin, keeps it in a log, and never stands in the way."""

import json
import sys
from pathlib import Path

try:
    from dotenv import load_dotenv

    load_dotenv()
except ImportError:
    pass

LOG = Path(__file__).resolve().parent / "events.jsonl"


def main():
    try:
        event = json.load(sys.stdin)
    except json.JSONDecodeError:
        sys.exit(0)
    if event.get("tool") == "rm":
        print("rm is not allowed", file=sys.stderr)
        sys.exit(2)
    with LOG.open("a") as file:
        file.write(json.dumps(event) + "\n")
    sys.exit(0)


if __name__ == "__main__":
    main()
