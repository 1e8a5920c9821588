"""Publishing beyond the first promises: prune, repair, dry run, pull requests, privacy, bad input, scale; on the embedded Hub."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

from jobshelf.errors import InputError, JobshelfError, NotPersisted, TokenError
from jobshelf.hub import Account, serve
from jobshelf.index import Index
from jobshelf.publish import changes_of, preview, publish, to_text, verify
from jobshelf.shelf import find_shelf
from support import READ_TOKEN, TOKEN

REPO = "jobshelf/scripts"


def text(client, path, revision="main", repo=REPO):
    return Path(client.hf_hub_download(repo, path, repo_type="dataset", revision=revision)).read_text()


def head(client, repo=REPO):
    return client.repo_info(repo, repo_type="dataset").sha


def files(client, repo=REPO, revision=None):
    return set(client.list_repo_files(repo, repo_type="dataset", revision=revision))


def by_hand(client, *operations):
    client.create_commit(REPO, operations, commit_message="by hand", repo_type="dataset")


def requests(hub):
    return [entry for entry in hub.journal() if "/agent-harnesses" not in entry.path]


def commits(hub):
    return [entry for entry in requests(hub) if "/commit/" in entry.path and entry.method == "POST"]


def named(shelf, github):
    """The same checkout as one of another shelf, called `github`."""
    project = shelf.root / "pyproject.toml"
    project.write_text(project.read_text().replace('github = "jobshelf/jobshelf"', f'github = "{github}"'))
    return find_shelf(shelf.root)


class Meanwhile(HfApi):
    """The real client, with something done by somebody else just before the first commit."""

    def __init__(self, hub, meanwhile):
        super().__init__(endpoint=hub.endpoint, token=TOKEN)
        self.meanwhile = meanwhile

    def create_commit(self, *args, **kwargs):
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return super().create_commit(*args, **kwargs)


class TestPrune:
    def test_what_is_gone_from_the_catalogue_goes_with_all_that_was_derived_from_it(self, make_shelf, client):
        shelf = make_shelf({"a": "1", "b": "1"})
        publish(shelf, client)
        by_hand(client, CommitOperationAdd("scripts/mine.txt", b"keep me"), CommitOperationAdd("b.txt", b"me too"))
        (shelf.catalog / "b.py").unlink()
        done = publish(make_shelf.index(shelf), client, prune=True)
        assert {"b.py", "scripts/b.json", "scripts/b.md"} == set(done.removed)
        assert {"scripts/mine.txt", "b.txt", "a.py", "scripts/a.json"} < files(client)
        assert not files(client) & set(done.removed)
        assert [entry.id for entry in Index.from_text(text(client, "index.json"), "there").entries] == ["a"]
        assert not verify(client, REPO).findings
        assert publish(shelf, client).written == ()

    def test_another_shelfs_script_stays(self, make_shelf, client):
        ours = make_shelf({"a": "1"})
        theirs = named(make_shelf({"b": "1"}, name="theirs"), "acme/theirs")
        publish(make_shelf.index(theirs), client)
        done = publish(ours, client, prune=True)
        assert (done.removed, list(done.kept)) == ((), ["b"])
        assert "github.com/acme/theirs" in done.kept["b"]
        assert {"a.py", "b.py", "scripts/b.json"} < files(client)

    def test_an_old_checkout_may_not(self, make_shelf, client):
        old = make_shelf({"a": "1"}, version="0.9.0")
        publish(make_shelf({"a": "1", "b": "1"}, name="new", version="0.10.0"), client)
        before = head(client)
        with pytest.raises(
            JobshelfError, match=r"is version 0.10.0, this checkout is 0.9.0: it may not prune. Fix: git pull"
        ):
            publish(old, client, prune=True)
        assert head(client) == before

    def test_what_somebody_publishes_meanwhile_stays(self, make_shelf, hub, client):
        base = make_shelf({"a": "1", "b": "1"})
        publish(base, client)
        mine, theirs = make_shelf.copy(base, "mine"), make_shelf.copy(base, "theirs")
        (mine.catalog / "b.py").unlink()
        make_shelf.index(mine)
        make_shelf.put(theirs, "b", "1.1")
        make_shelf.index(theirs)
        done = publish(mine, Meanwhile(hub, lambda: publish(theirs, client)), prune=True)
        assert done.kept == {"b": "somebody else published it meanwhile"}
        assert text(client, "b.py") == (theirs.catalog / "b.py").read_text()

    def test_what_somebody_withdraws_meanwhile_stays_withdrawn(self, make_shelf, hub, client):
        base = make_shelf({"a": "1", "b": "1"})
        publish(base, client)
        mine, theirs = make_shelf.copy(base, "mine"), make_shelf.copy(base, "theirs")
        make_shelf.put(mine, "a", "1.1")
        make_shelf.index(mine)
        (theirs.catalog / "b.py").unlink()
        make_shelf.index(theirs)
        done = publish(mine, Meanwhile(hub, lambda: publish(theirs, client, prune=True)))
        assert done.kept == {"b": "somebody else withdrew it meanwhile"}
        assert "b.py" not in files(client) and "a.py" in done.written
        assert not verify(client, REPO).findings


class TestDryRun:
    def test_it_shows_what_publish_would_do_and_does_nothing(self, make_shelf, hub, client):
        shelf = make_shelf({"a": "1", "b": "1"})
        publish(shelf, client)
        before, size = head(client), (shelf.catalog / "a.py").stat().st_size
        make_shelf.put(shelf, "a", "1.1")
        make_shelf.put(shelf, "c", "1")
        (shelf.catalog / "b.py").unlink()
        make_shelf.index(shelf)
        hub.clear_journal()
        step = preview(shelf, client, prune=True)
        shown = to_text(changes_of(step, client))
        assert f"change a.py ({size:,} -> {size + 2:,} bytes)" in shown
        assert "\nadd c.py (" in shown and "\nremove b.py (" in shown
        assert "--- there/a.py\n+++ here/a.py\n" in shown
        assert '-# version = "1"\n+# version = "1.1"\n' in shown
        assert "+++ here/c.py" not in shown
        assert head(client) == before and not [entry for entry in requests(hub) if entry.wrote]

    def test_the_command_prints_it(self, make_shelf, client, hub_environment, jobshelf):
        shelf = make_shelf({"a": "1"})
        publish(shelf, client)
        assert jobshelf("publish", "--dry-run", env=hub_environment, cwd=shelf.root).stdout == "unchanged\n"
        make_shelf.put(shelf, "a", "1.1")
        make_shelf.index(shelf)
        lines = jobshelf("publish", "--dry-run", env=hub_environment, cwd=shelf.root).stdout.splitlines()
        assert any(line.startswith("change a.py (") for line in lines) and '+# version = "1.1"' in lines


def test_repair_mends_what_was_changed_by_hand(make_shelf, client):
    shelf = make_shelf({"a": "1", "b": "1"})
    publish(shelf, client)
    by_hand(client, CommitOperationAdd("a.py", b"print('mine')\n"), CommitOperationDelete("scripts/b.md"))
    assert publish(shelf, client).written == ()
    done = publish(shelf, client, repair=True)
    assert {"a.py", "scripts/b.md"} <= set(done.written)
    assert text(client, "a.py") == (shelf.catalog / "a.py").read_text()
    assert not verify(client, REPO).findings
    assert publish(shelf, client, repair=True).written == ()


class TestPullRequest:
    def test_it_is_proposed_against_main_and_main_stays(self, make_shelf, client):
        shelf = make_shelf({"a": "1"})
        publish(shelf, client)
        before = head(client)
        make_shelf.put(shelf, "a", "1.1")
        done = publish(make_shelf.index(shelf), client, create_pr=True)
        assert done.pull_request == f"{client.endpoint}/datasets/{REPO}/discussions/1"
        assert head(client) == before and '"1"' in text(client, "a.py")
        assert text(client, "a.py", revision="refs/pr/1") == (shelf.catalog / "a.py").read_text()
        client.merge_pull_request(REPO, 1, repo_type="dataset")
        assert publish(shelf, client).written == ()
        assert not verify(client, REPO).findings

    def test_somebody_who_may_not_write_can_propose(self, make_shelf, tmp_path):
        shelf = make_shelf({"a": "1"})
        accounts = (
            Account(name="alice", token=TOKEN, orgs=("jobshelf",)),
            Account(name="carol", token=READ_TOKEN, orgs=()),
        )
        with serve(tmp_path / "other", accounts=accounts) as hub:
            publish(shelf, HfApi(endpoint=hub.endpoint, token=TOKEN))
            make_shelf.put(shelf, "a", "1.1")
            carol = HfApi(endpoint=hub.endpoint, token=READ_TOKEN)
            with pytest.raises(TokenError, match="'carol' is neither 'jobshelf' nor a member of it"):
                publish(make_shelf.index(shelf), carol)
            assert publish(shelf, carol, create_pr=True).pull_request.endswith("/discussions/1")

    def test_it_needs_a_repository_and_is_no_release(self, make_shelf, client):
        shelf = make_shelf({"a": "1"})
        with pytest.raises(InputError, match="a pull request needs something to change"):
            publish(shelf, client, create_pr=True)
        with pytest.raises(JobshelfError, match="Fix: drop --create-pr"):
            publish(shelf, client, create_pr=True, release=True)
        assert not client.repo_exists(REPO, repo_type="dataset")


class TestPrivacy:
    def test_a_private_shelf_is_hidden_and_verified_with_the_token(self, make_shelf, client):
        publish(make_shelf({"a": "1"}), client, private=True)
        assert client.repo_info(REPO, repo_type="dataset").private
        assert not HfApi(endpoint=client.endpoint, token=False).repo_exists(REPO, repo_type="dataset")
        assert not verify(client, REPO).findings
        with pytest.raises(InputError, match="does not exist, or is hidden from the token"):
            verify(HfApi(endpoint=client.endpoint, token=False), REPO)

    def test_a_public_one_is_not_made_private_by_the_way(self, make_shelf, client):
        shelf = make_shelf({"a": "1"})
        publish(shelf, client)
        with pytest.raises(InputError, match=r"is public, .* Fix: hf repos settings jobshelf/scripts"):
            publish(shelf, client, private=True)


class TestRelease:
    def test_it_needs_a_fresh_passing_record_of_every_script(self, make_shelf, hub, client):
        shelf = make_shelf(dict.fromkeys("abcd", "1"), version="1.0.0")
        (shelf.catalog / "records" / "a.json").unlink()
        path = shelf.catalog / "b.py"
        path.write_text(path.read_text() + "# later\n")
        make_shelf.record(shelf, "c", outcome="failed")
        make_shelf.index(shelf)
        hub.clear_journal()
        with pytest.raises(JobshelfError) as error:
            publish(shelf, client, release=True)
        assert "a has no record, b changed since its record, c failed" in str(error.value)
        fix = "jobshelf rehearse catalog/a.py catalog/b.py catalog/c.py --record, then: jobshelf index"
        assert error.value.fix == fix and requests(hub) == []

    def test_pinned_urls_are_there_exactly_as_long_as_they_are_true(self, make_shelf, client):
        shelf = make_shelf({"a": "1", "b": "1"}, version="1.0.0")
        publish(shelf, client)
        assert "/resolve/v" not in text(client, "index.json")
        publish(shelf, client, release=True)
        assert "/resolve/v1.0.0/a.py" in text(client, "index.json")
        assert publish(shelf, client).written == ()
        make_shelf.put(shelf, "a", "1.1")
        publish(make_shelf.index(shelf), client)
        now = text(client, "index.json")
        assert "/resolve/v1.0.0/b.py" in now and "/resolve/v1.0.0/a.py" not in now
        assert not verify(client, REPO).findings

    def test_one_that_was_interrupted_before_its_tag_is_finished_by_the_next(self, make_shelf, hub, client):
        shelf = make_shelf({"a": "1"}, version="1.0.0")
        hub.fail(method="POST", path="/tag/", status=500)
        with pytest.raises(JobshelfError, match="answered 500"):
            publish(shelf, client, release=True)
        done = publish(shelf, client, release=True)
        assert (done.written, done.tag) == ((), "v1.0.0")
        assert not verify(client, REPO).findings

    def test_a_script_of_another_shelf_without_a_record_holds_it_up(self, make_shelf, client):
        theirs = named(make_shelf({"b": "1"}, name="theirs"), "acme/theirs")
        (theirs.catalog / "records" / "b.json").unlink()
        publish(make_shelf.index(theirs), client)
        before = head(client)
        with pytest.raises(JobshelfError, match="b has no record"):
            publish(make_shelf({"a": "1"}, version="1.0.0"), client, release=True)
        assert head(client) == before


class TestBadInput:
    """Each is one error with the next command, and the Hub is not asked, or not changed."""

    def refused(self, shelf, client, hub, match):
        hub.clear_journal()
        with pytest.raises(JobshelfError, match=match) as error:
            publish(shelf, client)
        assert error.value.fix
        assert not [entry for entry in requests(hub) if entry.wrote]

    def test_a_folder(self, make_shelf, client, hub):
        shelf = make_shelf({"a": "1"})
        (shelf.catalog / "b.py").mkdir()
        self.refused(shelf, client, hub, r"catalog/b.py is a folder")

    def test_a_pipe(self, make_shelf, client, hub):
        shelf = make_shelf({"a": "1"})
        os.mkfifo(shelf.catalog / "b.py")
        self.refused(shelf, client, hub, r"catalog/b.py is a named pipe")

    def test_a_link_out_of_the_shelf(self, make_shelf, client, hub, tmp_path):
        shelf = make_shelf({"a": "1"})
        (tmp_path / "secret.py").write_text("print()\n")
        (shelf.catalog / "b.py").symlink_to(tmp_path / "secret.py")
        self.refused(shelf, client, hub, r"catalog/b.py is a link to \S+secret.py")

    def test_a_large_file_pointer(self, make_shelf, client, hub):
        shelf = make_shelf({"a": "1"})
        pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "0" * 64 + "\nsize 5\n"
        (shelf.catalog / "b.py").write_text(pointer)
        self.refused(shelf, client, hub, r"catalog/b.py is a Git LFS pointer")

    def test_a_file_over_ten_megabytes(self, make_shelf, client, hub):
        shelf = make_shelf({"a": "1"})
        with (shelf.catalog / "a.py").open("a") as file:
            file.write("# much\n" * 1_500_000)
        self.refused(shelf, client, hub, r"catalog/a.py has 10.5 MB")

    def test_an_index_edited_by_hand(self, make_shelf, client, hub):
        shelf = make_shelf({"a": "1"})
        shelf.index_file.write_text(shelf.index_file.read_text().replace('"Say a', '"Shout a'))
        self.refused(shelf, client, hub, r"index.json .*Fix: jobshelf index")

    def test_an_index_edited_by_hand_on_the_hub(self, make_shelf, client, hub):
        shelf = make_shelf({"a": "1"})
        publish(shelf, client)
        there = text(client, "index.json").replace('"Say a', '"Shout a')
        by_hand(client, CommitOperationAdd("index.json", there.encode()))
        make_shelf.put(shelf, "a", "1.1")
        self.refused(make_shelf.index(shelf), client, hub, r"index.json in jobshelf/scripts was changed by hand")

    @pytest.mark.parametrize(("kind", "options"), [("model", {}), ("space", {"space_sdk": "static"})])
    def test_a_repository_of_another_kind(self, make_shelf, client, hub, kind, options):
        client.create_repo(REPO, repo_type=kind, **options)
        self.refused(make_shelf({"a": "1"}), client, hub, f"jobshelf/scripts is a {kind}, and a shelf is published to")

    @pytest.mark.parametrize("repo", ["nobody", "a/b/c", "a/b.git", "-a/b", "a/" + "x" * 120])
    def test_a_name_that_is_none(self, make_shelf, client, hub, repo):
        hub.clear_journal()
        with pytest.raises(InputError, match=r"not a name the Hub takes.*Fix: use owner/name"):
            publish(make_shelf({"a": "1"}), client, repo=repo)
        assert requests(hub) == []


class Garbling(HfApi):
    """The real client, whose commits arrive with one byte changed."""

    def create_commit(self, repo_id, operations, **options):
        changed = [
            CommitOperationAdd(one.path_in_repo, one.path_or_fileobj.replace(b"Say", b"Sty"))
            for one in operations
            if isinstance(one, CommitOperationAdd)
        ]
        return super().create_commit(repo_id, changed, **options)


def test_bytes_that_arrive_otherwise_than_they_were_sent(make_shelf, hub):
    with pytest.raises(NotPersisted, match=r"\S+ in jobshelf/scripts at [0-9a-f]{12} is not what was sent"):
        publish(make_shelf({"a": "1"}), Garbling(endpoint=hub.endpoint, token=TOKEN))


def test_a_repository_deleted_between_plan_and_commit(make_shelf, hub, client):
    shelf = make_shelf({"a": "1"})
    publish(shelf, client)
    make_shelf.put(shelf, "a", "1.1")
    make_shelf.index(shelf)
    api = Meanwhile(hub, lambda: client.delete_repo(REPO, repo_type="dataset"))
    with pytest.raises(NotPersisted, match=r"was deleted, or hidden .* nothing was written. Fix: run the same command"):
        publish(shelf, api)
    assert not client.repo_exists(REPO, repo_type="dataset")
    publish(shelf, client)
    assert not verify(client, REPO).findings


def test_an_organisation_of_ones_own(make_shelf, client):
    publish(make_shelf({"a": "1"}), client, repo="acme/tools")
    assert not verify(client, "acme/tools").findings


def test_a_contributor_may_not_change_what_others_made(make_shelf, tmp_path):
    accounts = (
        Account(name="alice", token=TOKEN, orgs=("jobshelf",)),
        Account(name="carol", token=READ_TOKEN, orgs=("jobshelf",), org_roles={"jobshelf": "read"}),
    )
    with serve(tmp_path / "other", accounts=accounts) as hub:
        alice, carol = (HfApi(endpoint=hub.endpoint, token=token) for token in (TOKEN, READ_TOKEN))
        shelf = make_shelf({"a": "1"})
        done = publish(shelf, alice)
        make_shelf.put(shelf, "a", "1.1")
        with pytest.raises(TokenError, match="Your role 'read' in the organisation"):
            publish(make_shelf.index(shelf), carol)
        assert head(alice) == done.commit


CLOCK = """
import datetime, time
ahead = 7 * 3600 + 11
now, real = time.time, datetime.datetime
time.time = lambda: now() + ahead
class Skewed(real):
    @classmethod
    def now(cls, tz=None):
        return real.now(tz) + datetime.timedelta(seconds=ahead)
datetime.datetime = Skewed
"""


def test_a_clock_that_is_hours_off_publishes_the_same_bytes(make_shelf, client, hub_environment, tmp_path):
    shelf = make_shelf({"a": "1"}, version="1.0.0")
    argv = [sys.executable, "-m", "jobshelf", "publish", "--release"]
    subprocess.run(argv, cwd=shelf.root, env=hub_environment, check=True)
    one = {path: text(client, path) for path in files(client)}
    client.delete_repo(REPO, repo_type="dataset")
    (tmp_path / "skew").mkdir()
    (tmp_path / "skew" / "sitecustomize.py").write_text(CLOCK)
    path = os.pathsep.join([str(tmp_path / "skew"), os.environ.get("PYTHONPATH", "")])
    skewed = hub_environment | {"PYTHONPATH": path, "TZ": "Pacific/Kiritimati"}
    seen = subprocess.run(
        [sys.executable, "-c", "import time; print(time.time())"],
        env=skewed,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(seen.stdout) - time.time() > 7 * 3600
    subprocess.run(argv, cwd=shelf.root, env=skewed, check=True)
    assert one == {path: text(client, path) for path in files(client)} and "a.py" in one


class TestScale:
    """Requests and bytes, on a smaller shelf than `bench/publish_scale.py` has."""

    SCRIPTS = 60

    @pytest.fixture
    def shelf(self, make_shelf):
        return make_shelf({f"s{number:03d}": "1" for number in range(self.SCRIPTS)})

    def test_first_unchanged_and_one_changed(self, make_shelf, shelf, hub, client):
        publish(shelf, client)
        assert len(commits(hub)) == 1
        hub.clear_journal()
        publish(shelf, client)
        assert len(requests(hub)) == 2
        make_shelf.put(shelf, "s030", "1.1")
        make_shelf.index(shelf)
        hub.clear_journal()
        done = publish(shelf, client)
        assert len(commits(hub)) == 1
        changed = sum(len(text(client, path).encode()) for path in done.written)
        assert changed < sum(entry.bytes_in for entry in requests(hub)) < 2 * changed
        assert len([path for path in done.written if path.endswith(".py")]) == 1

    def test_unchanged_after_a_release_and_with_other_publishers(self, make_shelf, client, hub):
        shelf = make_shelf({"a": "1"}, version="1.0.0")
        other = named(make_shelf({"b": "1"}, name="theirs", version="1.0.0"), "acme/theirs")
        publish(make_shelf.index(other), client)
        publish(shelf, client, release=True)
        hub.clear_journal()
        assert publish(shelf, client).written == ()
        assert len(requests(hub)) == 3 and not commits(hub)
