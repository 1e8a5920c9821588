"""`jobshelf verify`: what the Hub serves, held against the index."""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request

import pytest
from huggingface_hub import CommitOperationAdd, CommitOperationDelete

from jobshelf.errors import InputError
from jobshelf.publish import publish, verify
from jobshelf.shelf import find_shelf
from support import ROOT

REPO = "jobshelf/scripts"


def by_hand(client, *operations, repo=REPO):
    client.create_commit(repo, operations, commit_message="by hand", repo_type="dataset")


@pytest.fixture
def published(make_shelf, client):
    shelf = make_shelf({"a": "1", "b": "1"}, version="1.0.0")
    publish(shelf, client, release=True)
    return shelf


def lines(client):
    return [str(finding) for finding in verify(client, REPO).findings]


def test_a_publish_is_as_its_index_says(published, client):
    seen = verify(client, REPO)
    assert (seen.findings, seen.foreign, seen.tags) == ((), (), ("v1.0.0",))
    assert seen.files > 6 and seen.urls >= 8
    assert seen.page == f"{client.endpoint}/datasets/{REPO}"


def test_every_published_url_of_the_real_shelf_serves_what_the_index_says(client, hub):
    """Without our client, and without a token: as curl would."""
    shelf = find_shelf(ROOT)
    done = publish(shelf, client)
    base = f"{hub.endpoint}/datasets/{REPO}/resolve"
    sums = dict(
        reversed(line.split("  ", 1)) for line in fetch(f"{base}/{done.commit}/SHA256SUMS").decode().splitlines()
    )
    index = fetch(f"{base}/main/index.json").decode()
    urls = {
        url.replace("https://huggingface.co", hub.endpoint)
        for url in re.findall(r"https://huggingface\.co/datasets/[^/\s]+/[^/\s]+/resolve/[^\s\"'`<>)\\]+", index)
    }
    paths = {url: url.partition("/main/")[2] for url in urls}
    assert {path for path in paths.values() if path.endswith(".py")} == {path.name for path in shelf.scripts()}
    wrong = [url for url, path in paths.items() if path and hashlib.sha256(fetch(url)).hexdigest() != sums[path]]
    assert not wrong
    assert [path for path in sums if hashlib.sha256(fetch(f"{base}/main/{path}")).hexdigest() != sums[path]] == []
    assert verify(client, REPO).findings == ()


def fetch(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read()


def test_bytes_that_changed_by_hand_are_found_at_the_file_and_at_its_urls(published, client):
    by_hand(client, CommitOperationAdd("a.py", b"print('mine')\n"))
    found = lines(client)
    assert any(line.startswith("a.py: its bytes have sha256 ") for line in found)
    assert any(re.match(r"https://huggingface.co/\S+/resolve/main/a.py: it serves sha256", line) for line in found)
    assert all(line.endswith("Fix: jobshelf publish --repair") for line in found)
    assert not [line for line in found if "v1.0.0" in line or "b.py" in line]


def test_a_file_that_is_gone_is_found(published, client):
    by_hand(client, CommitOperationDelete("scripts/a.md"))
    assert any(line.startswith("scripts/a.md: it is gone, and SHA256SUMS lists it") for line in lines(client))


def test_a_tag_that_is_gone_is_found_at_every_url_that_names_it(published, client):
    client.delete_tag(REPO, tag="v1.0.0", repo_type="dataset")
    found = lines(client)
    assert len(found) == 2 and all("/resolve/v1.0.0/" in line and "nothing is there" in line for line in found)
    assert all("jobshelf publish --release" in line for line in found)


def test_a_tag_that_was_moved_is_found(published, make_shelf, client):
    make_shelf.put(published, "a", "1.1")
    publish(make_shelf.index(published), client)
    by_hand(client, CommitOperationAdd("b.py", b"print('moved')\n"))
    client.delete_tag(REPO, tag="v1.0.0", repo_type="dataset")
    client.create_tag(REPO, tag="v1.0.0", repo_type="dataset")
    assert any("/resolve/v1.0.0/b.py: it serves sha256" in line for line in lines(client))


def test_a_release_tag_that_holds_no_such_shelf_is_found(published, client):
    client.create_tag(REPO, tag="v2.0", repo_type="dataset")
    client.create_tag(REPO, tag="experiment", repo_type="dataset")
    found = lines(client)
    assert len(found) == 1 and found[0].startswith("tag v2.0: it does not hold the shelf of version 2.0")


def test_files_of_others_are_listed_and_are_no_findings(published, client):
    by_hand(client, CommitOperationAdd("notes/mine.txt", b"mine"))
    seen = verify(client, REPO)
    assert (seen.foreign, seen.findings) == (("notes/mine.txt",), ())


def test_an_index_that_is_none_and_one_of_another_repository(published, client):
    whole = client.hf_hub_download(REPO, "index.json", repo_type="dataset")
    by_hand(client, CommitOperationAdd("index.json", b"{}"))
    assert any("index.json: it is missing or not an index" in line for line in lines(client))
    sums = client.hf_hub_download(REPO, "SHA256SUMS", repo_type="dataset")
    client.create_repo("alice/copy", repo_type="dataset")
    by_hand(client, CommitOperationAdd("index.json", whole), CommitOperationAdd("SHA256SUMS", sums), repo="alice/copy")
    found = [str(finding) for finding in verify(client, "alice/copy").findings]
    assert any("describes jobshelf/scripts, not this repository" in line for line in found)


class TestAddressesOfAnotherDataset:
    """A script that sends its reader to somebody else's copy of it."""

    def publish_naming(self, make_shelf, client, line):
        shelf = make_shelf({"a": "1", "b": "1"})
        path = shelf.catalog / "a.py"
        path.write_text(path.read_text() + line)
        publish(make_shelf.index(shelf), client, repo="alice/mine")
        return [str(finding) for finding in verify(client, "alice/mine").findings]

    @pytest.mark.parametrize(
        "line",
        [
            '"""\n    uv run https://huggingface.co/datasets/other/shelf/resolve/main/a.py --loud\n"""\n',
            'URL = "https://huggingface.co/datasets/other/shelf/resolve/main/a.py"\n',
            "# hf jobs uv run https://huggingface.co/datasets/other/shelf/raw/v1.0.0/a.py\n",
        ],
    )
    def test_it_is_found(self, make_shelf, client, line):
        (found,) = self.publish_naming(make_shelf, client, line)
        assert found.startswith("a.py: it names https://huggingface.co/datasets/other/shelf/r")
        assert "as its own address, and stands in alice/mine. Fix: name alice/mine in the script" in found

    @pytest.mark.parametrize(
        "line",
        [
            "# After https://huggingface.co/datasets/other/shelf/resolve/main/a.py, which it was made from.\n",
            "# uv run https://huggingface.co/datasets/other/shelf/resolve/main/another.py\n",
            "# uv run https://huggingface.co/datasets/other/shelf/resolve/main/b.py\n",
        ],
    )
    def test_a_link_to_a_script_of_others_is_none(self, make_shelf, client, line):
        assert self.publish_naming(make_shelf, client, line) == []

    def test_every_text_that_repeats_it_is_named(self, published, client):
        copy = "uv run https://huggingface.co/datasets/other/shelf/resolve/main/a.py"
        by_hand(client, CommitOperationAdd("a.py", copy.encode()), CommitOperationAdd("llms.txt", copy.encode()))
        named = [line.partition(":")[0] for line in lines(client) if "as its own address" in line]
        assert named == ["a.py", "llms.txt"]


def test_where_no_shelf_is(client):
    with pytest.raises(InputError, match="alice/none does not exist, or is hidden from the token"):
        verify(client, "alice/none")
    client.create_repo("alice/empty", repo_type="dataset")
    with pytest.raises(InputError, match="alice/empty holds no SHA256SUMS: no shelf was published there"):
        verify(client, "alice/empty")


def test_the_command_exits_1_with_one_line_a_finding_and_needs_no_token(published, client, hub_environment, jobshelf):
    anonymous = hub_environment | {"HF_TOKEN": ""}
    well = jobshelf("verify", env=anonymous, cwd=published.root)
    assert well.returncode == 0, well.stderr
    assert re.fullmatch(
        r"jobshelf/scripts at [0-9a-f]{12}: \d+ files, \d+ URLs, 1 tags: as the index says. "
        r"Pinned: \S+/datasets/jobshelf/scripts/resolve/[0-9a-f]{40}/\n",
        well.stdout,
    )
    by_hand(client, CommitOperationDelete("scripts/a.md"), CommitOperationAdd("theirs.txt", b"1"))
    ill = jobshelf("verify", REPO, env=anonymous, cwd=published.root.parent)  # where no shelf is
    assert ill.returncode == 1
    *findings, foreign, verdict = ill.stdout.splitlines()
    assert all(". Fix: " in line for line in findings) and foreign.startswith("foreign: theirs.txt")
    assert f": {len(findings)} findings. " in verdict
