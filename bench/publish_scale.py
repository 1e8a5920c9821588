"""Requests, bytes and time of publishing a shelf of 1,000 scripts to the embedded Hub: `uv run python bench/publish_scale.py`.

Exit code 1 when a limit is broken: a first publish is one commit; an unchanged one at most 4 requests and no commit; one changed
script one commit, whose requests carry at most twice the bytes of the files that changed. The client's own start-up calls
(`/api/agent-harnesses`) are not counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from huggingface_hub import HfApi

from conftest import ShelfMaker
from jobshelf.hub import Account, Hub, serve
from jobshelf.publish import Outcome, publish, rollback, verify
from jobshelf.shelf import Shelf
from support import TOKEN

REPO: Final = "jobshelf/scripts"
UNCHANGED_REQUESTS: Final = 4
BYTES_FACTOR: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One step: `sent` and `changed` are bytes, of the request bodies and of the files that changed."""

    name: str
    requests: int
    commits: int
    sent: int
    changed: int
    seconds: float

    def __str__(self) -> str:
        ratio = f", {self.sent / self.changed:.2f}x the {self.changed:,} bytes changed" if self.changed else ""
        return (
            f"{self.name:<32} {self.requests:>6,} requests, {self.commits} commit, "
            f"{self.sent:>11,} bytes sent{ratio}, {self.seconds:.2f} s"
        )


class Bench:
    """A shelf of many scripts, and a Hub that counts."""

    def __init__(self, hub: Hub, folder: Path, scripts: int) -> None:
        self.hub = hub
        self.client = HfApi(endpoint=hub.endpoint, token=TOKEN)
        self.maker = ShelfMaker(folder)
        began = time.perf_counter()
        self.shelf: Shelf = self.maker({f"script{number:05d}": "1" for number in range(scripts)}, version="1.0.0")
        print(f"{'index of ' + format(scripts, ',') + ' scripts, cold':<32} {time.perf_counter() - began:.1f} s")

    def change(self, version: str) -> None:
        """Raise the version of one script."""
        self.maker.put(self.shelf, "script00007", version)
        self.maker.index(self.shelf)

    def measure(self, name: str, work: Callable[[], object]) -> Measured:
        """Do the work and count what the Hub saw of it."""
        self.hub.clear_journal()
        began = time.perf_counter()
        done = work()
        seconds = time.perf_counter() - began
        seen = [entry for entry in self.hub.journal() if "/agent-harnesses" not in entry.path]
        measured = Measured(
            name=name,
            requests=len(seen),
            commits=sum(entry.method == "POST" and "/commit/" in entry.path for entry in seen),
            sent=sum(entry.bytes_in for entry in seen),
            changed=self._size(done) if isinstance(done, Outcome) else 0,
            seconds=seconds,
        )
        print(measured)
        return measured

    def _size(self, done: Outcome) -> int:
        wanted = set(done.written)
        tree = self.client.list_repo_tree(REPO, repo_type="dataset", recursive=True, revision=done.commit)
        return sum(item.size for item in tree if item.path in wanted)


def run(bench: Bench) -> list[str]:
    """Take every step; return the limits that were broken."""
    shelf, client = bench.shelf, bench.client
    first = bench.measure("first publish", lambda: publish(shelf, client))
    same = bench.measure("unchanged", lambda: publish(shelf, client))
    bench.change("1.1")
    one = bench.measure("one changed script", lambda: publish(shelf, client))
    release = bench.measure("release", lambda: publish(shelf, client, release=True))
    after = bench.measure("unchanged after the release", lambda: publish(shelf, client))
    bench.change("1.2")
    publish(shelf, client)
    bench.measure("rollback to the release", lambda: rollback(client, REPO, "v1.0.0"))
    found: list[object] = []
    bench.measure("verify", lambda: found.extend(verify(client, REPO).findings))
    limits = {
        "a first publish is one commit": first.commits == 1,
        "unchanged is no commit": same.commits == after.commits == 0,
        f"unchanged is at most {UNCHANGED_REQUESTS} requests": max(same.requests, after.requests) <= UNCHANGED_REQUESTS,
        "one changed script is one commit": one.commits == 1 and release.commits == 1,
        f"at most {BYTES_FACTOR:.0f}x the bytes changed": one.sent <= BYTES_FACTOR * one.changed,
        "verify finds nothing": not found,
    }
    return [name for name, kept in limits.items() if not kept]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return 1 when a limit was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scripts", type=int, default=1_000, help="size of the shelf (1000)")
    scripts = parser.parse_args(argv).scripts
    with tempfile.TemporaryDirectory(prefix="jobshelf-bench-") as name:
        account = Account(name="alice", token=TOKEN, orgs=("jobshelf",))
        with serve(Path(name) / "hub", accounts=(account,)) as hub:
            broken = run(Bench(hub, Path(name), scripts))
    for limit in broken:
        print(f"BROKEN: {limit}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
