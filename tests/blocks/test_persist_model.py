"""Block `persist_model`: a repository of the embedded Hub holds a whole model at each commit, whatever happens."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import HfApi, constants

from blocks.flaky import flaky
from jobshelf import blocks
from jobshelf.hub import Hub
from support import BIN, READ_TOKEN, TOKEN

model, exits, retry, file = (blocks.load(name) for name in ("persist_model", "exits", "retry", "persist_file"))
REPO = "alice/tiny"
RUN = file.Run(script="train.py", request={"epochs": 1, "layers": ("q", "v")}, source="a" * 40)
WEIGHTS = bytes(range(256)) * 4000
CHILD = f"""
import sys
from pathlib import Path
from jobshelf import blocks
model, file, exits = (blocks.load(name) for name in ("persist_model", "persist_file", "exits"))
run = file.Run(script="train.py", request={{"epochs": 1, "layers": ("q", "v")}}, source="a" * 40)
sys.exit(exits.run_to_exit(
    lambda: model.persist_model({REPO!r}, Path(sys.argv[1]), run, token={TOKEN!r}) and 0
))
"""


def use_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def here(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    use_endpoint(hub.endpoint, monkeypatch)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(retry, "RETRY_FIRST_PAUSE_S", 0.001)
    for name in ("JOB_ID", "JOBSHELF_VOLUME"):
        monkeypatch.delenv(name, raising=False)
    return hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    (made / "tokenizer").mkdir(parents=True)
    (made / ".cache").mkdir()
    (made / ".cache/lock").write_text("not part of the model")
    (made / "config.json").write_text('{"layers": 2}')
    (made / "tokenizer/vocab.txt").write_text("a\nb\n")
    (made / "model.safetensors").write_bytes(WEIGHTS)
    return made


def start(*, private: bool = True, overwrite: bool = False, dry_run: bool = False, run: object = RUN) -> object:
    return model.open_model(REPO, run, token=TOKEN, private=private, overwrite=overwrite, dry_run=dry_run)


def push(folder: Path, **options: object) -> str:
    return model.persist_model(REPO, folder, RUN, token=TOKEN, **options)


def stopped(call: Callable[[], object], code: int) -> str:
    with pytest.raises(exits.Stop) as stop:
        call()
    assert stop.value.code == code
    assert TOKEN not in str(stop.value)
    return str(stop.value)


def names(client: HfApi, revision: str | None = None) -> set[str]:
    return set(client.list_repo_files(REPO, revision=revision)) - {".gitattributes", "jobshelf.json"}


def titles(client: HfApi) -> list[str]:
    return [commit.title for commit in client.list_repo_commits(REPO)][::-1][1:]


MODEL = {"config.json", "tokenizer/vocab.txt", "model.safetensors"}


def test_a_model_in_one_commit(here: Hub, client: HfApi, folder: Path, tmp_path: Path) -> None:
    start()
    commit = push(folder, make_card=lambda old: f"{old or ''}# Tiny\n")
    assert titles(client) == ["Result of train.py"]
    assert names(client) == MODEL | {"README.md"}
    assert client.model_info(REPO).private
    assert client.model_info(REPO).sha == commit
    got = model.fetch_model(REPO, tmp_path / "got", token=TOKEN)
    assert (got / "model.safetensors").read_bytes() == WEIGHTS
    assert (got / "README.md").read_text() == "# Tiny\n"
    assert json.loads((got / "jobshelf.json").read_text()) == {
        "script": "train.py",
        "request": {"epochs": 1, "layers": ["q", "v"]},
        "source": "a" * 40,
        "files": sorted(MODEL),
    }


def test_the_card_keeps_what_was_there(here: Hub, client: HfApi, folder: Path, tmp_path: Path) -> None:
    start()
    (folder / "README.md").write_text("from the trainer\n")
    push(folder, make_card=lambda old: f"{old}ours\n")
    push(folder, make_card=lambda old: old if old.endswith("ours\n") else "lost")
    assert len(titles(client)) == 1
    assert (
        model.fetch_model(REPO, tmp_path / "got", token=TOKEN) / "README.md"
    ).read_text() == "from the trainer\nours\n"


def test_only_changes_are_sent_and_old_files_go(here: Hub, client: HfApi, folder: Path) -> None:
    start()
    push(folder)
    (folder / "tokenizer/vocab.txt").unlink()
    (folder / "config.json").write_text('{"layers": 3}')
    here.clear_journal()
    push(folder)
    assert names(client) == {"config.json", "model.safetensors"}
    assert not [request for request in here.journal() if "xet-write-token" in request.path]
    assert len(titles(client)) == 2


def test_file_by_file(here: Hub, client: HfApi, tmp_path: Path) -> None:
    start()
    names = ("a.gguf", "b.gguf", "c.gguf")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(name.encode() * 1000)
        (tmp_path / name / "index.json").write_text(name)
    push(tmp_path / "a.gguf")
    push(tmp_path / "b.gguf", keep={"a.gguf", "b.gguf"})
    assert {"a.gguf", "b.gguf", "index.json"} <= set(client.list_repo_files(REPO))
    held = model.look_at_model(REPO, TOKEN)
    assert held.manifest["files"] == ["a.gguf", "b.gguf", "index.json"]
    push(tmp_path / "c.gguf", keep=["b.gguf"])
    assert "a.gguf" not in client.list_repo_files(REPO)
    assert model.look_at_model(REPO, TOKEN).manifest["files"] == ["b.gguf", "c.gguf", "index.json"]


def test_checkpoints_are_replaced_whole_and_outlive_the_model(
    here: Hub, client: HfApi, folder: Path, tmp_path: Path
) -> None:
    start()
    for step in (10, 20):
        made = tmp_path / f"out/checkpoint-{step}"
        made.mkdir(parents=True)
        (made / f"rng_{step}.pth").write_bytes(b"\0" * step)
        (made / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        push(made, inside=model.MODEL_CHECKPOINT)
        assert names(client) == {f"last-checkpoint/rng_{step}.pth", "last-checkpoint/trainer_state.json"}
    push(folder)
    assert names(client) == MODEL | {"last-checkpoint/rng_20.pth", "last-checkpoint/trainer_state.json"}
    got = model.fetch_model(REPO, tmp_path / "got", token=TOKEN, inside="last-checkpoint")
    assert json.loads((got / "trainer_state.json").read_text()) == {"global_step": 20}
    assert {path.name for path in got.iterdir()} == {"rng_20.pth", "trainer_state.json"}


def test_nothing_to_go_on_with(here: Hub, tmp_path: Path) -> None:
    assert model.fetch_model(REPO, tmp_path, token=TOKEN) is None
    start()
    assert model.fetch_model(REPO, tmp_path, token=TOKEN, inside="last-checkpoint") is None


def test_newest_checkpoint_is_the_last_whole_one(tmp_path: Path) -> None:
    assert model.newest_checkpoint(tmp_path) is None
    for name, whole in (
        ("checkpoint-9", True),
        ("checkpoint-100", True),
        ("checkpoint-200", False),
        ("checkpoint-x", True),
    ):
        (tmp_path / name).mkdir()
        if whole:
            (tmp_path / name / "trainer_state.json").write_text("{}")
    assert model.newest_checkpoint(tmp_path) == tmp_path / "checkpoint-100"


def test_dry_run_creates_nothing(here: Hub) -> None:
    assert start(dry_run=True) is None
    assert {request.method for request in here.journal()} == {"GET"}


def test_what_others_made_is_refused(here: Hub, folder: Path) -> None:
    start()
    push(folder)
    assert start().files
    other = file.Run(script="train.py", request={"epochs": 2}, source="a" * 40)
    assert "holds 3 files of another run (config.json" in stopped(lambda: start(run=other), 4)
    assert start(run=other, overwrite=True).head


def test_private_model_public_repository(here: Hub, client: HfApi) -> None:
    client.create_repo(REPO)
    assert "is public" in stopped(start, 2)


def test_creation_refused(here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    said = stopped(
        lambda: model.open_model(REPO, RUN, token=READ_TOKEN, private=True, overwrite=False, dry_run=False), 3
    )
    assert "does not let this token create alice/tiny" in said


@pytest.mark.parametrize("given", ["tiny", "./tiny", "a/b/c", "a/b--c", "a/..", "a/b.git", ""])
def test_no_repository(given: str) -> None:
    assert "write user/name" in stopped(lambda: model.parse_model(given), 2)


def test_repository() -> None:
    assert model.parse_model(REPO) == REPO


@pytest.mark.parametrize("fault", [500, 429, 412, 409, "reset", "lost"])
def test_a_write_that_fails_once(
    here: Hub, client: HfApi, folder: Path, monkeypatch: pytest.MonkeyPatch, fault: str | int
) -> None:
    start()
    with flaky(here.endpoint) as proxy:
        use_endpoint(proxy.url, monkeypatch)
        proxy.fail(fault, path="/commit/", method="POST", headers={"Retry-After": "0"})
        push(folder)
        use_endpoint(here.endpoint, monkeypatch)
    assert names(client) == MODEL
    assert len(titles(client)) == 1


def test_another_run_commits_in_between(
    here: Hub, client: HfApi, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start()
    (tmp_path / "other").mkdir()
    (tmp_path / "other/old.bin").write_bytes(b"\0old")

    def other() -> None:
        use_endpoint(here.endpoint, monkeypatch)
        push(tmp_path / "other")

    with flaky(here.endpoint) as proxy:
        use_endpoint(proxy.url, monkeypatch)
        proxy.fail(other, path="/commit/", method="POST")
        push(folder)
    assert names(client) == MODEL, "the whole model of one run, not a mixture of two"


def test_files_of_others_stay(here: Hub, client: HfApi, folder: Path) -> None:
    start()
    push(folder)
    client.upload_file(path_or_fileobj=b"theirs", path_in_repo="plots/loss.svg", repo_id=REPO)
    (folder / "config.json").unlink()
    push(folder)
    assert names(client) == MODEL - {"config.json"} | {"plots/loss.svg"}


def test_acknowledged_but_not_there(here: Hub, client: HfApi, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start()
    with flaky(here.endpoint) as proxy:
        use_endpoint(proxy.url, monkeypatch)
        head = str(client.model_info(REPO).sha)
        url = f"{proxy.url}/{REPO}/commit/{head}"
        proxy.answer(json.dumps({"success": True, "commitOid": head, "commitUrl": url}).encode(), path="/commit/")
        assert "4 files differ from what was sent" in stopped(lambda: push(folder), 6)


@pytest.mark.parametrize("moment", ["/preupload/", "/xet-write-token/", "/commit/"])
def test_killed_while_pushing(
    here: Hub, client: HfApi, folder: Path, hub_environment: dict[str, str], moment: str
) -> None:
    start()
    with flaky(here.endpoint) as proxy:
        env = hub_environment | {"HF_ENDPOINT": proxy.url}
        process = subprocess.Popen([sys.executable, "-c", CHILD, str(folder)], env=env)
        proxy.fail(process.kill, path=moment)
        assert process.wait(60) == -signal.SIGKILL
    assert names(client) in (set(), MODEL), "half a model"
    push(folder)
    assert names(client) == MODEL


def test_refused_on_a_laptop_and_pushed_by_the_printed_command(
    here: Hub, client: HfApi, folder: Path, hub_environment: dict[str, str]
) -> None:
    start()
    here.fail(path="/commit/", method="POST", status=403)
    said = stopped(lambda: push(folder), 6)
    assert f"it is in {folder}" in said
    command = shlex.split(said.partition("Fix: ")[2])
    assert command[:2] == ["hf", "upload"]
    subprocess.run([BIN / "hf", *command[1:]], env=hub_environment, check=True, timeout=60)
    assert names(client) >= MODEL


@pytest.mark.parametrize("volume", [True, False])
def test_refused_on_a_job(
    here: Hub,
    client: HfApi,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hub_environment: dict[str, str],
    volume: bool,
) -> None:
    start()
    monkeypatch.setenv("JOB_ID", "job")
    if volume:
        monkeypatch.setenv("JOBSHELF_VOLUME", str(tmp_path / "mount"))
    here.fail(path="/commit/", method="POST", status=403)
    said = stopped(lambda: push(folder, inside="last-checkpoint"), 6)
    assert re.search(r"saved in \S*(mount/alice--tiny|hf://buckets/alice/tiny-model)", said)
    command = said.partition("Fix: ")[2]
    environment = hub_environment | {"PATH": f"{BIN}:{hub_environment['PATH']}"}
    subprocess.run(["sh", "-c", command], env=environment, cwd=tmp_path, check=True, timeout=60)
    assert {f"last-checkpoint/{name}" for name in MODEL} <= names(client)


def test_refused_on_a_job_with_nowhere_to_go(here: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start()
    monkeypatch.setenv("JOB_ID", "job")
    here.fail(path="/commit/", method="POST", status=403)
    here.fail(path="/api/buckets/", method="POST", status=403)
    said = stopped(lambda: push(folder), 6)
    assert f"hf upload alice/tiny {folder} . --exclude '.cache/*' --repo-type model before this disk is gone" in said


def test_an_empty_folder(here: Hub, tmp_path: Path) -> None:
    start()
    (tmp_path / "empty").mkdir()
    assert "is empty" in stopped(lambda: push(tmp_path / "empty"), 6)
