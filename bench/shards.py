"""The coordinator of a run in many shards, by itself: requests, time and memory, at several sizes.

    uv run python bench/shards.py

Jobs are stubbed at the Hub: a Job is over when it is asked for, and the Hub then holds its part. What is measured is
what the coordinator does: it runs in a process of its own, talks HTTP to the Hub, and never waits for work.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.utils import disable_progress_bars

from jobshelf.hub import Account, serve
from jobshelf.hub.jobs import Job
from jobshelf.hub.runner import Runner

SIZES = (125, 250, 500, 1000)
OUTPUT, TOKEN = "me/out", "hf_bench" + "0" * 20
LIMIT_MB = 200


def main() -> None:
    """Print one line a size."""
    if len(sys.argv) > 1:
        coordinate(sys.argv[1], int(sys.argv[2]))
        return
    disable_progress_bars()
    print("shards  requests  a shard  seconds  ms a shard  coordinator MB")
    for size in SIZES:
        figures = measure(size)
        print(
            f"{size:6}  {figures['requests']:8}  {figures['requests'] / size:7.2f}  {figures['seconds']:7.1f}"
            f"  {figures['seconds'] / size * 1000:10.1f}  {figures['megabytes']:14.0f}",
            flush=True,
        )
        if figures["megabytes"] > LIMIT_MB:
            raise SystemExit(f"the coordinator took more than {LIMIT_MB} MB")


def measure(size: int) -> dict[str, float]:
    """Run `size` shards against a Hub of its own; return what that took."""
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), accounts=(Account(name="me", token=TOKEN),)) as hub,
    ):
        api = HfApi(endpoint=hub.endpoint, token=TOKEN)
        api.create_repo(OUTPUT, repo_type="dataset")
        before = Runner.start
        Runner.start = stubbed(api, size, before)
        try:
            hub.clear_journal()
            argv = [sys.executable, __file__, hub.endpoint, str(size)]
            done = subprocess.run(argv, capture_output=True, text=True, check=True)
        finally:
            Runner.start = before
        asked = [one for one in hub.journal() if "jobshelf" in one.client]
        return {**json.loads(done.stdout), "requests": len(asked)}


def stubbed(api: HfApi, size: int, start: Callable[..., None]) -> Callable[..., None]:
    """Return a `Runner.start` that records a Job as over at once, and the whole result after the last one."""
    lock, started = threading.Lock(), []

    def put_result() -> None:
        files = {f"data/train-{number:08}.parquet": b"part %d" % number for number in range(size)}
        files |= {"run.json": b"{}", "README.md": b"---\npretty_name: bench\n---\n"}
        operations = [CommitOperationAdd(name, content) for name, content in files.items()]
        api.create_commit(OUTPUT, operations, commit_message="all", repo_type="dataset")

    def begin(self: Runner, job: Job, **_: object) -> None:
        with lock:
            self._jobs.add(job)
            self._jobs.finish(job.id, "COMPLETED", None)
            started.append(job.id)
            if len(started) == size:
                put_result()

    return begin


def coordinate(endpoint: str, size: int) -> None:
    """Be the coordinator; print its figures as JSON."""
    from jobshelf.jobs.order import Parcel, order_image
    from jobshelf.jobs.prices import read_cost
    from jobshelf.jobs.shards import Pace, ShardRun
    from jobshelf.launch import Launch

    client = HfApi(endpoint=endpoint, token=TOKEN, library_name="jobshelf")
    order = order_image("x", ["true"], Launch(timeout="10m"))
    parcel = Parcel(order=order, namespace="me", volumes=(), secrets={})
    pace = Pace(shortest=0.0, longest=0.0)
    began = time.monotonic()
    outcome = ShardRun(parcel, OUTPUT, size, read_cost(client, None, 600), client, concurrency=16, pace=pace).run()
    seconds = time.monotonic() - began
    if not outcome.progress.is_complete or outcome.started != size:
        raise SystemExit(f"{outcome.started} of {size} started: {outcome.stopped or outcome.failed}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "megabytes": peak}))


if __name__ == "__main__":
    main()
