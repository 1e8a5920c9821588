"""A client of the 1.x line, in a process of its own: what its users do works, what fails has its class."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from support import BIN

CODE = """\
import json, os, sys
import huggingface_hub
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

folder = sys.argv[1]
api, found = HfApi(), {"version": huggingface_hub.__version__}
D = {"repo_id": "ada/old", "repo_type": "dataset"}


def outcome(call):
    try:
        call()
    except Exception as error:
        return [type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)]
    return None


found["whoami"] = api.whoami()["name"]
api.create_repo(**D, private=True)
found["again"] = outcome(lambda: api.create_repo(**D))
os.makedirs(f"{folder}/up")
for name, content in (("a.txt", b"a"), ("large.bin", bytes(range(256)) * 5000)):
    with open(f"{folder}/up/{name}", "wb") as file:
        file.write(content)
api.upload_folder(**D, folder_path=f"{folder}/up")
head = api.dataset_info("ada/old").sha
add = lambda text: [CommitOperationAdd("b.txt", text)]
api.create_commit(**D, operations=add(b"1"), commit_message="one", parent_commit=head)
stale = lambda: api.create_commit(**D, operations=add(b"2"), commit_message="two", parent_commit=head)
found["stale"] = outcome(stale)
found["files"] = sorted(api.list_repo_files(**D))
with open(api.hf_hub_download(filename="large.bin", **D), "rb") as file:
    found["large"] = file.read() == bytes(range(256)) * 5000
found["snapshot"] = sorted(os.listdir(api.snapshot_download(**D)))
api.create_tag(**D, tag="v1")
api.create_branch(**D, branch="feat/x")
found["refs"] = [[ref.name for ref in refs] for refs in (api.list_repo_refs(**D).branches, api.list_repo_refs(**D).tags)]
pull = api.create_commit(**D, operations=[CommitOperationDelete("a.txt")], commit_message="drop", create_pr=True)
api.merge_pull_request(**D, discussion_num=pull.pr_num)
found["after"] = sorted(api.list_repo_files(**D))
found["no file"] = outcome(lambda: api.hf_hub_download(filename="no", **D))
found["no revision"] = outcome(lambda: api.list_repo_files(revision="no", **D))
found["no repo"] = outcome(lambda: api.dataset_info("ada/missing"))
found["anonymous"] = outcome(lambda: HfApi(token=False).dataset_info("ada/old"))
found["bad token"] = outcome(lambda: HfApi(token="hf_unknown").dataset_info("ada/old"))
job = api.run_job(image="x", command=["sh", "-c", "echo out; exit 3"])
found["log"] = list(api.fetch_job_logs(job_id=job.id, follow=True))[1:]
found["stage"] = api.inspect_job(job_id=job.id).status.stage
schedule = api.create_scheduled_job(image="x", command=["true"], schedule="@daily")
found["schedules"] = len(list(api.list_scheduled_jobs()))
api.delete_repo(**D)
print(json.dumps(found))
"""


@pytest.mark.parametrize("variables", [{}, {"HF_HUB_DISABLE_XET": "1"}], ids=["xet", "lfs"])
def test_a_client_of_the_1_line(login: dict[str, str], tmp_path: Path, variables: dict[str, str]):
    argv = [BIN / "uv", "run", "--no-project", "--python", sys.executable, "--with", "huggingface_hub==1.31.0"]
    env = login | variables
    done = subprocess.run(
        [*argv, "python", "-c", CODE, str(tmp_path)], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == {
        "version": "1.31.0",
        "whoami": "ada",
        "again": ["HfHubHTTPError", 409],
        "stale": ["HfHubHTTPError", 412],
        "files": [".gitattributes", "a.txt", "b.txt", "large.bin"],
        "large": True,
        "snapshot": [".gitattributes", "a.txt", "b.txt", "large.bin"],
        "refs": [["feat/x", "main"], ["v1"]],
        "after": [".gitattributes", "b.txt", "large.bin"],
        "no file": ["RemoteEntryNotFoundError", 404],
        "no revision": ["RevisionNotFoundError", 404],
        "no repo": ["RepositoryNotFoundError", 404],
        "anonymous": ["RepositoryNotFoundError", 401],
        "bad token": ["HfHubHTTPError", 401],
        "log": ["out"],
        "stage": "ERROR",
        "schedules": 1,
    }
