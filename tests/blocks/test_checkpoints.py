"""Block `checkpoints`: only complete ones count, the Hub keeps as many as were asked for, and the Hub's absence ends nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants

from blocks.flaky import flaky
from jobshelf import blocks
from jobshelf.hub import Hub
from support import TOKEN

checkpoints, persist_model, retry, file = (
    blocks.load(name) for name in ("checkpoints", "persist_model", "retry", "persist_file")
)
REPO = "alice/tiny"
RUN = file.Run(script="train.py", request={"epochs": 1}, source="a" * 40)
FACTS = {"run_name": "tiny-1", "recipe": {"batch": [8, "fits"]}}
STATE = b"\0\1" * 600_000  # large enough for the Hub's large-file storage

Save = Callable[..., Path]


def use_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def here(hub: Hub, client: HfApi, monkeypatch: pytest.MonkeyPatch) -> Hub:
    use_endpoint(hub.endpoint, monkeypatch)
    monkeypatch.setattr(retry, "RETRY_FIRST_PAUSE_S", 0.001)
    client.create_repo(REPO)
    return hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


@pytest.fixture
def save(folder: Path) -> Save:
    """`save(3)`: what a Trainer leaves after step 3, sealed unless `sealed=False`."""

    def write(step: int, *, sealed: bool = True) -> Path:
        path = folder / f"checkpoint-{step}"
        path.mkdir()
        (path / "optimizer.pt").write_bytes(STATE + bytes([step]))
        (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
        if sealed:
            checkpoints.seal_checkpoint(path, FACTS | {"step": step})
        return path

    return write


@pytest.fixture
def pusher() -> Iterator[Callable[..., object]]:
    made = []

    def make(**options: float) -> object:
        made.append(checkpoints.CheckpointPusher(REPO, RUN, TOKEN, **{"limit": 2, "every": 0.0} | options))
        return made[-1]

    yield make
    for one in made:
        one.cancel()


def on_hub(client: HfApi) -> list[str]:
    return sorted(name for name in client.list_repo_files(REPO) if name.startswith("checkpoints/"))


def newest(client: HfApi) -> object:
    return checkpoints.newest_on_hub(REPO, persist_model.look_at_model(REPO, TOKEN), TOKEN)


def test_facts_come_back_in_their_order(folder: Path) -> None:
    """The card of a resumed training lists its settings as that of an uninterrupted one does."""
    (folder / "checkpoint-1").mkdir(parents=True)
    recipe = {"tuning": ["lora", "a"], "batch": [8, "b"], "accumulation": [2, "c"]}
    checkpoints.seal_checkpoint(folder / "checkpoint-1", {"recipe": recipe})
    assert list(checkpoints.newest_here(folder).facts["recipe"]) == ["tuning", "batch", "accumulation"]


def test_the_newest_complete_one_counts(folder: Path, save: Save) -> None:
    assert checkpoints.newest_here(folder) is None
    for step in (2, 10):
        save(step)
    save(12, sealed=False)
    found = checkpoints.newest_here(folder)
    assert (found.step, found.facts["run_name"], found.path) == (10, "tiny-1", folder / "checkpoint-10")
    with (folder / "checkpoint-10" / "optimizer.pt").open("ab") as stream:
        stream.write(b"torn")
    assert checkpoints.newest_here(folder).step == 2
    (folder / "checkpoint-2" / "complete.json").write_text('{"files": ')
    assert checkpoints.newest_here(folder) is None


def test_what_is_pushed_is_found_and_fetched(
    here: Hub, client: HfApi, save: Save, folder: Path, tmp_path: Path
) -> None:
    whole = save(3)
    checkpoints.push_checkpoints(REPO, folder, RUN, TOKEN)
    found = newest(client)
    assert (found.step, found.facts["recipe"], found.path) == (3, FACTS["recipe"], None)
    fetched = checkpoints.fetch_checkpoint(REPO, found, tmp_path / "again", TOKEN)
    assert {path.name: path.read_bytes() for path in fetched.iterdir()} == {
        path.name: path.read_bytes() for path in whole.iterdir()
    }
    assert checkpoints.newest_here(tmp_path / "again").step == 3


def test_one_commit_adds_one_and_removes_those_beyond_the_limit(
    here: Hub, client: HfApi, save: Save, folder: Path, pusher: Callable[..., object]
) -> None:
    push = pusher()
    before = len(client.list_repo_commits(REPO))
    for step in (1, 2, 3):
        save(step)
        push.push(folder)
    assert push.pushed == [1, 2, 3]
    assert {name.split("/")[1] for name in on_hub(client)} == {"checkpoint-2", "checkpoint-3"}
    assert len(client.list_repo_commits(REPO)) == before + 3


def test_the_commit_of_the_model_removes_the_checkpoints(
    here: Hub, client: HfApi, save: Save, folder: Path, tmp_path: Path
) -> None:
    save(1)
    checkpoints.push_checkpoints(REPO, folder, RUN, TOKEN)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "adapter_model.safetensors").write_bytes(b"weights")
    persist_model.persist_model(REPO, tmp_path / "model", RUN, token=TOKEN)
    assert on_hub(client) == []
    assert "adapter_model.safetensors" in client.list_repo_files(REPO)


def test_one_that_lacks_a_file_is_passed_over(here: Hub, client: HfApi, save: Save, folder: Path) -> None:
    save(1), save(2)
    checkpoints.push_checkpoints(REPO, folder, RUN, TOKEN)
    client.delete_file("checkpoints/checkpoint-2/optimizer.pt", REPO)
    assert newest(client).step == 1
    seal = CommitOperationAdd(path_in_repo="checkpoints/checkpoint-1/complete.json", path_or_fileobj=b"[]")
    client.create_commit(REPO, [seal], commit_message="broken")
    assert newest(client) is None


def test_the_trainer_may_delete_what_is_being_pushed(
    here: Hub, client: HfApi, save: Save, folder: Path, pusher: Callable[..., object]
) -> None:
    path = save(1)
    with flaky(here.endpoint) as proxy:
        gone = []
        proxy.fail(lambda: gone.append([item.unlink() for item in path.iterdir()]), path="/preupload/", method="POST")
        constants.ENDPOINT = proxy.url
        push = pusher()
        push.push(folder)
    assert gone
    assert push.pushed == [1]


def test_a_hub_that_is_away_holds_nothing_up_and_gets_the_newest_one_later(
    here: Hub,
    client: HfApi,
    save: Save,
    folder: Path,
    pusher: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(checkpoints, "CHECKPOINT_PAUSE_S", 0.05)
    silent = here.fail(path="", kind="delay", seconds=3600, times=1_000_000)
    push = pusher(every=0.001)
    for step in (1, 2, 3):
        save(step)
        push.push(folder)
    while not silent.struck:
        time.sleep(0.01)
    here.clear_faults()
    away = here.fail(path="", kind="status", status=503, times=1_000_000)
    while away.struck < 8:
        time.sleep(0.01)
    assert push.pushed == []
    here.clear_faults()
    assert push.close(30)
    assert push.pushed[-1] == 3
    assert newest(client).step == 3
    assert "training goes on" in capsys.readouterr().err


def test_a_refusal_ends_the_pushing_and_nothing_else(
    here: Hub, save: Save, folder: Path, pusher: Callable[..., object], capsys: pytest.CaptureFixture[str]
) -> None:
    here.fail(path="/commit/", method="POST", kind="status", status=403, times=1_000_000)
    push = pusher()
    for step in (1, 2):
        save(step)
        push.push(folder)
    assert not push.close(10)
    assert push.pushed == []
    assert "no more of them will be sent" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_mistake_of_ours_in_the_thread_holds_no_training(
    save: Save, folder: Path, pusher: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "push_checkpoints", lambda *_: {}["no such key"])
    push = pusher()
    for step in (1, 2):
        save(step)
        push.push(folder)
    assert not push.close(60)
    push.cancel()


def test_nothing_is_left_beside_the_checkpoints(
    here: Hub, save: Save, folder: Path, pusher: Callable[..., object]
) -> None:
    save(1)
    push = pusher()
    push.push(folder)
    assert push.close(30)
    assert [path.name for path in folder.iterdir()] == ["checkpoint-1"]
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".checkpoints")] == []
