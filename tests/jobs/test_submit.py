"""Submitting: what is checked before, what is sent, what is said after; secrets seen by nobody."""

from __future__ import annotations

import re
import signal
import subprocess
import sys

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

from jobs.helpers import Line, described
from jobshelf.errors import EnvironmentFault, InputError, NoCredit, TokenError, UsageError
from jobshelf.hub import Account
from jobshelf.jobs.follow import Patience, exit_code, follow, log_lines
from jobshelf.jobs.order import order_image, order_script
from jobshelf.jobs.prices import Cost, duration, read_cost
from jobshelf.jobs.roles import find_roles
from jobshelf.jobs.start import prepare
from jobshelf.jobs.submit import submit
from jobshelf.launch import Launch
from support import READ_TOKEN, ROOT, TOKEN

TABLE = (
    'inputs = ["dataset"]\noutputs = ["dataset"]\nrehearse = ["{input}", "--output", "{output}", "--model", "{model}"]'
)
PARSER = """
import argparse
parser = argparse.ArgumentParser()
parser.add_argument("input")
parser.add_argument("--output")
parser.add_argument("--model")
parser.add_argument("--loud", action="store_true")
parser.parse_args()
"""


def started(target, client, *arguments, **asked):
    """Start it and wait for its end; its log without the line about the image."""
    prepared = prepare(target, arguments, Launch(**asked), client)
    job = follow(submit(prepared.order, prepared.checked, client), client)
    return job, list(client.fetch_job_logs(job_id=job.id, namespace="alice"))[1:]


def test_a_script_of_the_shelf_runs_from_its_url(hello, client, capsys):
    job, _ = started(hello, client, "--loud")
    assert job.command[-2:] == [hello.url, "--loud"]
    assert (job.flavor, described(job.id, client)["timeoutSeconds"], job.labels) == (
        "cpu-basic",
        600,
        {"name": "hello"},
    )
    assert "hello" in capsys.readouterr().out.splitlines()


def test_a_file_and_the_files_it_is_given_travel_along(script_of, client, tmp_path):
    rows = tmp_path / "my rows.txt"
    rows.write_text("one\n")
    job, log = started(script_of("import sys; print(open(sys.argv[1]).read())"), client, str(rows))
    assert job.command == ["uv", "run", "/data/work.py", "/data/my_rows.txt"]
    assert "one" in log
    assert job.volumes[0].source == "alice/jobs-artifacts"
    assert client.bucket_info("alice/jobs-artifacts").private


def test_a_folder_is_mounted_or_refused(script_of, client, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").write_text("a")
    with pytest.raises(InputError, match=r"is a folder of this machine.* Fix: mount it: --volume"):
        order_script(script_of("pass"), [str(folder)])
    body = "import pathlib; print(pathlib.Path('/in/a.txt').read_text())"
    prepared = prepare(script_of(body), [], Launch(volumes=(f"{folder}:/in",)), client)
    job = submit(prepared.order, prepared.checked, client)
    assert [(one.type, one.mount_path) for one in job.volumes] == [("bucket", "/in"), ("bucket", "/data")]


def test_a_docker_job(client):
    order = order_image("python:3.12", [sys.executable, "-c", "print('docker')"], Launch(flavor="cpu-upgrade"))
    prepared = prepare(None, order.command, Launch(image="python:3.12", flavor="cpu-upgrade"), client)
    job = follow(submit(prepared.order, prepared.checked, client), client)
    assert (job.docker_image, job.flavor, job.status.stage) == ("python:3.12", "cpu-upgrade", "COMPLETED")
    with pytest.raises(UsageError, match="needs a command"):
        order_image("python:3.12", [], Launch())
    with pytest.raises(UsageError, match="--with is for scripts"):
        order_image("python:3.12", ["x"], Launch(dependencies=("rich",)))


def test_secrets_are_taken_by_name_and_shown_nowhere(script_of, hub, client, capsys, monkeypatch):
    body = "import os; print(len(os.environ['HF_TOKEN']), os.environ['EXTRA_KEY'][0])"
    target = script_of(body, table='secrets = ["HF_TOKEN", "EXTRA_KEY"]')
    with pytest.raises(TokenError, match=r"needs the secret EXTRA_KEY, .* Fix: export EXTRA_KEY=\.\.\."):
        started(target, client)
    monkeypatch.setenv("EXTRA_KEY", "s3-of-the-user")
    job, log = started(target, client)
    assert f"{len(TOKEN)} s" in log
    shown = capsys.readouterr()
    seen = shown.out + shown.err + repr(hub.journal()) + repr(described(job.id, client))
    assert TOKEN not in seen and "s3-of-the-user" not in seen
    order = prepare(target, [], Launch(), client)
    assert TOKEN not in repr(order) + str(order.order) and "HF_TOKEN (***)" in str(order.order)


def test_the_receipt_names_what_a_person_needs(jobshelf, hub_environment, script_of):
    target = script_of("print('x')", table='flavor = "t4-small"\ntimeout = "90m"')
    done = jobshelf("submit", str(target.local), "--label", "team=x", env=hub_environment)
    job = re.search(r"^job +(\w{24})$", done.stdout, re.M)[1]
    assert f"url      {hub_environment['HF_ENDPOINT']}/jobs/alice/{job}" in done.stdout
    assert "machine  t4-small, $0.40 an hour: at most $0.60 with the timeout of 1h30m" in done.stdout
    for verb in ("logs --follow", "inspect", "wait", "cancel"):
        assert f"hf jobs {verb} alice/{job}" in done.stdout
    for line in re.findall(r"(hf jobs (?:inspect|wait) .*)", done.stdout):
        subprocess.run(line.split(), env=hub_environment, check=True, capture_output=True, timeout=60)


@pytest.mark.parametrize(("body", "code"), [("print('fine')", 0), ("raise SystemExit(4)", 4), ("1/0", 1)])
def test_follow_ends_as_the_script_did(jobshelf, hub_environment, script_of, body, code):
    done = jobshelf("submit", str(script_of(body).local), "--follow", env=hub_environment)
    assert done.returncode == code, done.stderr
    assert ("fine" in done.stdout.splitlines()) == (code == 0)
    assert re.search(r"\w{24}  (COMPLETED|ERROR \(.*exit code: \d\))\n", done.stderr)


def test_ctrl_c_leaves_the_job_running_and_says_how_to_end_it(hub_environment, script_of, client):
    target = script_of("import time; print('up', flush=True); time.sleep(600)")
    argv = [sys.executable, "-m", "jobshelf", "submit", str(target.local), "--follow"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(argv, env=hub_environment, cwd=ROOT, text=True, **pipes) as process:
        while process.stdout.readline() != "up\n":
            pass
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    job = re.search(r"the Job keeps running: .*to cancel it: hf jobs cancel alice/(\w+)", said)[1]
    assert client.inspect_job(job_id=job).status.stage == "RUNNING"
    client.cancel_job(job_id=job)


def test_a_lost_connection_is_made_again_and_no_line_comes_twice(script_of, hub, client, tmp_path, capfd):
    gate = tmp_path / "gate"
    wait = f"while not pathlib.Path({str(gate)!r}).exists(): time.sleep(0.05)"
    body = f"import pathlib, time\nprint('one', flush=True)\n{wait}\nprint('two')"
    prepared = prepare(script_of(body), [], Launch(), client)
    job = submit(prepared.order, prepared.checked, client)
    lines = []
    with Line(hub.endpoint) as line:
        for text in log_lines(job.id, "alice", HfApi(endpoint=line.endpoint, token=TOKEN)):
            lines.append(text)
            if text == "one" and not gate.exists():
                line.cut(seconds=2)
                gate.touch()
    assert [text for text in lines if text in {"one", "two"}] == ["one", "two"]
    assert line.lost >= 2


def test_patience_ends(client, script_of, hub):
    hub.fail(path="/api/jobs/alice/none", status=503, times=99)
    with pytest.raises(EnvironmentFault, match="answered 503"):
        list(log_lines("none", "alice", client, patience=Patience(0.5)))
    hub.clear_faults()
    with pytest.raises(InputError, match="not found"):
        list(log_lines("none", "alice", client))


@pytest.mark.parametrize(
    ("status", "error", "said"),
    [
        (402, NoCredit, r"starts no Job without credit .* Fix: add credit: https://huggingface.co/settings/billing"),
        (403, TokenError, "the token may not do this"),
        (429, EnvironmentFault, r"too many requests .* Fix: wait 7 s"),
        (400, InputError, "refuses the request"),
    ],
)
def test_refusals_of_the_hub_are_explained(hello, client, hub, status, error, said):
    prepared = prepare(hello, [], Launch(), client)
    hub.fail(path="/api/jobs/alice", method="POST", status=status, headers={"Retry-After": "7"})
    with pytest.raises(error, match=said):
        submit(prepared.order, prepared.checked, client)


def test_an_unknown_flavor_gets_the_nearest(client):
    for asked, nearest in (("a10g", "a10g-small"), ("h100x4", "h200x4"), ("cpu-baisc", "cpu-basic"), ("v5e-1", "l4x1")):
        with pytest.raises(UsageError, match=f"there is no flavor '{asked}'") as caught:
            read_cost(client, asked, None)
        assert caught.value.fix == f"--flavor {nearest}"


def test_the_cost(client, hello):
    cost = read_cost(client, "a10g-large", 7200, 2)
    assert (cost.most, cost.of(3600)) == (6.0, 1.5)
    assert str(cost) == "a10g-large, $1.50 an hour: at most $6.00 with the timeout of 2h and 2 attempts"
    assert read_cost(client, None, None) == Cost(flavor="cpu-basic", usd_per_hour=0.01, timeout_seconds=1800)
    assert [duration(seconds) for seconds in (0, 45, 5400, 176400)] == ["0s", "45s", "1h30m", "2d1h"]
    with pytest.raises(UsageError, match=r"may cost \$40.00, more than --max-cost 5"):
        prepare(hello, [], Launch(flavor="h200x8", timeout="1h"), client, max_cost=5)


def test_roles_come_from_the_header_and_the_parser(script_of):
    target = script_of(PARSER, header="[tool.jobshelf]\n" + TABLE)
    roles = find_roles(target.script, ["a/in", "--loud", "--output=a/out", "--model", "a/m"])
    assert (roles.inputs, roles.outputs, roles.models) == (("a/in",), ("a/out",), ("a/m",))
    roles = find_roles(target.script, ["--output", "a/out", "a/in"])
    assert (roles.inputs, roles.outputs) == (("a/in",), ("a/out",))
    assert find_roles(script_of("pass").script, ["x"]).outputs == ()


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        (["alice/no", "--output", "alice/o"], InputError, "there is no dataset alice/no"),
        (["hf://datasets/alice/no/x", "--output", "alice/o"], InputError, "there is no dataset alice/no"),
        (["alice/in", "--output", "bob/o"], TokenError, "belongs to 'bob', and 'alice' is no member of it"),
        (["alice/in", "--output", "alice/o", "--model", "alice/m"], InputError, "there is no model alice/m"),
    ],
)
def test_what_is_not_there_is_found_before_a_job_is_paid(script_of, client, hub, arguments, error, said):
    client.create_repo("alice/in", repo_type="dataset")
    target = script_of(PARSER, header="[tool.jobshelf]\n" + TABLE)
    with pytest.raises(error, match=said):
        prepare(target, arguments, Launch(), client)
    assert prepare(target, ["alice/in", "--output", "acme/new"], Launch(), client).checked.namespace == "alice"
    assert not [one for one in hub.journal() if one.method == "POST" and "/api/jobs" in one.path]


def test_warnings(script_of, client):
    client.create_repo("alice/in", repo_type="dataset")
    target = script_of(PARSER, header="[tool.jobshelf]\n" + TABLE)
    said = prepare(target, ["alice/in", "--output", "./out"], Launch(), client).notes
    assert said[0].startswith("no timeout is set: the Hub ends the Job after 30 minutes")
    assert "./out is a folder of the Job's machine" in said[1]


def test_who_may_start_jobs(hello, client, hub):
    with pytest.raises(TokenError, match="the token of 'bob' is read-only, and cannot start Jobs"):
        prepare(hello, [], Launch(), HfApi(endpoint=hub.endpoint, token=READ_TOKEN))
    with pytest.raises(
        TokenError, match=r"neither 'nobody' nor a member of it. Fix: --namespace alice or jobshelf or acme"
    ):
        prepare(hello, [], Launch(namespace="nobody"), client)
    assert prepare(hello, [], Launch(namespace="acme"), client).checked.namespace == "acme"


def test_no_credit_is_found_before_the_job_is_asked_for(hello, client, hub, monkeypatch):
    poor = Account(name="poor", token="hf_poor" + "x7Qz" * 7, orgs=("acme",), can_pay=False)
    hub._core.accounts.admit(poor, seconds=600)
    theirs = HfApi(endpoint=hub.endpoint, token=poor.token)
    with pytest.raises(
        NoCredit, match=r"'poor' has no credit, .* Fix: add some: https://huggingface.co/settings/billing"
    ):
        prepare(hello, [], Launch(), theirs)
    assert not [one for one in hub.journal() if one.method == "POST" and "/api/jobs" in one.path]
    assert prepare(hello, [], Launch(namespace="acme"), theirs).checked.namespace == "acme"
    with pytest.raises(HfHubHTTPError, match="402"):
        theirs.run_job(image="x", command=["true"])


def test_dry_run_prints_the_job_and_starts_nothing(jobshelf, hub, hub_environment, script_of):
    target = script_of("pass", table='secrets = ["HF_TOKEN", "NOT_SET"]\ntimeout = "2h"')
    words = ["submit", str(target.local), "--dry-run", "--env", "A=1", "--flavor", "l4x1", "--", "a", "b c"]
    done = jobshelf(*words, env=hub_environment)
    assert done.returncode == 0, done.stderr
    for line in (
        "command   uv run /data/work.py a 'b c'",
        "flavor    l4x1",
        "timeout   7200 s",
        "env       A=1",
        "secrets   HF_TOKEN (***), NOT_SET (not set here)",
        "machine   l4x1, $0.80 an hour: at most $1.60 with the timeout of 2h",
    ):
        assert line in done.stdout.splitlines()
    assert TOKEN not in done.stdout + done.stderr
    anonymous = jobshelf(*words, env=hub_environment | {"HF_TOKEN": ""})
    assert (anonymous.returncode, "nothing was checked on the Hub" in anonymous.stderr) == (0, True)
    assert not [one for one in hub.journal() if one.method == "POST" and "/api/jobs" in one.path]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--env", "HF_TOKEN=x"], "--secrets HF_TOKEN"),
        (["--env", f"A={TOKEN}"], "--secrets A"),
        (["--secrets", f"A={TOKEN}"], "takes a name"),
        (["--timeout", "soon"], "300, 90m, 2h, 1.5h or 1d"),
        (["--", "--token", TOKEN], "argument 2 of the script looks like a token"),
        (["--flavor", "h100"], "--flavor h200"),
        (["--max-cost", "five"], "is not a valid amount in US dollars"),
    ],
)
def test_bad_flags_start_nothing(jobshelf, hub, hub_environment, script_of, words, said):
    done = jobshelf("submit", str(script_of("pass").local), *words, env=hub_environment)
    assert (done.returncode, said in done.stderr, TOKEN in done.stderr) == (2, True, False), done.stderr
    assert not [one for one in hub.journal() if one.method == "POST" and "/api/jobs" in one.path]


def test_a_script_on_standard_input_runs_as_a_job(jobshelf, hub_environment):
    script = "# /// script\n# dependencies = []\n# ///\nimport sys; print('read', sys.argv[1:])\n"
    done = jobshelf("submit", "-", "--follow", "--", "a", env=hub_environment, input=script)
    assert (done.returncode, "read ['a']" in done.stdout) == (0, True), done.stderr


def test_exit_codes_are_those_of_the_script():
    class Job:
        class status:  # noqa: N801
            stage, message = "ERROR", None

    for message, code in ((None, 1), ("Job failed with exit code: 6", 6), ("Job failed with exit code: 137", 1)):
        Job.status.message = message
        assert exit_code(Job) == code


@pytest.mark.parametrize("kind", ["dataset", "model"])
def test_the_right_to_write_is_asked_of_the_kind_that_is_written(script_of, hub, client, kind):
    header = f'[tool.jobshelf]\npersists = "hub-{kind}"\nrehearse = ["{{input}}", "{{output}}"]'
    body = "import argparse\np = argparse.ArgumentParser()\np.add_argument('i')\np.add_argument('o')\np.parse_args()"
    target = script_of(body, header=header)
    client.create_repo("alice/rows", repo_type="dataset")
    client.create_repo("alice/result", repo_type=kind)
    assert prepare(target, ["alice/rows", "alice/result"], Launch(), client).checked
    hub.fail(method="GET", path=f"/api/{kind}s/alice/result/auth-check/write", status=403)
    with pytest.raises(TokenError, match="may not do this"):
        prepare(target, ["alice/rows", "alice/result"], Launch(), client)
