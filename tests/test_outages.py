"""Short outages of the Hub are ridden out, longer ones end with the true reason, and nothing is done twice."""

from __future__ import annotations

import re
import time

import pytest
from huggingface_hub import HfApi

from jobshelf.outages import BOUND

FAULTS = {
    "429": {"status": 429, "headers": {"Retry-After": "1"}, "times": 4},
    "503": {"status": 503, "times": 3},
    "reset": {"kind": "reset", "times": 2},
    "silence": {"kind": "delay", "seconds": 3.0, "times": 1},
}


@pytest.fixture
def patient(hub_environment) -> dict[str, str]:
    """A user whose client waits a second for an answer, and 60 s for the Hub to come back."""
    return hub_environment | {BOUND: "60", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}


@pytest.fixture
def shelf(make_shelf):
    return make_shelf({"hello": "1"})


def asked(hub, verb) -> list[tuple[str, str]]:
    """Return method and path of every request that a verb makes, each once."""
    hub.clear_journal()
    assert verb().returncode == 0
    return list(dict.fromkeys((one.method, one.path.partition("?")[0]) for one in hub.journal()))


def strike(hub, method: str, path: str, fault: str):
    return hub.fail(method=method, path=f"^{path}", **FAULTS[fault])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_publish_meets_an_outage_at_its_commit(jobshelf, hub, client, shelf, patient, fault):
    struck = strike(hub, "POST", "/api/datasets/jobshelf/scripts/commit/main", fault)
    done = jobshelf("publish", cwd=shelf.root, env=patient)
    assert done.returncode == 0, done.stderr
    assert struck.struck == FAULTS[fault]["times"]
    assert re.search(
        r"note: the Hub .* to POST /api/datasets/jobshelf/scripts/commit/main.*; trying again in", done.stderr
    )
    titles = [commit.title for commit in client.list_repo_commits("jobshelf/scripts", repo_type="dataset")]
    assert len(titles) == 2  # the Hub's own and ours
    assert jobshelf("publish", cwd=shelf.root, env=patient).stdout.startswith("unchanged")


@pytest.mark.sweep
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_request_of_publish_submit_and_verify(jobshelf, hub, shelf, patient, fault, record_property):
    verbs = {
        "publish": lambda: jobshelf("publish", "--dry-run", cwd=shelf.root, env=patient),
        "submit": lambda: jobshelf("submit", "hello", "--dry-run", cwd=shelf.root, env=patient),
        "verify": lambda: jobshelf("verify", cwd=shelf.root, env=patient),
    }
    assert jobshelf("publish", cwd=shelf.root, env=patient).returncode == 0
    count = 0
    for name, verb in verbs.items():
        for method, path in asked(hub, verb):
            hub.clear_faults()
            struck = strike(hub, method, path, fault)
            done = verb()
            assert done.returncode == 0, (name, method, path, done.stderr)
            assert struck.struck, (name, method, path)
            count += 1
    record_property("figure", f"outages, {fault}: ridden out at {count} of {count} requests of {', '.join(verbs)}")


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"status": 503}, "answered 503 to POST /api/datasets/jobshelf/scripts/commit/main"),
        ({"status": 429, "headers": {"Retry-After": "600"}}, "answered 429 to POST"),
        ({"kind": "reset"}, "gave no whole answer to POST /api/datasets/jobshelf/scripts/commit/main"),
    ],
)
def test_an_outage_that_lasts_ends_with_its_reason_within_the_bound(jobshelf, hub, shelf, patient, fault, reason):
    hub.fail(method="POST", path="/commit/main", times=1000, **fault)
    began = time.monotonic()
    done = jobshelf("publish", cwd=shelf.root, env=patient | {BOUND: "2"})
    assert (done.returncode, reason in done.stderr.splitlines()[-1]) == (5, True), done.stderr
    assert time.monotonic() - began < 60


def test_a_job_is_never_started_twice(jobshelf, hub, hub_environment, tmp_path):
    """A reset may come after the Hub has taken the request: whether the Job runs is for a person to look up."""
    script = tmp_path / "work.py"
    script.write_text('# /// script\n# requires-python = ">=3.11"\n# dependencies = []\n# ///\nprint("ran")\n')
    for fault in ({"kind": "reset"}, {"status": 503}):
        hub.clear_faults()
        hub.clear_journal()
        hub.fail(method="POST", path="^/api/jobs/", times=5, **fault)
        done = jobshelf("submit", str(script), "--no-estimate", env=hub_environment | {BOUND: "60"})
        assert done.returncode != 0
        assert sum(one.method == "POST" and one.path.startswith("/api/jobs/") for one in hub.journal()) == 1
    hub.clear_faults()
    hub.fail(method="POST", path="^/api/jobs/", status=429, headers={"Retry-After": "1"}, times=2)  # refused: not taken
    assert jobshelf("submit", str(script), "--no-estimate", env=hub_environment | {BOUND: "60"}).returncode == 0


def test_bytes_that_are_gone_are_not_sent_again(hub, client: HfApi, monkeypatch):
    import httpx2

    from jobshelf.session import Session

    monkeypatch.setenv(BOUND, "60")
    hub.fail(method="POST", path="/api/validate-yaml", status=503, times=1)
    with Session() as session:
        answer = session.post(f"{hub.endpoint}/api/validate-yaml", content=iter([b"{}"]))
    assert answer.status_code == 503
    assert isinstance(answer, httpx2.Response)
