"""The embedded Hub under 32 clients that upload and download at once: `uv run python bench/hub_load.py [SECONDS]`.

Each client is the real `huggingface_hub` in a loop: a commit of three small files, a large file (half of the clients send
it by Xet, half by LFS), a listing, and the download of a file that one of the clients wrote, compared byte by byte. Printed
are requests a second, their latency as the clients see it, wrong bytes and answers of 500 and above; exit code 1 when there
is any.
"""

from __future__ import annotations

import collections
import hashlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROCESSES, THREADS = 4, 8
SECONDS = 60
LARGE = 1 << 20
TOKEN = "token-of-ada"
HUB = """
import sys
from pathlib import Path
from jobshelf.hub import Account, serve
with serve(Path(sys.argv[1]), accounts=[Account(name="ada", token=sys.argv[2])]) as hub:
    print(hub.endpoint, flush=True)
    sys.stdin.read()
"""


class Record:
    """What the clients of one process saw."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seconds: list[float] = []
        self.statuses: collections.Counter[int] = collections.Counter()
        self.done: collections.Counter[str] = collections.Counter()
        self.wrong = 0
        self.bytes = 0
        self.errors: list[str] = []

    def as_json(self) -> dict[str, Any]:
        return {**self.__dict__, "lock": None}


def measured_client(record: Record) -> Callable[[], Any]:
    """A factory of the client's HTTP client that notes each answer."""
    from huggingface_hub.utils._http import default_client_factory

    def started(request: Any) -> None:
        request.extensions["began"] = time.perf_counter()

    def answered(response: Any) -> None:
        with record.lock:
            record.seconds.append(time.perf_counter() - response.request.extensions["began"])
            record.statuses[response.status_code] += 1

    def make() -> Any:
        client = default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = {"request": [*hooks["request"], started], "response": [*hooks["response"], answered]}
        return client

    return make


def content(name: str, size: int) -> bytes:
    """The bytes of a file follow from its name."""
    block = hashlib.sha256(name.encode()).digest()
    return (block * (size // len(block) + 1))[:size]


def one_round(
    api: Any, repo: str, who: str, number: int, written: list[tuple[str, int]], record: Record, into: Path
) -> None:
    from huggingface_hub import CommitOperationAdd

    small = [(f"{who}/{number}/{n}.txt", 500 + n) for n in range(3)]
    operations = [CommitOperationAdd(path, content(path, size)) for path, size in small]
    api.create_commit(repo, operations, commit_message="small", repo_type="dataset")
    large = (f"{who}/{number}.bin", LARGE + number)
    if number % 4 == 0:
        operations = [CommitOperationAdd(large[0], content(*large))]
        api.create_commit(repo, operations, commit_message="large", repo_type="dataset")
        small.append(large)
    written.extend(small)
    next(iter(api.list_repo_tree(repo, f"{who}/{number}", repo_type="dataset")))
    for path, size in random.choices(written, k=3):
        found = Path(api.hf_hub_download(repo, path, repo_type="dataset", local_dir=into, force_download=True))
        read = found.read_bytes()
        with record.lock:
            record.wrong += read != content(path, size)
            record.bytes += len(read)
            record.done["files read"] += 1
    with record.lock:
        record.bytes += sum(size for _, size in small)
        record.done["commits"] += 1 + (number % 4 == 0)
        record.done["files written"] += len(small)


def client(endpoint: str, repo: str, who: str, until: float, record: Record, written: list[tuple[str, int]]) -> None:
    from huggingface_hub import HfApi

    api, number = HfApi(endpoint=endpoint, token=TOKEN), 0
    with tempfile.TemporaryDirectory() as folder:
        while time.time() < until:
            try:
                one_round(api, repo, who, number, written, record, Path(folder))
            except Exception as error:  # noqa: BLE001 every failure is counted and shown
                with record.lock:
                    record.errors.append(f"{type(error).__name__}: {error}"[:300])
            number += 1


def worker(endpoint: str, name: str, until: float) -> None:
    """One process of THREADS clients that share a repo: prints its record as JSON."""
    from huggingface_hub import HfApi, set_client_factory

    record, written = Record(), []
    set_client_factory(measured_client(record))
    repo = f"ada/load-{name}"
    HfApi(endpoint=endpoint, token=TOKEN).create_repo(repo, repo_type="dataset")
    threads = [
        threading.Thread(target=client, args=(endpoint, repo, f"c{n}", until, record, written)) for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps(record.as_json()))


def start_worker(endpoint: str, number: int, until: float, folder: Path) -> subprocess.Popen[str]:
    env = os.environ | {
        "HF_HOME": str(folder / f"home-{number}"),
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        **({"HF_HUB_DISABLE_XET": "1"} if number % 2 else {}),
    }
    argv = [sys.executable, __file__, "worker", endpoint, str(number), str(until)]
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)


def run(seconds: float) -> list[dict[str, Any]]:
    """Run Hub and clients; what each process of clients recorded."""
    with tempfile.TemporaryDirectory(prefix="jobshelf-load-") as name:
        folder = Path(name)
        argv = [sys.executable, "-c", HUB, str(folder / "hub"), TOKEN]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hub:
            endpoint = hub.stdout.readline().strip()
            until = time.time() + seconds
            workers = [start_worker(endpoint, number, until, folder) for number in range(PROCESSES)]
            outputs = [each.communicate()[0] for each in workers]
            hub.stdin.close()
            hub.wait(timeout=30)
    return [json.loads(output.splitlines()[-1]) for output in outputs]


def report(records: list[dict[str, Any]], seconds: float) -> int:
    """Print the table; 1 when anything was wrong."""
    times = sorted(each for record in records for each in record["seconds"])
    statuses = sum((collections.Counter(record["statuses"]) for record in records), collections.Counter())
    done = sum((collections.Counter(record["done"]) for record in records), collections.Counter())
    failed = sum(count for status, count in statuses.items() if int(status) >= 500)
    wrong, errors = sum(record["wrong"] for record in records), [e for record in records for e in record["errors"]]
    cuts = statistics.quantiles(times, n=1000)
    rows = {
        "clients": PROCESSES * THREADS,
        "seconds": f"{seconds:g}",
        "requests": len(times),
        "requests a second": f"{len(times) / seconds:.0f}",
        "latency p50 / p99 / max": f"{1000 * cuts[499]:.0f} / {1000 * cuts[989]:.0f} / {1000 * times[-1]:.0f} ms",
        "payload": f"{sum(record['bytes'] for record in records) / seconds / 1e6:.1f} MB/s",
        **dict(done),
        "statuses": ", ".join(f"{status}: {count}" for status, count in sorted(statuses.items())),
        "answers of 500 and above": failed,
        "wrong bytes": wrong,
        "errors of the client": len(errors),
    }
    for name, value in rows.items():
        print(f"{name:26} {value}")
    for error in sorted(set(errors))[:5]:
        print("  ", error)
    return 1 if failed or wrong or errors else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        length = float(sys.argv[1]) if sys.argv[1:] else SECONDS
        raise SystemExit(report(run(length), length))
