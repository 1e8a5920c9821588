"""How many of vet's findings on public scripts are true, by rule: the default profile against labels made by hand.

    uv run python bench/vet_precision.py FOLDER

FOLDER has a checkout of each repository in `vet_precision.csv`, named `owner+name`, at the commit that stands there; nothing
is fetched. Exits 1 when a finding has no label, or when less than 95 % are true.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

LIMIT = 0.95
LABELS = Path(__file__).with_suffix(".csv")
Key = tuple[str, str, int, str]


def read_labels() -> dict[Key, str]:
    """Return the label of each finding: repository, path, line and code."""
    with LABELS.open(encoding="utf-8", newline="") as file:
        return {
            (row["repository"], row["path"], int(row["line"]), row["code"]): row["label"]
            for row in csv.DictReader(file)
        }


def find_scripts(checkout: Path) -> list[str]:
    """Return the Python files that have a header."""
    return sorted(
        str(path.relative_to(checkout))
        for path in checkout.rglob("*.py")
        if any(line.startswith(b"# /// script") for line in path.read_bytes().splitlines())
    )


def vet(checkout: Path, scripts: list[str]) -> dict:
    """Return the report of the default profile."""
    command = [sys.executable, "-m", "jobshelf", "vet", "--output-format", "json", *scripts]
    done = subprocess.run(command, cwd=checkout, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return json.loads(done.stdout)


def main() -> int:
    """Print the table and the share of true findings."""
    parser = argparse.ArgumentParser(description="Precision of vet on public scripts.")
    parser.add_argument("folder", type=Path, help="the checkouts, named owner+name")
    folder = parser.parse_args().folder
    labels = read_labels()
    counts: Counter[tuple[str, str]] = Counter()
    unlabelled, met = [], set()
    for repository in sorted({key[0] for key in labels}):
        checkout = folder / repository.replace("/", "+")
        scripts = find_scripts(checkout)
        report = vet(checkout, scripts)
        print(f"{repository}: {len(scripts)} scripts, {len(report['findings'])} findings", end=", ")
        print(f"{len(report['inconclusive'])} inconclusive")
        for finding in report["findings"]:
            key = (repository, finding["path"], finding["line"], finding["code"])
            met.add(key)
            if key in labels:
                counts[finding["code"], labels[key]] += 1
            else:
                unlabelled.append(f"{':'.join(map(str, key))}: {finding['message']}")
    for code in sorted({code for code, _ in counts}):
        true, false = counts[code, "true"], counts[code, "false"]
        print(f"{code}  {true:>4} of {true + false:>4}  {true / (true + false):6.1%}")
    true = sum(count for (_, label), count in counts.items() if label == "true")
    share = true / counts.total()
    print(f"all     {true:>4} of {counts.total():>4}  {share:6.1%} (limit {LIMIT:.0%})")
    print(f"{len(labels.keys() - met)} labels without a finding, {len(unlabelled)} findings without a label")
    print(*unlabelled, sep="\n")
    return 0 if share >= LIMIT and not unlabelled else 1


if __name__ == "__main__":
    raise SystemExit(main())
