"""Whatever a Hub answers, no verb ends in a traceback, steers the terminal, hangs, or fills the memory."""

from __future__ import annotations

import io
import json
import resource
import time
from contextlib import redirect_stderr, redirect_stdout

import pytest

from harness.mutating_proxy import MutatingProxy
from jobshelf.cli import main
from jobshelf.jobs.follow import OVER
from jobshelf.publish import publish
from support import TOKEN

SECONDS, MEGABYTES = 10.0, 300
JOB = "import sys; print('\\x1b[31mred\\x1b]0;owned\\x07')"


@pytest.fixture
def place(hub, client, make_shelf, monkeypatch, tmp_path):
    """Somebody in a shelf that is published, with a Job that has ended; return what they type."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    shelf = make_shelf({"hello": "1"})
    publish(shelf, client, release=True)
    job = client.run_job(image="python:3.12", command=["python", "-c", JOB])
    while client.inspect_job(job_id=job.id).status.stage not in OVER:
        time.sleep(0.05)
    client.create_webhook(url="http://127.0.0.1:9/", watched=[{"type": "user", "name": "alice"}])
    monkeypatch.chdir(shelf.root)
    address = "{hub}/datasets/jobshelf/scripts/resolve/main/hello.py"
    return [
        ["verify"],
        ["publish", "--dry-run"],
        ["rollback", "v1"],
        ["jobs", "list", "--all"],
        ["jobs", "inspect", job.id],
        ["jobs", "logs", job.id],
        ["jobs", "wait", job.id],
        ["schedule", "list"],
        ["webhook", "list"],
        ["hardware"],
        ["hardware", "--json"],
        ["submit", "hello", "--dry-run", "--no-estimate"],
        ["command", address],
        ["command", address, "--pin"],
        ["vet", "--no-stub", address],
        ["show", "hello"],
        ["search", "hello"],
    ]


def typed(words: list[str], hub: str) -> tuple[int, str, float]:
    """Run a verb in this process; return its exit code, what it printed, and how long it took."""
    shown, began = io.StringIO(), time.monotonic()
    with redirect_stdout(shown), redirect_stderr(shown):
        code = main([word.format(hub=hub) for word in words])
    return code, shown.getvalue(), time.monotonic() - began


def steers(text: str) -> list[str]:
    return [char for char in text if not char.isprintable() and char not in "\n\t"]


def run(place, hub, monkeypatch, seeds) -> int:
    count, wrong = 0, []
    with MutatingProxy(hub.endpoint, seed=0) as proxy:
        monkeypatch.setenv("HF_ENDPOINT", proxy.endpoint)
        for seed in seeds:
            for number, words in enumerate(place):
                proxy.reseed(1000 * seed + number)
                try:
                    code, text, seconds = typed(words, proxy.endpoint)
                except Exception as error:  # noqa: BLE001 -- any of them would be a traceback
                    wrong.append(f"seed {seed}, {' '.join(words)}: {type(error).__name__}: {str(error)[:200]}")
                    continue
                count += 1
                if code not in range(7) or steers(text) or seconds > SECONDS:
                    wrong.append(f"seed {seed}, {' '.join(words)}: {code}, {steers(text)[:5]!r}, {seconds:.1f} s")
    assert not wrong, "\n".join(wrong)
    return count


def test_some_answers(place, hub, monkeypatch):
    assert run(place, hub, monkeypatch, range(3)) == 3 * len(place)


@pytest.mark.sweep
@pytest.mark.timeout(3600)
def test_five_thousand_answers(place, hub, monkeypatch, record_property):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = run(place, hub, monkeypatch, range(5000 // len(place) + 1))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    assert grown < MEGABYTES
    record_property("figure", f"hostile answers: {count} runs of {len(place)} verbs, 0 wrong, {grown} MiB more at most")


def test_the_proxy_changes_answers(hub, client, monkeypatch):
    from urllib.request import Request, urlopen

    def told(seed: int) -> object:
        with MutatingProxy(hub.endpoint, seed=seed) as proxy:
            asked = Request(f"{proxy.endpoint}/api/whoami-v2", headers={"Authorization": f"Bearer {TOKEN}"})
            with urlopen(asked) as answer:
                return answer.read()

    plain = json.dumps(client.whoami()).encode()
    assert len({plain, *map(told, range(8))}) > 5
