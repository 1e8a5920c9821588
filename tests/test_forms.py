from __future__ import annotations

import ast
import json
import shlex
import subprocess

import pytest

from jobshelf.forms import example_arguments, forms, python_text, script_url

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
    assert form.local == ("uv", "run", URL, "in", "out put")
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


def test_the_mcp_call_has_no_image_and_a_placeholder_for_each_secret():
    call = json.loads(forms(URL, LAUNCH, ("a",)).to_json()["mcp"]["text"])
    assert call["operation"] == "uv"
    assert call["args"]["secrets"] == {"HF_TOKEN": "$HF_TOKEN", "WANDB_API_KEY": "$WANDB_API_KEY"}
    assert "image" not in call["args"]
    assert call["args"]["script_args"] == ["a"]


def test_example_arguments_are_those_of_the_first_uv_run_line():
    text = f"Do it\n\n    uv run {URL} in \\\n        'out put' --limit 3\n    hf jobs uv run {URL} other\n"
    assert example_arguments(text) == ("in", "out put", "--limit", "3")
    assert example_arguments("no example") == ()


def test_script_urls_follow_endpoint_and_revision():
    assert script_url("a/b", "x.py", revision="v1", endpoint="http://h/") == "http://h/datasets/a/b/resolve/v1/x.py"
