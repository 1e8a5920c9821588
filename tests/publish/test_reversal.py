"""`jobshelf rollback`: back to a tag in one commit, with nothing of others touched, and forward again."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from jobshelf.errors import InputError, NotPersisted, TokenError, UsageError
from jobshelf.index import Index
from jobshelf.publish import publish, rollback, verify
from support import READ_TOKEN, TOKEN

REPO = "jobshelf/scripts"


def text(client, path, revision="main"):
    return Path(client.hf_hub_download(REPO, path, repo_type="dataset", revision=revision)).read_text()


def by_hand(client, *operations):
    client.create_commit(REPO, operations, commit_message="by hand", repo_type="dataset")


def tree(client, revision="main"):
    listed = client.list_repo_tree(REPO, repo_type="dataset", recursive=True, revision=revision)
    return {item.path: item.blob_id for item in listed if hasattr(item, "blob_id")}


def head(client):
    return client.repo_info(REPO, repo_type="dataset").sha


@pytest.fixture
def shelf(make_shelf, client):
    """Released as 1.0.0 with `a` and `b`; then, on main, `a` is newer and `c` is there too."""
    shelf = make_shelf({"a": "1", "b": "1"}, version="1.0.0")
    publish(shelf, client, release=True)
    make_shelf.put(shelf, "a", "1.1")
    make_shelf.put(shelf, "c", "1")
    publish(make_shelf.index(shelf), client)
    return shelf


def test_it_is_one_commit_to_the_very_bytes_of_the_tag(shelf, hub, client):
    before = len(client.list_repo_commits(REPO, repo_type="dataset"))
    done = rollback(client, REPO, "v1.0.0")
    assert tree(client) == tree(client, "v1.0.0")
    assert {"a.py", "index.json", "SHA256SUMS"} <= set(done.written) and "b.py" not in done.written
    assert {"c.py", "scripts/c.json"} <= set(done.removed)
    assert len(client.list_repo_commits(REPO, repo_type="dataset")) == before + 1
    assert client.list_repo_commits(REPO, repo_type="dataset")[0].title == "Roll back to v1.0.0"
    assert not verify(client, REPO).findings


def test_a_file_of_somebody_else_stays(shelf, client):
    by_hand(client, CommitOperationAdd("notes/mine.txt", b"mine"), CommitOperationAdd("scripts/mine.md", b"mine"))
    rollback(client, REPO, "v1.0.0")
    assert tree(client).keys() - tree(client, "v1.0.0").keys() == {"notes/mine.txt", "scripts/mine.md"}


def test_owned_files_that_were_changed_by_hand_come_back_too(shelf, client):
    rollback(client, REPO, "v1.0.0")
    by_hand(client, CommitOperationAdd("b.py", b"print('mine')\n"))
    assert rollback(client, REPO, "v1.0.0").written == ("b.py",)
    assert not verify(client, REPO).findings


def test_a_file_of_somebody_else_in_the_way_is_refused(shelf, make_shelf, client):
    (shelf.catalog / "b.py").unlink()
    publish(make_shelf.index(shelf), client, prune=True)
    by_hand(client, CommitOperationAdd("b.py", b"theirs"))
    before = head(client)
    with pytest.raises(InputError, match=r"already holds b.py, which no shelf published"):
        rollback(client, REPO, "v1.0.0")
    assert head(client) == before


def test_twice_is_once(shelf, client):
    first = rollback(client, REPO, "v1.0.0")
    again = rollback(client, REPO, "v1.0.0")
    assert (again.commit, again.written, again.removed) == (first.commit, (), ())


def test_an_unknown_tag_lists_those_there_are(shelf, client):
    with pytest.raises(UsageError, match=r"has no tag 'v9' \(its tags: v1.0.0\). Fix: jobshelf rollback v1.0.0"):
        rollback(client, REPO, "v9")


def test_where_there_is_no_shelf(client):
    with pytest.raises(InputError, match="does not exist"):
        rollback(client, REPO, "v1.0.0")
    client.create_repo(REPO, repo_type="dataset")
    client.create_tag(REPO, tag="v1.0.0", repo_type="dataset")
    with pytest.raises(InputError, match=r"v1.0.0 of jobshelf/scripts holds no SHA256SUMS"):
        rollback(client, REPO, "v1.0.0")


def test_who_may_not_write_changes_nothing(shelf, hub, client):
    before = head(client)
    with pytest.raises(TokenError, match="read-only"):
        rollback(HfApi(endpoint=hub.endpoint, token=READ_TOKEN), REPO, "v1.0.0")
    assert head(client) == before


class Meanwhile(HfApi):
    """The real client, with something done by somebody else just before the first commit."""

    def __init__(self, hub, meanwhile):
        super().__init__(endpoint=hub.endpoint, token=TOKEN)
        self.meanwhile = meanwhile

    def create_commit(self, *args, **kwargs):
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().create_commit(*args, **kwargs)


def test_on_a_moved_head_it_is_planned_anew(shelf, make_shelf, hub, client):
    def meanwhile():
        make_shelf.put(shelf, "d", "1")
        publish(make_shelf.index(shelf), client)

    done = rollback(Meanwhile(hub, meanwhile), REPO, "v1.0.0")
    assert "d.py" in done.removed and tree(client) == tree(client, "v1.0.0")


def test_a_head_that_never_stands_still_is_given_up(shelf, hub, client):
    before = head(client)
    hub.fail(method="POST", path="/commit/", status=412, times=99)
    with pytest.raises(NotPersisted, match="moved under each of 5 tries"):
        rollback(client, REPO, "v1.0.0")
    assert head(client) == before


class TestAfterwards:
    """Versions are the lineage: a rollback lowers what is there, and changes no catalogue."""

    def versions(self, client):
        return {entry.id: entry.version for entry in Index.from_text(text(client, "index.json"), "there").entries}

    def test_a_checkout_that_still_holds_the_later_version_brings_it_back(self, shelf, client):
        rollback(client, REPO, "v1.0.0")
        done = publish(shelf, client)
        assert "a.py" in done.written and self.versions(client) == {"a": "1.1", "b": "1", "c": "1"}
        assert not verify(client, REPO).findings

    def test_a_mended_script_is_published_as_a_later_version(self, shelf, make_shelf, client):
        rollback(client, REPO, "v1.0.0")
        make_shelf.put(shelf, "a", "1.2", word="mended")
        (shelf.catalog / "c.py").unlink()
        publish(make_shelf.index(shelf), client)
        assert self.versions(client) == {"a": "1.2", "b": "1"} and "mended" in text(client, "a.py")
        assert not verify(client, REPO).findings

    def test_a_catalogue_that_was_reverted_too_has_nothing_to_publish(self, shelf, make_shelf, client):
        done = rollback(client, REPO, "v1.0.0")
        make_shelf.put(shelf, "a", "1")
        (shelf.catalog / "c.py").unlink()
        again = publish(make_shelf.index(shelf), client)
        assert (again.written, again.commit) == ((), done.commit)

    def test_one_that_happens_during_a_publish_is_not_undone_by_it(self, shelf, make_shelf, hub, client):
        make_shelf.put(shelf, "b", "1.5")
        make_shelf.index(shelf)
        done = publish(shelf, Meanwhile(hub, lambda: rollback(client, REPO, "v1.0.0")))
        assert done.kept == {
            "a": "somebody else published it meanwhile",
            "c": "somebody else withdrew it meanwhile",
        }
        assert self.versions(client) == {"a": "1", "b": "1.5"}
        assert not verify(client, REPO).findings


def test_the_command_says_what_it_did(shelf, hub_environment, jobshelf):
    done = jobshelf("rollback", "v1.0.0", env=hub_environment, cwd=shelf.root)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("rolled back ") and lines[0].endswith(" to v1.0.0")
    assert {"wrote a.py", "removed c.py"} < set(lines) and "next publish" in lines[-1]
    again = jobshelf("rollback", "v1.0.0", env=hub_environment, cwd=shelf.root)
    assert again.stdout.startswith("unchanged: ")
    wrong = jobshelf("rollback", "v9", env=hub_environment, cwd=shelf.root)
    assert wrong.returncode == 2 and "its tags: v1.0.0" in wrong.stderr
