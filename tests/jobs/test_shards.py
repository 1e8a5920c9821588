"""One script as many Jobs: killed, failing and slow shards, a cap on costs, and a coordinator that starts over."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time

import pytest

from jobs.helpers import OUTPUT
from jobshelf.errors import NotPersisted, UsageError
from jobshelf.jobs.output import Progress, has_begun, read_progress
from jobshelf.jobs.shards import Pace, Tally, check_loads, require_whole
from support import ROOT


@pytest.mark.heavy
@pytest.mark.jobs
def test_shards_killed_and_failing(shards):
    """Six shards, one killed, one that always fails: the rest completes, the failure is named, the rerun does the rest."""
    shards.kill(3)
    trouble = shards.fail(5)
    seen: list[Tally] = []
    outcome = shards.run(6, attempts=2, watch=seen.append).run()
    assert list(outcome.failed) == [5]
    assert "exit code" in outcome.failed[5] and "hf jobs logs alice/" in outcome.failed[5]
    assert not outcome.progress.is_complete
    with pytest.raises(
        NotPersisted, match=r"alice/squares is not complete. shard 5: .* Fix: run the same command again"
    ):
        require_whole(outcome, OUTPUT)
    assert [shards.starts(shard) for shard in (1, 3, 5)] == [1, 2, 2]
    assert seen[-1].done == 5 and seen[-1].failed == 1 and max(tally.running for tally in seen) <= 4
    # the first goes alone until it has begun
    assert next(tally for tally in seen if tally.running > 1).done == 0
    started = len(shards.jobs())
    trouble.unlink()
    again = shards.run(6).run()
    assert (len(shards.jobs()) - started, again.started) == (1, 1)
    assert shards.is_whole(again)
    require_whole(again, OUTPUT)
    assert check_loads(OUTPUT, shards.client) == {"parts": 12, "rows": 24}
    assert shards.run(6).run().started == 0


@pytest.mark.heavy
@pytest.mark.jobs
def test_a_shard_that_the_token_stops_stops_all(shards):
    """What ends the first shard before it has written anything would end the others too."""
    run = shards.run(6, attempts=2)
    run._parcel = type(run._parcel)(order=run._parcel.order, namespace="alice", volumes=run._parcel.volumes, secrets={})
    outcome = run.run()
    assert (outcome.started, list(outcome.failed), outcome.left) == (1, [1], (2, 3, 4, 5, 6))
    assert outcome.stopped == "shard 1 failed for its token, and the others would too"
    with pytest.raises(NotPersisted, match="5 shards were not started: shard 1 failed for its token"):
        require_whole(outcome, OUTPUT)


@pytest.mark.heavy
@pytest.mark.jobs
def test_max_cost_is_never_passed(shards):
    """A Job is started only when all that run could use up their timeouts; what is left is said."""
    run = shards.run(4, concurrency=4)
    each = run._cost.of(run._cost.timeout_seconds)
    seen: list[Tally] = []
    outcome = shards.run(4, max_cost=2 * each, watch=seen.append).run()
    assert max(tally.running for tally in seen) <= 2
    assert shards.is_whole(outcome)
    assert outcome.spent <= 2 * each
    with pytest.raises(UsageError, match="one shard may cost"):
        shards.run(4, max_cost=each / 2)


@pytest.mark.heavy
@pytest.mark.jobs
def test_the_cap_says_what_was_not_started(shards):
    run = shards.run(4, concurrency=4)
    each = run._cost.of(run._cost.timeout_seconds)
    capped = shards.run(4, max_cost=each)
    capped._spent = each / 2
    outcome = capped.run()
    assert (outcome.started, outcome.left) == (0, (1, 2, 3, 4))
    assert "could go beyond --max-cost" in outcome.stopped


@pytest.mark.heavy
@pytest.mark.jobs
def test_jobs_that_still_run_are_taken_over(shards):
    """A coordinator dies; the next one starts no second Job for the shards that run."""
    (shards.whims / "hold").touch()
    first = shards.run(3, watch=lambda tally: _leave(tally.running == 3))
    with pytest.raises(InterruptedError):
        first.run()
    assert len(shards.jobs()) == 3
    releaser = threading.Timer(1.0, (shards.whims / "hold").unlink)
    releaser.start()
    outcome = shards.run(3).run()
    releaser.join()
    assert shards.is_whole(outcome)
    assert len(shards.jobs()) == 3


def _leave(now: bool) -> None:
    if now:
        raise InterruptedError


@pytest.mark.heavy
@pytest.mark.jobs
def test_the_hub_fails_meanwhile(shards):
    """Answers of 500 and 429, and a Job whose start was not answered, cost time and nothing else."""
    shards.hub.fail(path="/api/jobs/alice$", method="POST", kind="lost", nth=2)
    shards.hub.fail(path="/api/jobs/alice?stage", method="GET", status=500, nth=3, times=2)
    shards.hub.fail(path="/api/jobs/alice$", method="POST", status=429, nth=3, headers={"Retry-After": "1"})
    outcome = shards.run(3).run()
    assert shards.is_whole(outcome)
    assert len(shards.jobs()) == 3


@pytest.mark.heavy
@pytest.mark.jobs
def test_no_credit_stops_the_rest(shards):
    shards.hub.fail(path="/api/jobs/alice$", method="POST", status=402, nth=2, times=9)
    outcome = shards.run(3).run()
    assert "starts no Job without credit" in outcome.stopped
    assert (outcome.started, outcome.left) == (1, (2, 3))


@pytest.mark.heavy
@pytest.mark.jobs
def test_ctrl_c_leaves_the_jobs_running_and_says_how_to_go_on(shards, hub_environment):
    (shards.whims / "hold").touch()
    argv = [sys.executable, "-m", "jobshelf", "submit", str(shards.script), "--shards", "3"]
    argv += ["--env", f"WHIMS={shards.whims}", "--timeout", "10m", "--", "alice/numbers", OUTPUT]
    with subprocess.Popen(argv, env=hub_environment, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        said = ""
        while "3 running" not in said:
            said += (line := process.stderr.readline())
            assert line, said
        process.send_signal(signal.SIGINT)
        said += process.stderr.read()
        assert process.wait(30) == 130
    assert "the Jobs keep running" in said
    label = said.rpartition("--label ")[2].strip()
    (shards.whims / "hold").unlink()
    key, _, value = label.partition("=")
    assert len(list(shards.client.list_jobs(namespace="alice", labels={key: value}))) == 3


def test_a_script_that_cannot_be_cut_and_an_output_that_is_none(jobshelf, hub_environment, script_of):
    plain = script_of("print(1)")
    done = jobshelf("submit", str(plain.local), "--shards", "3", env=hub_environment)
    assert (done.returncode, "does not say that it can be cut into shards" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("given", "output", "said"),
    [(["./out"], None, "'./out' is none"), ([OUTPUT, "--shard", "1/3"], None, "leave --shard out")],
)
def test_what_shards_need(shards, jobshelf, hub_environment, given, output, said):
    done = jobshelf("submit", str(shards.script), "--shards", "3", "--", "alice/numbers", *given, env=hub_environment)
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert shards.jobs() == []


def test_shards_are_not_left_alone(shards, jobshelf, hub_environment):
    words = (str(shards.script), "--shards", "3", "--detach", "--", "alice/numbers", OUTPUT)
    done = jobshelf("submit", *words, env=hub_environment)
    assert done.returncode == 2
    assert "--shards stays until every shard is done" in done.stderr
    assert shards.jobs() == []


@pytest.mark.heavy
@pytest.mark.jobs
def test_one_command_runs_all_shards_and_says_what_there_is(shards, jobshelf, hub_environment):
    words = (str(shards.script), "--shards", "3", "--env", f"WHIMS={shards.whims}", "--timeout", "10m")
    done = jobshelf("submit", *words, "--", "alice/numbers", OUTPUT, env=hub_environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{OUTPUT}: 24 rows in 12 parts; 3 Jobs, $")
    assert len(shards.rows()) == len(set(shards.rows())) == 24
    again = jobshelf("submit", *words, "--", "alice/numbers", OUTPUT, env=hub_environment)
    assert "24 rows in 12 parts; 0 Jobs, $0.00" in again.stdout


@pytest.mark.heavy
@pytest.mark.jobs
def test_how_far_an_output_is(shards):
    """A run begins with run.json and is complete with its card, which the last shard writes."""

    def put(name):
        shards.client.upload_file(path_or_fileobj=b"{}", path_in_repo=name, repo_id=OUTPUT, repo_type="dataset")

    assert read_progress(OUTPUT, shards.client) == Progress()
    shards.client.create_repo(OUTPUT, repo_type="dataset")
    put("README.md")
    assert not has_begun(OUTPUT, shards.client)
    assert read_progress(OUTPUT, shards.client) == Progress()
    shards.client.delete_file("README.md", OUTPUT, repo_type="dataset")
    for name in ("run.json", "data/train-00000000.parquet", "data/train-00000500.parquet"):
        put(name)
    assert has_begun(OUTPUT, shards.client)
    assert read_progress(OUTPUT, shards.client) == Progress(has_begun=True, parts=2)
    put("README.md")
    assert read_progress(OUTPUT, shards.client) == Progress(has_begun=True, parts=2, is_complete=True)


@pytest.mark.heavy
@pytest.mark.jobs
def test_an_output_that_lost_a_file_is_done_again(shards):
    """Every Job ended well, but the output is not complete: each shard looks for what is missing."""
    assert shards.is_whole(shards.run(3).run())
    name = "data/train-00000004.parquet"
    for gone in (name, "README.md"):
        shards.client.delete_file(gone, OUTPUT, repo_type="dataset")
    again = shards.run(3).run()
    assert (again.started, shards.is_whole(again)) == (3, True)


@pytest.mark.sweep
def test_sixty_four_shards_under_the_commit_limit(shards, record_property):
    """64 shards, three killed, one that always fails; 128 commits an hour; the rerun starts one Job."""
    shards.hub.limit_commits(128)
    shards.kill(7, 20, 41)
    trouble = shards.fail(48)
    start = time.monotonic()
    outcome = shards.run(64, attempts=2, concurrency=6, pace=Pace(shortest=0.2, longest=1)).run()
    assert list(outcome.failed) == [48]
    trouble.unlink()
    again = shards.run(64, concurrency=6).run()
    assert again.started == 1
    assert shards.is_whole(again)
    commits = [one for one in shards.hub.journal() if "/commit/main" in one.path and OUTPUT in one.path]
    assert not [one for one in commits if one.status == 429]
    assert len(commits) <= 128
    figure = (
        f"64 shards: {outcome.started} + {again.started} Jobs, {len(commits)} commits, {time.monotonic() - start:.0f} s"
    )
    record_property("figure", figure)
