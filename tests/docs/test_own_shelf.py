"""A shelf of one's own from an empty folder, by the README's lines, with the tool from a built wheel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from docs.checkout import lines_under
from jobshelf.hub import Account, Hub, serve
from jobshelf.index import Index
from jobshelf.rehearse.fixtures import find_fixture
from support import TOKEN, install_wheel, written

pytestmark = [pytest.mark.heavy, pytest.mark.jobs, pytest.mark.timeout(900)]
LINES = lines_under("README.md", "A shelf of your own")
CREDIT = "Made with [jobshelf]"


@pytest.fixture
def hub(tmp_path) -> Iterator[Hub]:
    """The Hub of `me`, with the rows that the README's lines read."""
    with serve(tmp_path / "hub", accounts=(Account(name="me", token=TOKEN, orgs=("trl-lib",)),)) as running:
        client = HfApi(endpoint=running.endpoint, token=TOKEN)
        client.create_repo("trl-lib/Capybara", repo_type="dataset")
        for path, data in find_fixture("questions").make().items():
            client.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id="trl-lib/Capybara", repo_type="dataset")
        yield running


def test_from_an_empty_folder_to_a_published_shelf(hub, environment, tmp_path):
    programs = install_wheel(tmp_path / "wheel")
    path = f"{programs}:/usr/local/bin:/usr/bin:/bin"
    env = environment | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "PATH": path}
    folder = tmp_path / "empty"
    folder.mkdir()

    def type_(line: str) -> str:
        argv = ["bash", "-c", line.replace("https://huggingface.co", hub.endpoint)]
        done = subprocess.run(argv, cwd=folder, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
        assert TOKEN not in done.stdout + done.stderr
        return done.stdout

    said = {}
    for line in LINES:
        if line.startswith("cd "):
            folder = folder / line.removeprefix("cd ")
            continue
        if line.startswith("jobshelf vet"):
            write_functions(folder / "catalog")
        said[line] = type_(line)
    assert said["jobshelf vet --strict catalog"] == "3 scripts: nothing found.\n"
    assert "as the index says" in said["jobshelf verify"]
    assert (folder / "shelf.html").stat().st_size > 10_000
    started = [out for line, out in said.items() if "resolve/main/count-words.py" in line]
    assert len(started) == 2 and all("rows" in out for out in started)

    client = HfApi(endpoint=hub.endpoint, token=TOKEN)
    published = Path(client.snapshot_download("me/scripts", repo_type="dataset", local_dir=tmp_path / "published"))
    texts = {path: path.read_text() for path in published.rglob("*") if path.is_file() and ".cache" not in path.parts}
    index = Index.from_text((published / "index.json").read_text(), "there")
    assert {entry.id: entry.rehearsed for entry in index.entries} == dict.fromkeys(
        ("clean-rows", "count-words", "list-files"), "passed"
    )
    named = {
        path.name: line for path, text in texts.items() for line in text.splitlines() if "jobshelf/scripts" in line
    }
    assert all(CREDIT in line for line in named.values()), named
    assert type_("jobshelf publish").startswith("unchanged: ")
    type_("jobshelf index --check")
    assert type_("jobshelf publish --repo me/mine").startswith("published ")
    assert type_("jobshelf publish --repo me/mine").startswith("unchanged: ")
    assert "as the index says" in type_("jobshelf verify me/mine")


def write_functions(catalog: Path) -> None:
    """Write what the templates left open, as their author would."""
    for path in catalog.glob("*.py"):
        path.write_text(written(path.read_text(encoding="utf-8")), encoding="utf-8")
