"""Commits through the real client: atomic, guarded by their parent, one request each."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, RemoteEntryNotFoundError, RevisionNotFoundError

from hub.contract import ADA, Ask, commit_of, ndjson
from jobshelf.hub import Hub

DATA = {"repo_id": "ada/data", "repo_type": "dataset"}
COMMIT = "/api/datasets/ada/data/commit/main"
RACER = """
import sys
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError
parent, name = sys.argv[1:]
print("ready", flush=True)
sys.stdin.read(1)
try:
    operations = [CommitOperationAdd("winner.txt", name.encode())]
    HfApi().create_commit("ada/data", operations, commit_message=name, repo_type="dataset", parent_commit=parent or None)
    print("won")
except HfHubHTTPError as error:
    print(error.response.status_code)
"""


@pytest.fixture(autouse=True)
def data(ada: HfApi) -> None:
    ada.create_repo(**DATA)


def put(api: HfApi, files: dict[str, bytes], **options: str) -> str:
    operations = [CommitOperationAdd(path, content) for path, content in files.items()]
    return api.create_commit(**DATA, operations=operations, commit_message="put", **options).oid


def posts(hub: Hub) -> int:
    return sum("/commit/" in entry.path for entry in hub.journal())


def race(login: dict[str, str], parent: str, count: int) -> list[str]:
    """Start processes, let them all wait at the line, and start them together; what each of them printed."""
    argv = [sys.executable, "-c", RACER, parent]
    racers = [
        subprocess.Popen(
            [*argv, f"racer {number}"], env=login, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for number in range(count)
    ]
    assert [racer.stdout.readline() for racer in racers if racer.stdout] == ["ready\n"] * count
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("!")
        racer.stdin.flush()
    return [racer.communicate(timeout=60)[0].strip() for racer in racers]


def test_many_files_are_one_request(ada: HfApi, hub: Hub):
    oid = put(ada, {f"d{number % 7}/f{number}.py": f"print({number})".encode() for number in range(300)})
    assert posts(hub) == 1
    assert ada.dataset_info("ada/data").sha == oid
    assert len(ada.list_repo_files(**DATA)) == 301


def test_a_stale_parent_is_412_and_changes_nothing(ada: HfApi, hub: Hub):
    first = put(ada, {"a.txt": b"1"})
    second = put(ada, {"a.txt": b"2"}, parent_commit=first)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as error:
        put(ada, {"a.txt": b"3", "b.txt": b"3"}, parent_commit=first)
    assert error.value.response.status_code == 412
    assert ada.dataset_info("ada/data").sha == second
    assert posts(hub) == 3


def test_of_racers_on_one_parent_exactly_one_wins(ada: HfApi, login: dict[str, str]):
    parent = put(ada, {"a.txt": b"1"})
    assert sorted(race(login, parent, 4)) == ["412", "412", "412", "won"]
    winner, before = ada.list_repo_commits(**DATA)[:2]
    assert (winner.title[:5], before.commit_id) == ("racer", parent)


def test_the_check_of_the_parent_and_the_commit_are_one_step(ask: Ask):
    with ThreadPoolExecutor(8) as pool:
        for number in range(15):
            parent = ask("GET", "/api/datasets/ada/data").json["sha"]
            start = Barrier(8)

            def attempt(racer: int, parent: str = parent, start: Barrier = start, number: int = number) -> int:
                body = commit_of({"winner.txt": f"{number} {racer}".encode()}, parentCommit=parent)
                start.wait()
                return ask("POST", COMMIT, token=ADA.token, body=body).status

            assert sorted(pool.map(attempt, range(8))) == [200] + [412] * 7
    assert len(ask("GET", "/api/datasets/ada/data/commits/main").json) == 16


def test_racers_without_a_parent_all_win_in_a_row(ada: HfApi, login: dict[str, str]):
    assert race(login, "", 3) == ["won"] * 3
    titles = {commit.title for commit in ada.list_repo_commits(**DATA)}
    assert titles == {"initial commit", "racer 0", "racer 1", "racer 2"}


def test_unchanged_files_make_no_commit(ada: HfApi, hub: Hub):
    head = put(ada, {"a.txt": b"1", "b.txt": b"2"})
    hub.clear_journal()
    assert put(ada, {"a.txt": b"1", "b.txt": b"2"}) == head
    assert posts(hub) == 0
    assert put(ada, {"a.txt": b"1", "b.txt": b"3"}) != head
    assert posts(hub) == 1
    # 75 characters of base64 for the changed byte, its path and the header: the unchanged file is not in it
    assert sum(entry.bytes_in for entry in hub.journal() if "/commit/" in entry.path) < 200


def test_a_change_and_a_deletion_are_one_commit(ada: HfApi):
    put(ada, {"a.txt": b"1", "d/b.txt": b"2", "d/c.txt": b"3", "keep.txt": b"4"})
    operations = [CommitOperationDelete("d/"), CommitOperationDelete("a.txt"), CommitOperationAdd("d", b"now a file")]
    ada.create_commit(**DATA, operations=operations, commit_message="mixed")
    assert ada.list_repo_files(**DATA) == [".gitattributes", "d", "keep.txt"]


@pytest.mark.parametrize("path", ["gone.txt", "gone/"])
def test_deleting_what_is_not_there_is_an_error_and_no_commit(ada: HfApi, path: str):
    head = ada.dataset_info("ada/data").sha
    with pytest.raises(RemoteEntryNotFoundError):
        operations = [CommitOperationAdd("new.txt", b"1"), CommitOperationDelete(path)]
        ada.create_commit(**DATA, operations=operations, commit_message="rm")
    assert ada.dataset_info("ada/data").sha == head


def test_a_commit_to_a_missing_branch_or_a_tag(ada: HfApi):
    with pytest.raises(RevisionNotFoundError):
        put(ada, {"a.txt": b"1"}, revision="nope")
    ada.create_tag(**DATA, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        put(ada, {"a.txt": b"1"}, revision="v1")


def test_a_readme_with_bad_yaml_is_refused_before_and_at_the_commit(ada: HfApi, ask: Ask):
    bad = b"---\ntags: [one\n---\n"
    with pytest.raises(ValueError, match=r"Invalid metadata in README\.md"):
        put(ada, {"README.md": bad})
    answer = ask("POST", COMMIT, token=ADA.token, body=commit_of({"README.md": bad}))
    assert answer.status == 400
    assert "Invalid YAML in README.md" in answer.json["error"]


def test_a_readme_without_metadata_is_a_warning(ada: HfApi):
    with pytest.warns(UserWarning, match="empty or missing yaml metadata"):
        put(ada, {"README.md": b"# no card"})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "A commit has one header line, found 0"),
        (b"{", "Malformed JSON"),
        (b"[]", "expected an object, found list"),
        (ndjson({"key": "header", "value": {}}), "'summary' must be str, found nothing"),
        (commit_of({}, parentCommit=7), "'parentCommit' must be str, found int"),
        (
            commit_of({}) + ndjson({"key": "file", "value": {"path": "a", "content": "!", "encoding": "base64"}}),
            "not base64",
        ),
        (commit_of({}) + ndjson({"key": "lfsFile", "value": {"path": "a", "oid": "0" * 64}}), "was not uploaded"),
        (commit_of({}) + ndjson({"key": "lfsFile", "value": {"path": "a", "oid": "zz"}}), "is not a sha256"),
    ],
)
def test_a_malformed_commit_says_what_is_wrong(ask: Ask, body: bytes, message: str):
    answer = ask("POST", COMMIT, token=ADA.token, body=body)
    assert answer.status == 400
    assert message in answer.headers["x-error-message"]


def test_what_is_not_implemented_is_501(ask: Ask, ada: HfApi):
    answer = ask(
        "POST", COMMIT, token=ADA.token, body=commit_of({}) + ndjson({"key": "rename", "value": {"path": "a"}})
    )
    assert answer.status == 501


def test_a_malformed_request_raises_the_clients_error(ada: HfApi):
    with pytest.raises(BadRequestError, match="Invalid reference"):
        ada.create_branch(**DATA, branch="refs/pr/5")


def test_a_gitignore_in_the_repo_or_the_upload_leaves_files_out(ada: HfApi, tmp_path: Path):
    for name in ("keep.txt", "drop.log", "build/x.txt", ".gitignore"):
        file = tmp_path / "folder" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("*.log\nbuild/\n" if name == ".gitignore" else name)
    ada.upload_folder(folder_path=tmp_path / "folder", **DATA)
    assert sorted(ada.list_repo_files(**DATA)) == [".gitattributes", ".gitignore", "keep.txt"]
    ada.upload_file(path_or_fileobj=b"1", path_in_repo="late.log", **DATA)
    assert not ada.file_exists("ada/data", "late.log", repo_type="dataset")


def test_squash(ada: HfApi):
    ada.create_commit(**DATA, operations=[CommitOperationAdd("a/b.txt", b"1")], commit_message="one")
    ada.create_commit(**DATA, operations=[CommitOperationAdd("c.txt", b"2")], commit_message="two")
    files = sorted(ada.list_repo_files(**DATA))
    ada.super_squash_history(**DATA, commit_message="all in one")
    assert [commit.title for commit in ada.list_repo_commits(**DATA)] == ["all in one"]
    assert sorted(ada.list_repo_files(**DATA)) == files


def test_a_parent_may_be_shortened(ada: HfApi):
    head = ada.dataset_info("ada/data").sha
    operations = [CommitOperationAdd("a.txt", b"1")]
    ada.create_commit(**DATA, operations=operations, commit_message="x", parent_commit=head[:7])
    with pytest.raises(HfHubHTTPError, match="412"):
        ada.create_commit(
            **DATA, operations=[CommitOperationAdd("a.txt", b"2")], commit_message="x", parent_commit=head[:7]
        )
