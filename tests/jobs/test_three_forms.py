"""The forms that `command` prints are executed, each as a person would, and must ask for the same Job.

The scripts of the catalogue are hollow here: their Jobs begin before they are cancelled.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, get_session
from huggingface_hub.utils import parse_hf_mount

from jobs.helpers import comparable, described
from jobshelf.forms import Forms, docker_forms, scheduled
from jobshelf.index import load_index
from jobshelf.jobs import command, find_target
from jobshelf.jobs.order import order_script, send_files
from jobshelf.jobs.submit import post
from jobshelf.launch import DEFAULT_IMAGE, Launch
from jobshelf.shelf import find_shelf
from support import ROOT, TOKEN

SCRIPTS = [entry.id for entry in load_index(find_shelf(ROOT)).entries]
ASKED = Launch(
    flavor="t4-small", timeout="1.5h", python="3.12", dependencies=("rich<15", "httpx"), env={"WORD": "it's"},
    volumes=("hf://datasets/jobshelf/scripts:/in:ro",),
)  # fmt: skip
# What the tool's `uv` operation takes (hf-mcp-server 0.4 `packages/mcp/src/jobs/types.ts`); others are dropped silently.
UV_ARGUMENTS = {
    *("script", "script_args", "with_deps", "python", "flavor", "env", "secrets", "timeout", "volumes"),
    *("detach", "namespace", "schedule", "suspend"),
}
RUN_ARGUMENTS = (UV_ARGUMENTS - {"script", "script_args", "with_deps", "python"}) | {"image", "command"}


def by_hf(forms: Forms, client: HfApi, environment: Mapping[str, str]) -> dict[str, Any]:
    """Type the shell line, with `--detach` behind its verb."""
    argv = list(forms.jobs)
    argv.insert(argv.index("run") + 1, "--detach")
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return newest(client)


def by_python(forms: Forms, client: HfApi, environment: Mapping[str, str]) -> dict[str, Any]:
    """Run the text of the call in an interpreter of its own."""
    code = forms.to_json()["python"]["text"]
    argv = [environment["PYTHON"], "-c", code]
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return newest(client)


def by_mcp(forms: Forms, client: HfApi, _: Mapping[str, str]) -> dict[str, Any]:
    """Do what the MCP tool does with the call: substitute the token, build the command, post it."""
    call = json.loads(forms.to_json()["mcp"]["text"])
    given = call["args"]
    assert set(given) <= (UV_ARGUMENTS if call["operation"] == "uv" else RUN_ARGUMENTS)
    image, argv = given.get("image", DEFAULT_IMAGE), given.get("command")
    if argv is None:
        flags = [word for package in given.get("with_deps", ()) for word in ("--with", package)]
        flags += ["-p", given["python"]] if "python" in given else []
        script = given["script"] if given["script"].startswith("http") else "-"
        argv = ["uv", "run", *flags, script, *given["script_args"]]
    mounts = [parse_hf_mount(spec) for spec in given.get("volumes", ())]
    volumes = [
        {"type": one.source.type, "source": one.source.id, "mountPath": one.mount_path, "readOnly": one.read_only}
        for one in mounts
    ]
    secrets = {name: TOKEN if value == "$HF_TOKEN" else value for name, value in given.get("secrets", {}).items()}
    spec = {
        "dockerImage": image, "command": argv, "arguments": [], "flavor": given.get("flavor", "cpu-basic"),
        "environment": given.get("env", {}), "secrets": secrets, "volumes": volumes,
        "timeoutSeconds": seconds(given.get("timeout", "30m")),
    }  # fmt: skip
    url = f"{client.endpoint}/api/jobs/{given.get('namespace', 'alice')}"
    return get_session().post(url, json=spec, headers={"Authorization": f"Bearer {TOKEN}"}).raise_for_status().json()


def seconds(text: str) -> int:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    return int(float(text[:-1]) * units[text[-1]]) if text[-1] in units else int(text)


def newest(client: HfApi) -> dict[str, Any]:
    """The Job that was asked for last; it need not run."""
    job = next(iter(client.list_jobs(namespace="alice")))
    client.cancel_job(job_id=job.id, namespace="alice")
    return described(job.id, client)


@pytest.fixture
def shell(hub_environment):
    return hub_environment | {"PYTHON": sys.executable}


@pytest.fixture
def catalogue(client, hollow_shelf):
    """The shelf itself, its scripts on the embedded Hub."""
    client.create_repo(hollow_shelf.dataset, repo_type="dataset")
    files = [CommitOperationAdd(path.name, path) for path in hollow_shelf.scripts()]
    client.create_commit(hollow_shelf.dataset, files, commit_message="Scripts", repo_type="dataset")
    return hollow_shelf


def same_jobs(forms: Forms, client: HfApi, shell: Mapping[str, str]) -> dict[str, Any]:
    """Ask for the Job in each form; return what all of them asked for."""
    jobs = {}
    for way in (by_hf, by_python, by_mcp):
        jobs[way.__name__] = comparable(way(forms, client, shell))
        newest(client)
    assert jobs["by_hf"] == jobs["by_python"] == jobs["by_mcp"]
    return jobs["by_hf"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_of_the_catalogue(catalogue, client, shell, name):
    target = find_target(name, catalogue, load_index(catalogue))
    found = same_jobs(command(target, ("in put", "--json", "--timeout", "5", "-d", "it's")), client, shell)
    assert found["command"][2:] == ["<script>", "in put", "--json", "--timeout", "5", "-d", "it's"]
    order = order_script(target, ("in put", "--json", "--timeout", "5", "-d", "it's"))
    job = post(send_files(order, client, "alice"), client)
    assert comparable(described(job.id, client)) == found
    newest(client)


def test_dependencies_python_flavor_timeout_variables_and_volumes(catalogue, client, shell):
    target = find_target("dataset-inspector", catalogue, load_index(catalogue))
    found = same_jobs(command(target, ("a",), ASKED), client, shell)
    assert found["command"] == [
        "uv",
        "run",
        "--with",
        "rich<15",
        "--with",
        "httpx",
        "--python",
        "3.12",
        "<script>",
        "a",
    ]
    assert (found["flavor"], found["timeout"], found["environment"]) == ("t4-small", 5400, {"WORD": "it's"})
    assert [(volume["source"], volume["mountPath"]) for volume in found["volumes"]] == [("jobshelf/scripts", "/in")]
    job = post(send_files(order_script(target, ("a",), ASKED), client, "alice"), client)
    assert comparable(described(job.id, client)) == found
    newest(client)


def test_an_image(catalogue, client, shell):
    target = find_target("dataset-inspector", catalogue, load_index(catalogue))
    found = same_jobs(command(target, ("a",), Launch(image="vllm/vllm-openai:v1")), client, shell)
    assert found["image"] == "vllm/vllm-openai:v1"


def test_a_file_with_a_table_and_an_image(client, shell, script_of):
    target = script_of("print(1)", table='image = "img:1"\nflavor = "l4x1"\ntimeout = 600\nenv = {A = "1"}')
    found = same_jobs(command(target, ("a",)), client, shell)
    assert (found["image"], found["flavor"], found["timeout"], found["environment"]) == (
        "img:1",
        "l4x1",
        600,
        {"A": "1"},
    )


def test_labels_and_attempts_in_the_two_forms_that_take_them(client, shell, script_of):
    made = command(script_of("print(1)"), (), Launch(labels={"team": "x"}, attempts=3, name="mine"))
    jobs = [way(made, client, shell) for way in (by_hf, by_python)]
    assert [(job["labels"], job["retry"]) for job in jobs] == [({"team": "x", "name": "mine"}, 2)] * 2


def test_a_docker_job(client, shell):
    found = [
        {key: job[key] for key in ("dockerImage", "command", "flavor", "environment", "timeoutSeconds")}
        for way in (by_hf, by_python, by_mcp)
        for job in [way(docker_forms("python:3.12", ["python", "-c", "print(1)"], Launch(timeout="2h")), client, shell)]
    ]
    assert found[0] == found[1] == found[2]
    assert found[0]["command"] == ["python", "-c", "print(1)"]


def test_a_space_as_image(client, shell):
    made = docker_forms("hf.co/spaces/acme/tool", ["run"], Launch())
    assert [way(made, client, shell)["spaceId"] for way in (by_hf, by_python)] == ["acme/tool"] * 2


def test_the_scheduled_forms(catalogue, client, shell):
    target = find_target(SCRIPTS[-1], catalogue, load_index(catalogue))
    made = scheduled(command(target, ("a", "--json"), ASKED), "0 9 * * 1")
    subprocess.run(made.jobs, env=shell, check=True, capture_output=True, timeout=120)
    subprocess.run([shell["PYTHON"], "-c", made.to_json()["python"]["text"]], env=shell, check=True, timeout=120)
    first, second = client.list_scheduled_jobs(namespace="alice")
    assert (first.schedule, second.schedule) == ("0 9 * * 1", "0 9 * * 1")
    for one, other in zip(first.job_spec.command[-3:], second.job_spec.command[-3:], strict=True):
        assert one == other or one.endswith(".py")
    for key in ("docker_image", "flavor", "timeout", "environment", "secrets"):
        assert getattr(first.job_spec, key) == getattr(second.job_spec, key)


def test_the_local_form_runs_here(shell, script_of):
    target = script_of("import os, sys; print(os.environ['WORD'], sys.argv[1:])", table='env = {WORD = "table"}')
    made = command(target, ("a b",))
    done = subprocess.run(made.local, env=shell, capture_output=True, text=True, check=True)
    assert done.stdout == "table ['a b']\n"
