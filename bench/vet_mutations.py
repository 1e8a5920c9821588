"""The kill table: every mutation on every catalogue script, and whether the intended rule reports it.

    uv run python bench/vet_mutations.py [SCRIPT ...]

`x` reported, `.` missed, `?` inconclusive, blank not applicable. Exits with 1 below the limit, or when an unmutated script has findings.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from jobshelf.testing import vet_text
from jobshelf.vet import Profile
from vet.mutations import MUTATIONS, Mutation

LIMIT = 0.95
CATALOG = Path(__file__).parents[1] / "catalog"


def verdict(mutation: Mutation, path: Path) -> str:
    """Return the mark of one mutation on one script."""
    changed = mutation.change(path.read_text(encoding="utf-8"))
    if changed is None:
        return " "
    report = vet_text(changed, path=str(path), select=[mutation.code])
    if any(finding.code == mutation.code for finding in report.findings):
        return "x"
    return "?" if report.inconclusive else "."


def is_clean(path: Path) -> bool:
    """Tell whether no error, no warning and nothing undecided is reported on the script as it is."""
    report = vet_text(path.read_bytes(), path=str(path), profile=Profile.STRICT)
    return not report.findings and not report.inconclusive


def main() -> int:
    """Print the table and the share of mutations that were reported."""
    paths = [Path(name).resolve() for name in sys.argv[1:]] or sorted(CATALOG.glob("*.py"))
    dirty = [path.name for path in paths if not is_clean(path)]
    start, marks = time.perf_counter(), []
    for number, path in enumerate(paths, start=1):
        print(f"{number:>3} {path.name}")
    print(f"{'mutation':<36}{'rule':<8}{''.join(str(number % 10) for number in range(1, len(paths) + 1))}")
    for mutation in MUTATIONS:
        row = "".join(verdict(mutation, path) for path in paths)
        marks += [mark for mark in row if mark != " "]
        print(f"{mutation.name:<36}{mutation.code:<8}{row}  {mutation.description}")
    share = marks.count("x") / len(marks)
    print(
        f"{len(MUTATIONS)} mutations, {len(paths)} scripts: {marks.count('x')} of {len(marks)} reported ({share:.1%}), ",
        end="",
    )
    print(
        f"limit {LIMIT:.0%}, {time.perf_counter() - start:.1f} s; findings on unmutated scripts: {', '.join(dirty) or 'none'}"
    )
    return 0 if share >= LIMIT and not dirty else 1


if __name__ == "__main__":
    raise SystemExit(main())
