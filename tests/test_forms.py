from __future__ import annotations

import ast
import json
import shlex
import subprocess

import pytest

from jobshelf.forms import docker_forms, example_arguments, forms, python_text, scheduled, script_url
from jobshelf.launch import Launch

URL = "https://huggingface.co/datasets/jobshelf/scripts/resolve/main/x.py"
LAUNCH = {
    "flavor": "a10g-large",
    "timeout": "2h",
    "image": "img:1",
    "env": {"A": "1"},
    "secrets": ["HF_TOKEN", "WANDB_API_KEY"],
}


def test_flags_precede_the_script_and_arguments_follow_it():
    form = forms(URL, LAUNCH, ("in", "out put"))
    assert form.local == ("env", "A=1", "uv", "run", URL, "in", "out put")
    assert form.jobs[:4] == ("hf", "jobs", "uv", "run")
    assert form.jobs[4:8] == ("--secrets", "HF_TOKEN", "--secrets", "WANDB_API_KEY")
    assert form.jobs[8:] == (URL, "in", "out put")


@pytest.mark.parametrize("flag", ["--json", "-q", "--quiet", "--format=x", "--no-truncate"])
def test_flags_that_hf_takes_for_itself_reach_the_script(flag, environment, tmp_path):
    script = tmp_path / "x.py"
    script.write_text("# /// script\n# dependencies = []\n# ///\n")
    argv = [*forms(str(script), {}, ("in", flag)).jobs, "--end"]
    argv.insert(argv.index("run") + 1, "--dry-run")
    said = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True).stdout
    assert f"in {flag} --end" in said


def test_texts_split_back_into_the_argv():
    data = forms(URL, LAUNCH, ("it's", "$x")).to_json()
    for name in ("local", "jobs"):
        assert shlex.split(data[name]["text"]) == data[name]["argv"]


def test_the_python_call_carries_the_launch_table_and_reads_secrets_where_it_runs():
    call = ast.parse(forms(URL, LAUNCH, ("a",)).to_json()["python"]["text"]).body[-1].value
    words = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    assert ast.literal_eval(call.args[0]) == URL
    assert words["image"] == "'img:1'"
    assert words["timeout"] == "'2h'"
    assert words["secrets"] == "{'HF_TOKEN': get_token(), 'WANDB_API_KEY': os.environ['WANDB_API_KEY']}"


def test_the_python_text_without_secrets_imports_only_what_it_uses():
    text = python_text({"script": URL, "script_args": []})
    assert text == f"from huggingface_hub import run_uv_job\n\nrun_uv_job('{URL}', script_args=[])"


def test_the_mcp_call_has_a_placeholder_for_each_secret():
    call = json.loads(forms(URL, {**LAUNCH, "image": None}, ("a",)).to_json()["mcp"]["text"])
    assert call["operation"] == "uv"
    assert call["args"]["secrets"] == {"HF_TOKEN": "$HF_TOKEN", "WANDB_API_KEY": "$WANDB_API_KEY"}
    assert call["args"]["script_args"] == ["a"]


def test_the_mcp_call_with_an_image_is_its_run_form_and_that_is_said():
    form = forms(URL, LAUNCH, ("a",), asked=Launch(dependencies=("rich",), python="3.12"))
    assert form.mcp["operation"] == "run"
    assert form.mcp["args"]["image"] == "img:1"
    assert form.mcp["args"]["command"] == ["uv", "run", "--with", "rich", "--python", "3.12", URL, "a"]
    assert ("mcp", "the MCP tool takes no image for a uv script: this is its run form") in form.notes


def test_what_the_mcp_tool_cannot_be_told_is_said():
    asked = Launch(flavor="h200", labels={"a": "b"}, attempts=3, volumes=("./in:/in",))
    said = " ".join(note for form, note in forms(URL, LAUNCH, (), asked=asked).notes if form == "mcp")
    for part in ("refuses the flavor h200", "labels, attempts", "mounts nothing of this machine", "WANDB_API_KEY"):
        assert part in said


def test_flags_precede_the_script_in_every_form():
    asked = Launch(
        flavor="t4-small", timeout="90m", python="3.12", dependencies=("rich<15",), env={"B": "2"}, attempts=3,
        labels={"k": "v"}, volumes=("hf://datasets/a/b@v1/c:/in:ro",), name="n", namespace="acme",
    )  # fmt: skip
    form = forms(URL, LAUNCH, ("--timeout", "5"), asked=asked)
    flags = "--flavor t4-small --python 3.12 --timeout 90m --attempts 3 --name n --namespace acme --with rich<15"
    flags += " --env B=2 --label k=v --volume hf://datasets/a/b@v1/c:/in:ro --secrets HF_TOKEN --secrets WANDB_API_KEY"
    assert form.jobs == ("hf", "jobs", "uv", "run", *flags.split(), URL, "--timeout", "5")
    assert form.python["env"] == {"A": "1", "B": "2"}
    assert form.python["dependencies"] == ["rich<15"]
    volume = "Volume(type='dataset', source='a/b', mount_path='/in', path='c', revision='v1', read_only=True)"
    assert volume in form.to_json()["python"]["text"]


def test_a_docker_job_in_every_form():
    form = docker_forms(
        "python:3.12", ["python", "-c", "print(1)"], Launch(flavor="cpu-upgrade", secrets=("HF_TOKEN",))
    )
    assert form.local == ("docker", "run", "--rm", "--env", "HF_TOKEN", "python:3.12", "python", "-c", "print(1)")
    head = ("hf", "jobs", "run", "--flavor", "cpu-upgrade", "--secrets", "HF_TOKEN", "python:3.12")
    assert form.jobs == (*head, "python", "-c", "print(1)")
    assert form.to_json()["python"]["text"].startswith(
        "from huggingface_hub import get_token, run_job\n\nrun_job(image="
    )
    assert form.mcp["args"]["command"] == ["python", "-c", "print(1)"]
    assert docker_forms("hf.co/spaces/a/b", ["x"], Launch()).local == ()


def test_scheduled_forms():
    form = scheduled(forms(URL, LAUNCH, ("--json",), asked=Launch(flavor="t4-small")), "@daily")
    start = ["hf", "jobs", "scheduled", "uv", "run", "--flavor", "t4-small"]
    assert list(form.jobs) == [
        *start,
        "--secrets",
        "HF_TOKEN",
        "--secrets",
        "WANDB_API_KEY",
        "--",
        "@daily",
        URL,
        "--json",
    ]
    assert "create_scheduled_uv_job(" in form.to_json()["python"]["text"]
    assert form.mcp["operation"] == "scheduled run"
    docker = scheduled(docker_forms("python:3.12", ["python", "-V"], Launch()), "0 9 * * 1")
    assert docker.jobs == ("hf", "jobs", "scheduled", "run", "0 9 * * 1", "python:3.12", "python", "-V")
    assert docker.function == "create_scheduled_job"


def test_example_arguments_are_those_of_the_first_uv_run_line():
    text = f"Do it\n\n    uv run {URL} in \\\n        'out put' --limit 3\n    hf jobs uv run {URL} other\n"
    assert example_arguments(text) == ("in", "out put", "--limit", "3")
    assert example_arguments("no example") == ()


def test_script_urls_follow_endpoint_and_revision():
    assert script_url("a/b", "x.py", revision="v1", endpoint="http://h/") == "http://h/datasets/a/b/resolve/v1/x.py"
