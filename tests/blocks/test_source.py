"""Block `source`: which files a config and a split are, by front matter and by name, the same way every time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from jobshelf import blocks

source, exits = blocks.load("source"), blocks.load("exits")


def fill(folder: Path, *names: str, readme: str | None = None) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    if readme is not None:
        (folder / "README.md").write_text(f"---\n{readme}---\n# Card\n")
    return folder


@pytest.mark.parametrize(
    ("names", "splits", "files"),
    [
        (["a.jsonl", "b.jsonl"], ("train",), ("a.jsonl", "b.jsonl")),
        (["train.jsonl", "test.jsonl"], ("train", "test"), ("train.jsonl",)),
        (["dev.csv", "test.csv"], ("validation", "test"), ("dev.csv",)),
        (["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet", "data/x-00000-of-00001.parquet"],
         ("train", "x"), ("data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet")),
        (["train/a.parquet", "train/b.parquet", "validation/a.parquet"], ("train", "validation"), ("train/a.parquet", "train/b.parquet")),
        (["train_sft.parquet", "test_sft.parquet"], ("train", "test"), ("train_sft.parquet",)),
        (["train.parquet", "notes.csv"], ("train",), ("train.parquet",)),
        (["dataset_infos.json", ".cache/x.json", "rows.json"], ("train",), ("rows.json",)),
        (["a.parquet", "b.jsonl"], ("train",), ("a.parquet",)),
        (["constraint.parquet"], ("train",), ("constraint.parquet",)),
    ],
)  # fmt: skip
def test_splits_by_name(tmp_path: Path, names: list[str], splits: tuple[str, ...], files: tuple[str, ...]) -> None:
    found = source.resolve_source(str(fill(tmp_path, *names)))
    assert (found.config, found.splits, found.files) == ("default", splits, files)
    assert found.split == splits[0]


README = """\
configs:
- config_name: b
  data_files: b/*.parquet
- config_name: a
  default: true
  data_files:
  - {split: test, path: [a/**/t.parquet]}
  - {split: train, path: a/r.parquet}
- config_name: c
  data_dir: c
- config_name: gone
  data_files: gone/*.parquet
"""
FILES = ("a/r.parquet", "a/x/t.parquet", "b/1.parquet", "b/deep/2.parquet", "c/test.parquet", "stray.parquet")


def test_front_matter_decides(tmp_path: Path) -> None:
    folder = str(fill(tmp_path, *FILES, readme=README))
    found = source.resolve_source(folder)
    assert (found.configs, found.config, found.splits, found.split) == (
        ("a", "b", "c"),
        "a",
        ("test", "train"),
        "train",
    )
    assert source.resolve_source(folder, split="test").files == ("a/x/t.parquet",)
    assert source.resolve_source(folder, config="b").files == ("b/1.parquet",)
    assert source.resolve_source(folder, config="c").splits == ("test",)
    assert source.resolve_source(folder, preferred_config="c").config == "c"
    assert source.resolve_source(folder, preferred_config="nope").config == "a"


@pytest.mark.parametrize(
    ("pattern", "file", "is_match"),
    [
        ("data/*.parquet", "data/a.parquet", True),
        ("data/*.parquet", "data/b/a.parquet", False),
        ("data/**", "data/b/a.parquet", True),
        ("**/a.parquet", "a.parquet", True),
        ("data/[ab].parquet", "data/b.parquet", True),
        ("data/[ab].parquet", "data/c.parquet", False),
        ("a+b.parquet", "a+b.parquet", True),
        ("a.b", "axb", False),
    ],
)
def test_patterns(pattern: str, file: str, is_match: bool) -> None:
    assert source._matches(file, pattern) is is_match


def test_unknown_names_list_what_there_is(tmp_path: Path) -> None:
    folder = str(fill(tmp_path, *FILES, readme=README))
    with pytest.raises(exits.Stop, match="has no config 'bb'; it has: a, b, c") as stop:
        source.resolve_source(folder, config="bb")
    assert (stop.value.code, stop.value.fix) == (4, "add --config b")
    with pytest.raises(exits.Stop, match="it has: test, train") as stop:
        source.resolve_source(folder, split="tst")
    assert stop.value.fix == "add --split test"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ("word", 2),
        ("", 2),
        (" ", 2),
        ("hf://spaces/a/b", 2),
        ("./no.parquet", 4),
        ("no/such/path", 4),
        ("missing.jsonl", 4),
    ],
)
def test_impossible_inputs(given: str, code: int) -> None:
    with pytest.raises(exits.Stop) as stop:
        source.resolve_source(given)
    assert stop.value.code == code


def test_folder_without_data_and_broken_front_matter(tmp_path: Path) -> None:
    with pytest.raises(exits.Stop, match="holds no file ending in") as stop:
        source.resolve_source(str(fill(tmp_path, "picture.png")))
    assert stop.value.code == 4
    with pytest.raises(exits.Stop, match="is not YAML"):
        source.resolve_source(str(fill(tmp_path, "a.csv", readme="configs: [\n")))


def test_nothing_but_files_is_opened(tmp_path: Path) -> None:
    fill(tmp_path, "a.jsonl", "folder.parquet/b.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "gone.jsonl").symlink_to("nowhere")
    assert source.resolve_source(str(tmp_path)).files == ("a.jsonl", "folder.parquet/b.jsonl")


def test_a_local_input_has_no_revision(tmp_path: Path) -> None:
    with pytest.raises(exits.Stop, match="has no revision 'main'") as stop:
        source.resolve_source(str(fill(tmp_path, "a.jsonl")), revision="main")
    assert (stop.value.code, stop.value.fix) == (2, "leave --revision away")


def test_every_config_that_has_the_split(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(fill(tmp_path, *FILES, readme=README))

    def found(**how: str) -> list[tuple[str, str, tuple[str, ...]]]:
        return [(one.config, one.split, one.files) for one in source.resolve_configs(folder, **how)]

    assert found() == [("a", "train", ("a/r.parquet",)), ("b", "train", ("b/1.parquet",))]
    assert "1 configs have no split train and are left out: c" in capsys.readouterr().err
    in_tests = [("a", "test", ("a/x/t.parquet",)), ("c", "test", ("c/test.parquet",))]
    assert found(split="test") == found(preferred_config="c") == in_tests
    with pytest.raises(exits.Stop, match="has no split 'dev'"):
        source.resolve_configs(folder, split="dev")


def test_what_polars_advises_is_not_repeated(tmp_path: Path) -> None:
    given = source.resolve_source(str(fill(tmp_path, "a.csv")))
    told = "found more fields than defined in 'Schema'\n\nConsider setting 'truncate_ragged_lines=True'."
    message = source.unreadable(given, "a.csv", ValueError(told)).message
    assert message.endswith("is not readable csv: found more fields than defined in 'Schema'")


def test_identity_follows_the_content(tmp_path: Path) -> None:
    path = fill(tmp_path, "a.csv") / "a.csv"
    first = source.resolve_source(str(path)).identity
    assert source.resolve_source(str(path)).identity == first
    path.write_text("other")
    assert source.resolve_source(str(path)).identity != first


def test_hub_files_without_an_endpoint_are_hf_paths_with_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    local = source.resolve_source(str(fill(tmp_path, "a.csv")))
    assert source.locate(local, local.files, "t") == ([str(tmp_path / "a.csv")], None)
    on_hub = source.replace(local, repo_id="u/n", commit="c0ffee", folder=None)
    assert source.locate(on_hub, ["a.csv"], "t") == (["hf://datasets/u/n@c0ffee/a.csv"], {"token": "t"})
