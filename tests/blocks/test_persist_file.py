"""Block `persist_file` on folders; what it does on a Hub is tested through the scripts that use it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobshelf import blocks

persist, exits = blocks.load("persist_file"), blocks.load("exits")
FILES = {"data/a.txt": b"a", "data/b.txt": b"b"}


def run(**request: object) -> object:
    return persist.Run(script="x.py", request=request, source="c0ffee")


def write(folder: Path, files: dict[str, bytes] = FILES, *, overwrite: bool = False, **request: object) -> None:
    target = persist.parse_target(str(folder))
    held = persist.look_at(target, token=None, private=False, public=False)
    persist.refuse_foreign(target, held, run(**request), overwrite=overwrite)
    persist.persist_files(
        target, files, run=run(**request), overwrite=overwrite, make_card=lambda old: f"{old or ''}card\n", token=None
    )


def is_there(folder: Path, **request: object) -> bool:
    target = persist.parse_target(str(folder))
    held = persist.look_at(target, token=None, private=False, public=False)
    return persist.already_there(target, held, run(**request), None)


@pytest.mark.parametrize(
    ("given", "repo_id"),
    [
        ("user/name", "user/name"),
        ("U/N.x_y-z", "U/N.x_y-z"),
        ("./out", None),
        ("../o", None),
        ("/tmp/o", None),
        ("~/o", None),
    ],
)
def test_targets(given: str, repo_id: str | None) -> None:
    target = persist.parse_target(given)
    assert target.repo_id == repo_id
    assert (target.folder is None) == (repo_id is not None)


@pytest.mark.parametrize(
    "given", ["out", "out.parquet", "a/b/c", "a/", "/".join("ab") + ".git", "a/b--c", "a/..", "a b/c", ""]
)
def test_neither_repository_nor_path(given: str) -> None:
    with pytest.raises(exits.Stop) as stop:
        persist.parse_target(given)
    assert stop.value.code == 2


def test_written_then_already_there_until_damaged(tmp_path: Path) -> None:
    assert not is_there(tmp_path / "o", n=1)
    write(tmp_path / "o", n=1)
    assert (tmp_path / "o/data/a.txt").read_bytes() == b"a"
    assert is_there(tmp_path / "o", n=1)
    assert not is_there(tmp_path / "o", n=2)
    (tmp_path / "o/data/a.txt").write_bytes(b"x")
    assert not is_there(tmp_path / "o", n=1)


def test_other_request_needs_overwrite_and_takes_stale_files_away(tmp_path: Path) -> None:
    write(tmp_path / "o", n=1)
    with pytest.raises(exits.Stop, match="different: n") as stop:
        write(tmp_path / "o", n=2)
    assert stop.value.code == 4
    write(tmp_path / "o", {"data/c.txt": b"c"}, overwrite=True, n=2)
    assert sorted(path.name for path in (tmp_path / "o/data").iterdir()) == ["c.txt"]


def test_foreign_files_are_refused_and_survive(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(exits.Stop, match=r"mine\.txt"):
        write(tmp_path, n=1)
    write(tmp_path, overwrite=True, n=1)
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_a_card_alone_is_not_foreign_and_is_handed_on(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("theirs\n")
    write(tmp_path, n=1)
    assert (tmp_path / "README.md").read_text() == "theirs\ncard\n"


def test_output_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    with pytest.raises(exits.Stop, match="is a file"):
        write(tmp_path / "f", n=1)
    assert (tmp_path / "f").read_text() == "x"


def test_broken_manifest_counts_as_none(tmp_path: Path) -> None:
    write(tmp_path, n=1)
    (tmp_path / "jobshelf.json").write_text("{")
    assert not is_there(tmp_path, n=1)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_another_run_clears_away_while_it_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out/.parts").mkdir(parents=True)
    (tmp_path / "out/.parts/a.parquet").touch()
    (tmp_path / "out/b.txt").touch()
    scandir = os.scandir

    def cleared_just_then(path: os.PathLike[str]) -> object:
        if Path(path).name == ".parts":
            Path(path).rename(tmp_path / "cleared")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", cleared_just_then)
    held = persist.look_at(persist.parse_target(str(tmp_path / "out")), token=None, private=False, public=False)
    assert held.names == ("b.txt",)
    assert (tmp_path / "cleared").is_dir()


def test_what_an_older_run_left_half_written_is_no_file_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".a.txt.t4bqsrl2.part").write_bytes(b"hal")
    write(tmp_path, n=1)
    assert sorted(tree(tmp_path)) == ["README.md", "data/a.txt", "data/b.txt", "jobshelf.json"]
