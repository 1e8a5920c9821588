"""What publishing promises, against the embedded Hub with the real client."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from jobshelf.emit import emit
from jobshelf.errors import EnvironmentFault, InputError, JobshelfError, NotPersisted, TokenError
from jobshelf.hub import Account, serve
from jobshelf.index import Entry, Index, load_index
from jobshelf.publish import merge, publish, verify
from jobshelf.shelf import find_shelf
from support import READ_TOKEN, ROOT, TOKEN

REPO = "jobshelf/scripts"
START_UP = ("/api/agent-harnesses",)


def text(client, path, revision="main", repo=REPO):
    return Path(client.hf_hub_download(repo, path, repo_type="dataset", revision=revision)).read_text()


def requests(hub):
    return [entry for entry in hub.journal() if not entry.path.startswith(START_UP)]


def commits(hub):
    return [entry for entry in requests(hub) if "/commit/" in entry.path and entry.method == "POST"]


def test_a_first_publish_is_one_commit_that_holds_the_shelf(make_shelf, hub, client):
    shelf = make_shelf({"a": "1", "b": "1"})
    done = publish(shelf, client)
    assert set(done.written) == {"SHA256SUMS", "a.py", "b.py", *emit(load_index(shelf))}
    assert len(commits(hub)) == 1
    assert text(client, "a.py") == (shelf.catalog / "a.py").read_text()
    assert text(client, "index.json") == shelf.index_file.read_text()
    card = text(client, "README.md")
    assert "viewer: false" in card and "uv-script" in card and "resolve/main/b.py --loud" in card


def test_the_sums_check_with_the_standard_tool(make_shelf, client, tmp_path):
    publish(make_shelf({"a": "1"}), client)
    folder = client.snapshot_download(REPO, repo_type="dataset", local_dir=tmp_path / "down")
    out = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=True
    ).stdout
    held = {path.relative_to(folder).as_posix() for path in Path(folder).rglob("*") if path.is_file()}
    assert {"README.md", "a.py", "index.json"} < held
    ours = {path for path in held if not path.startswith(".")} - {"SHA256SUMS"}
    assert out.splitlines() == [f"{path}: OK" for path in sorted(ours)]


def test_unchanged_makes_no_commit_and_two_requests(make_shelf, hub, client):
    shelf = make_shelf({"a": "1", "b": "1"})
    first = publish(shelf, client)
    hub.clear_journal()
    again = publish(shelf, client)
    assert again.commit == first.commit
    assert again.written == ()
    assert [entry.path for entry in requests(hub)] == [
        f"/api/datasets/{REPO}",
        f"/datasets/{REPO}/resolve/{first.commit}/SHA256SUMS",
    ]


def test_one_changed_script_is_one_commit_with_only_changed_files(make_shelf, hub, client):
    shelf = make_shelf({"a": "1", "b": "1", "c": "1"})
    publish(shelf, client)
    make_shelf.put(shelf, "b", "1.1")
    make_shelf.index(shelf)
    hub.clear_journal()
    done = publish(shelf, client)
    assert {"README.md", "SHA256SUMS", "b.py", "index.json", "scripts/b.json"} <= set(done.written)
    assert not [
        path for path in done.written if path in {"a.py", "c.py"} or path.startswith(("scripts/a", "scripts/c"))
    ]
    assert len(commits(hub)) == 1
    assert '"version": "1.1"' in text(client, "index.json")


def test_a_foreign_file_survives_every_publish(make_shelf, client):
    shelf = make_shelf({"a": "1"})
    publish(shelf, client)
    theirs = CommitOperationAdd("notes/mine.txt", b"keep me")
    client.create_commit(REPO, [theirs], commit_message="mine", repo_type="dataset")
    for version in ("1.1", "1.2"):
        make_shelf.put(shelf, "a", version)
        publish(make_shelf.index(shelf), client)
    assert text(client, "notes/mine.txt") == "keep me"


def test_a_foreign_file_in_the_way_is_refused_and_left_as_it_was(make_shelf, hub, client):
    client.create_repo(REPO, repo_type="dataset")
    client.create_commit(REPO, [CommitOperationAdd("a.py", b"theirs")], commit_message="x", repo_type="dataset")
    head = client.repo_info(REPO, repo_type="dataset").sha
    with pytest.raises(InputError, match=r"already holds a.py, which no shelf published"):
        publish(make_shelf({"a": "1"}), client)
    assert client.repo_info(REPO, repo_type="dataset").sha == head


def test_a_foreign_sums_file_is_refused(make_shelf, client):
    client.create_repo(REPO, repo_type="dataset")
    client.create_commit(REPO, [CommitOperationAdd("SHA256SUMS", b"hello\n")], commit_message="x", repo_type="dataset")
    with pytest.raises(InputError, match="SHA256SUMS in jobshelf/scripts is not one that a shelf published"):
        publish(make_shelf({"a": "1"}), client)


def test_a_script_gone_from_the_catalogue_keeps_its_url(make_shelf, client):
    shelf = make_shelf({"a": "1", "b": "1"})
    publish(shelf, client)
    (shelf.catalog / "b.py").unlink()
    done = publish(make_shelf.index(shelf), client)
    assert done.kept == {"b": "it is not in this catalogue"}
    assert done.written == ()
    assert "b" in text(client, "b.py")


def test_an_older_checkout_does_not_undo_a_newer_script(make_shelf, client):
    old = make_shelf({"a": "1", "b": "1"})
    new = make_shelf.copy(old, "new")
    make_shelf.put(new, "a", "1.10")
    publish(make_shelf.index(new), client)
    make_shelf.put(old, "b", "1.2")
    done = publish(make_shelf.index(old), client)
    assert done.kept == {"a": "version 1.10 there is newer than 1 here"}
    assert text(client, "a.py") == (new.catalog / "a.py").read_text()
    assert text(client, "b.py") == (old.catalog / "b.py").read_text()


class Interloper(HfApi):
    """The real client, with somebody else's publish slipped in just before the first commit."""

    def __init__(self, hub, meanwhile):
        super().__init__(endpoint=hub.endpoint, token=TOKEN)
        self.meanwhile = meanwhile

    def create_commit(self, *args, **kwargs):
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().create_commit(*args, **kwargs)


def test_on_a_stale_parent_the_plan_is_made_anew_and_nothing_is_lost(make_shelf, hub, client):
    base = make_shelf({"a": "1", "b": "1"})
    publish(base, client)
    mine, theirs = make_shelf.copy(base, "mine"), make_shelf.copy(base, "theirs")
    make_shelf.put(mine, "a", word="mine")
    make_shelf.put(theirs, "b", word="theirs")
    make_shelf.index(mine), make_shelf.index(theirs)
    hub.clear_journal()
    done = publish(mine, Interloper(hub, lambda: publish(theirs, client)))
    assert [entry.status for entry in commits(hub)] == [200, 412, 200]
    assert done.kept == {"b": "somebody else published it meanwhile"}
    assert 'print("mine")' in text(client, "a.py")
    assert 'print("theirs")' in text(client, "b.py")
    assert {entry.sha256 for entry in load_index_of(client).entries} == {
        load_index(mine).find("a").sha256,
        load_index(theirs).find("b").sha256,
    }


def load_index_of(client):
    from jobshelf.index import Index

    return Index.from_text(text(client, "index.json"), "the Hub")


def test_both_changing_one_script_is_said_and_the_first_stays(make_shelf, hub, client):
    base = make_shelf({"a": "1"})
    publish(base, client)
    mine, theirs = make_shelf.copy(base, "mine"), make_shelf.copy(base, "theirs")
    make_shelf.put(mine, "a", word="mine")
    make_shelf.put(theirs, "a", word="theirs")
    make_shelf.index(mine), make_shelf.index(theirs)
    with pytest.raises(NotPersisted, match=r"a.py was changed here and, since this publish began, by somebody else"):
        publish(mine, Interloper(hub, lambda: publish(theirs, client)))
    assert 'print("theirs")' in text(client, "a.py")


def test_the_same_shelf_published_meanwhile_is_no_second_commit(make_shelf, hub, client):
    shelf = make_shelf({"a": "1"})
    hub.clear_journal()
    done = publish(shelf, Interloper(hub, lambda: publish(shelf, client)))
    # The client compares the files before it commits: the second commit is not even sent.
    assert [entry.status for entry in commits(hub)] == [200]
    assert done.commit == client.repo_info(REPO, repo_type="dataset").sha


def test_a_repository_that_never_stands_still_is_given_up_with_nothing_written(make_shelf, hub, client):
    hub.fail(method="POST", path="/commit/", status=412, times=99)
    with pytest.raises(NotPersisted, match="moved under each of 5 tries; nothing was written"):
        publish(make_shelf({"a": "1"}), client)
    assert len(commits(hub)) == 5
    assert client.list_repo_files(REPO, repo_type="dataset") == [".gitattributes"]


def test_publishers_at_once_lose_nothing_and_commit_once_each(make_shelf, hub, client, hub_environment):
    names = [f"s{number}" for number in range(4)]
    base = make_shelf(dict.fromkeys(names, "1"))
    publish(base, client)
    shelves = [make_shelf.copy(base, f"by-{name}") for name in names]
    for shelf, name in zip(shelves, names, strict=True):
        make_shelf.put(shelf, name, "1.1")
        make_shelf.index(shelf)
    hub.clear_journal()
    argv = [sys.executable, "-m", "jobshelf", "publish"]
    publishers = [subprocess.Popen(argv, cwd=shelf.root, env=hub_environment) for shelf in shelves]
    assert [publisher.wait(60) for publisher in publishers] == [0] * 4
    assert sum(entry.status == 200 for entry in commits(hub)) == 4
    for shelf, name in zip(shelves, names, strict=True):
        assert text(client, f"{name}.py") == (shelf.catalog / f"{name}.py").read_text()
    assert {entry.version for entry in load_index_of(client).entries} == {"1.1"}


def test_a_release_is_tagged_once(make_shelf, hub, client):
    shelf = make_shelf({"a": "1"}, version="1.0.0")
    done = publish(shelf, client, release=True)
    assert done.tag == "v1.0.0"
    make_shelf.put(shelf, "a", "1.1")
    make_shelf.index(shelf)
    hub.clear_journal()
    with pytest.raises(JobshelfError, match=r"already has the tag v1.0.0. Fix: raise the version"):
        publish(shelf, client, release=True)
    assert commits(hub) == []
    publish(shelf, client)
    assert "1.1" not in text(client, "a.py", revision="v1.0.0")


def test_a_development_version_is_no_release(make_shelf, client):
    with pytest.raises(JobshelfError, match="development version"):
        publish(make_shelf({"a": "1"}, version="1.0.0.dev1"), client, release=True)


def test_a_stale_index_is_not_published(make_shelf, hub, client):
    shelf = make_shelf({"a": "1"})
    make_shelf.put(shelf, "a", "2")
    with pytest.raises(JobshelfError, match="Fix: jobshelf index"):
        publish(shelf, client)
    assert requests(hub) == []


@pytest.mark.parametrize(
    ("token", "repo", "message"),
    [
        ("hf_nobody", REPO, "does not accept the token"),
        (READ_TOKEN, REPO, "the token of 'bob' is read-only"),
        (TOKEN, "stranger/scripts", "'alice' is neither 'stranger' nor a member of it"),
    ],
)
def test_a_token_that_may_not_is_said_before_anything_is_written(make_shelf, hub, token, repo, message):
    with pytest.raises(TokenError, match=message):
        publish(make_shelf({"a": "1"}), HfApi(endpoint=hub.endpoint, token=token), repo=repo)
    assert not [entry for entry in requests(hub) if entry.method == "POST" and entry.status < 400]


def test_a_hub_that_is_not_there_is_said_with_its_address(make_shelf):
    client = HfApi(endpoint="http://127.0.0.1:9", token=TOKEN)
    with pytest.raises(EnvironmentFault, match=r"the Hub at http://127.0.0.1:9 cannot be reached"):
        publish(make_shelf({"a": "1"}), client)


def test_a_full_disk_on_the_hub_leaves_the_head_as_it_was(make_shelf, tmp_path):
    shelf = make_shelf({"a": "1"})
    account = Account(name="alice", token=TOKEN, orgs=("jobshelf",))
    with serve(tmp_path / "small", accounts=(account,), capacity=250_000) as small:
        client = HfApi(endpoint=small.endpoint, token=TOKEN)
        done = publish(shelf, client)
        make_shelf.put(shelf, "a", "1.1")
        with (shelf.catalog / "a.py").open("a") as file:
            file.write("# more than fits\n" * 20_000)
        make_shelf.index(shelf)
        with pytest.raises(EnvironmentFault, match="has no space left"):
            publish(shelf, client)
        assert client.repo_info(REPO, repo_type="dataset").sha == done.commit
        assert '"version": "1"' in text(client, "index.json")


def test_what_is_read_back_must_be_what_was_sent(make_shelf, hub, client):
    hub.fail(method="GET", path="/resolve/*/a.py", status=500)
    with pytest.raises(NotPersisted, match=r"took \w{12}, but then .* answered 500 .*jobshelf verify"):
        publish(make_shelf({"a": "1"}), client)


def put(entry, **changes):
    data = {key: entry.data[key] | value if isinstance(value, dict) else value for key, value in changes.items()}
    return Entry(data=entry.data | data)


def test_merge_keeps_the_higher_version_by_number_not_by_text(make_shelf):
    ours = load_index(make_shelf({"a": "1.9"}))
    there = replace(ours, entries=(put(ours.entries[0], version="1.10", source={"sha256": "0" * 64}),))
    merged, kept = merge(ours, there, None)
    assert merged.entries[0].version == "1.10"
    assert "newer" in kept["a"]


class TestAnotherRepository:
    """What is published names the repository that it is published to."""

    MINE = "alice/mine"

    def test_every_text_names_it(self, make_shelf, client):
        shelf = make_shelf({"a": "1", "b": "1"})
        path = shelf.catalog / "a.py"
        more = f'OTHERS = ("{REPO}-extra", "x-{REPO}", "https://github.com/{REPO}")\nOWN = "{REPO}"\n'
        path.write_text(path.read_text() + more)
        make_shelf.record(shelf, "a")
        publish(make_shelf.index(shelf), client, repo=self.MINE)
        for file in client.list_repo_files(self.MINE, repo_type="dataset"):
            left = text(client, file, repo=self.MINE).replace(f"{REPO}-extra", "").replace(f"x-{REPO}", "")
            assert REPO not in left.replace(f"https://github.com/{REPO}", ""), file
        rendered = text(client, "a.py", repo=self.MINE)
        assert f"uv run https://huggingface.co/datasets/{self.MINE}/resolve/main/a.py --loud" in rendered
        assert more.replace(f'OWN = "{REPO}"', f'OWN = "{self.MINE}"') in rendered
        assert path.read_text().count(REPO) == 6  # the file here stays as it is

    def test_digests_are_those_of_what_was_published(self, make_shelf, client):
        shelf = make_shelf({"a": "1"})
        publish(shelf, client, repo=self.MINE)
        data = text(client, "a.py", repo=self.MINE).encode()
        (entry,) = Index.from_text(text(client, "index.json", repo=self.MINE), "there").entries
        assert (entry.sha256, entry.bytes) == (hashlib.sha256(data).hexdigest(), len(data))
        assert f"{entry.sha256}  a.py\n" in text(client, "SHA256SUMS", repo=self.MINE)
        assert entry.rehearsed == "passed" and entry.rehearsal["sha256"] == entry.sha256
        assert entry.data["source"]["urls"]["repository"].startswith("https://github.com/jobshelf/jobshelf/")
        assert not verify(client, self.MINE).findings

    def test_a_second_publish_is_unchanged(self, make_shelf, hub, client):
        shelf = make_shelf({"a": "1", "b": "1"})
        publish(shelf, client, repo=self.MINE)
        hub.clear_journal()
        assert publish(shelf, client, repo=self.MINE).written == ()
        assert publish(shelf, client, repo=self.MINE, repair=True).written == ()
        assert not commits(hub)

    def test_a_release_is_of_the_rehearsed_scripts(self, make_shelf, client):
        shelf = make_shelf({"a": "1"}, version="1.0.0")
        done = publish(shelf, client, repo=self.MINE, release=True)
        assert done.tag == "v1.0.0" and not verify(client, self.MINE).findings

    def test_what_an_older_tool_published_there_is_replaced(self, make_shelf, client):
        shelf = make_shelf({"a": "1"})
        old = (shelf.catalog / "a.py").read_bytes()
        publish(shelf, client, repo=self.MINE)
        client.upload_file(path_or_fileobj=old, path_in_repo="a.py", repo_id=self.MINE, repo_type="dataset")
        publish(shelf, client, repo=self.MINE, repair=True)
        assert REPO not in text(client, "a.py", repo=self.MINE)

    def test_a_fork_of_the_whole_shelf_keeps_no_address_of_ours(self, client):
        publish(find_shelf(ROOT), client, repo=self.MINE)
        files = client.list_repo_files(self.MINE, repo_type="dataset")
        assert [file for file in files if REPO in text(client, file, repo=self.MINE)] == []
        assert not verify(client, self.MINE).findings
