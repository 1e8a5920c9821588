"""What several tests of Jobs need: a Job's facts without what must differ, and a run in shards that can be disturbed."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from huggingface_hub import HfApi, JobInfo, get_session

from jobshelf.hub import Hub
from jobshelf.index import load_index
from jobshelf.jobs import find_target
from jobshelf.jobs.order import send_files
from jobshelf.jobs.shards import Outcome, Pace, ShardRun
from jobshelf.jobs.start import for_shards, prepare
from jobshelf.launch import Launch
from jobshelf.shelf import find_shelf
from support import ROOT

OUTPUT = "alice/squares"


class Line:
    """A network line to the Hub that can go down: a relay whose connections can be cut."""

    def __init__(self, endpoint: str) -> None:
        self._hub = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._down_until = 0.0
        self.lost = 0
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Line:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self.cut(seconds=0)

    def cut(self, *, seconds: float) -> None:
        """End every connection, and every new one for so long; `lost` counts them."""
        self._down_until = time.monotonic() + seconds
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            self.lost += 1
        self._open.clear()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = self._listener.accept()[0]
                if time.monotonic() < self._down_until:
                    self.lost += 1
                    near.close()
                    continue
                far = socket.create_connection(self._hub)
                self._open += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    def _pump(self, one: socket.socket, other: socket.socket) -> None:
        # the Hub answers for its own name only
        ours, hubs = self.endpoint.removeprefix("http://"), "{}:{}".format(*self._hub)
        with contextlib.suppress(OSError):
            while data := one.recv(1 << 16):
                other.sendall(data.replace(f"Host: {ours}".encode(), f"Host: {hubs}".encode()))
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_WR)


def described(job_id: str, client: HfApi) -> dict[str, Any]:
    """A Job as the Hub shows it."""
    url = f"{client.endpoint}/api/jobs/alice/{job_id}"
    return get_session().get(url, headers={"Authorization": f"Bearer {client.token}"}).json()


def comparable(job: dict[str, Any]) -> dict[str, Any]:
    """A Job's facts without what must differ between forms: how the script travels, automatic labels, what only we tell it."""
    command = [*job["command"], *job["arguments"]]
    if command[:2] == ["sh", "-c"]:
        command = re.sub(r"^echo \S+ \| base64 -d \| ", "", command[2]).split()
    script = next(number for number, word in enumerate(command) if number > 1 and (word == "-" or word.endswith(".py")))
    command = ["--python" if word == "-p" else word for word in command]
    labels = {key: value for key, value in job["labels"].items() if key != "name"}
    volumes = [volume for volume in job["volumes"] if volume["mountPath"] != "/data"]
    return {
        "image": job.get("dockerImage"),
        "command": [*command[:script], "<script>", *command[script + 1 :]],
        "environment": job["environment"],
        "secrets": sorted(job["secrets"]),
        "flavor": job["flavor"],
        "timeout": job["timeoutSeconds"],
        "retry": job["retry"],
        "labels": labels,
        "volumes": volumes,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shards:
    """A script that can be cut into shards, and a folder whose files disturb it."""

    script: Path
    whims: Path
    count: int
    client: HfApi
    hub: Hub

    def kill(self, *shards: int) -> None:
        """Let these shards be killed once, after their first part."""
        for shard in shards:
            (self.whims / f"kill-{shard}").touch()

    def fail(self, shard: int) -> Path:
        """Let this shard fail until the file is gone."""
        path = self.whims / f"fail-{shard}"
        path.touch()
        return path

    def starts(self, shard: int) -> int:
        """How many processes did work of this shard."""
        return len({path.name.rpartition("-")[2] for path in self.whims.glob(f"started-{shard}-*")})

    def run(self, count: int, **options: Any) -> ShardRun:
        """The coordinator of a run in `count` shards that asks the Hub often."""
        target = find_target(str(self.script), find_shelf(ROOT), load_index(find_shelf(ROOT)))
        asked = Launch(env={"WHIMS": str(self.whims)}, timeout="10m")
        words = ["alice/numbers", OUTPUT, "--commit-every", "0"]
        prepared, output = for_shards(prepare(target, words, asked, self.client))
        parcel = send_files(prepared.order, self.client, "alice")
        pace = Pace(shortest=0.05, longest=0.2)
        options = {"concurrency": 4, "pace": pace} | options
        return ShardRun(parcel, output, count, prepared.checked.cost, self.client, **options)

    def jobs(self) -> list[JobInfo]:
        """All Jobs, newest first."""
        return list(self.client.list_jobs(namespace="alice"))

    def rows(self) -> list[tuple[int, str]]:
        """The rows of the output, in order."""
        names = sorted(name for name in self.client.list_repo_files(OUTPUT, repo_type="dataset") if "data/" in name)
        paths = [self.client.hf_hub_download(OUTPUT, name, repo_type="dataset") for name in names]
        return pl.concat([pl.read_parquet(path) for path in paths]).select("number", pl.nth(1)).rows()

    def is_whole(self, outcome: Outcome) -> bool:
        """Whether the run says it is whole and the output holds every square once."""
        return outcome.progress.is_complete and self.rows() == [
            (number, str(number**2)) for number in range(self.count)
        ]
