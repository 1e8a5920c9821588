#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["pyyaml>=6"]
# ///
"""Check that every workflow pins its actions, and annotate those that do not."""

import re
import sys
from pathlib import Path

import yaml

PINNED = re.compile(r"@[0-9a-f]{40}$")


def loose(path: Path) -> list[str]:
    jobs = yaml.safe_load(path.read_text()).get("jobs", {})
    steps = [step for job in jobs.values() for step in job.get("steps", [])]
    return [step["uses"] for step in steps if "uses" in step and not PINNED.search(step["uses"])]


failed = False
for path in sorted(Path(".github/workflows").glob("*.yml")):
    for action in loose(path):
        print(f"::error file={path}::{action} is not pinned to a commit")
        failed = True
sys.exit(1 if failed else 0)
