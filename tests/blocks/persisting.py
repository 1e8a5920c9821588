"""What `killer.py` kills: each block that persists, at work on a folder."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

# imported before the first fork, so that no attempt spends its time on it (pyarrow looks for pandas when it writes)
import pandas as pd  # noqa: F401
import pyarrow.parquet  # noqa: F401
from huggingface_hub import HfApi  # noqa: F401

from blocks import dataset_child
from jobshelf.blocks import load

file_, bucket_, model_ = load("persist_file"), load("persist_bucket"), load("persist_model")
exits, retry = load("exits"), load("retry")
retry.RETRY_FIRST_PAUSE_S = 0.0
FILES = {"data/a.txt": b"a" * 100_000, "data/b.txt": b"b"}
OLD_FILES = {"data/a.txt": b"old", "data/old.txt": b"old"}
REPO = "alice/tiny"
RUN = {"script": "x.py", "source": "c0ffee"}


def file(folder: Path) -> None:
    _persist_files(folder, FILES, number=1)


def file_over_another(folder: Path) -> None:
    _persist_files(folder, FILES, number=1, overwrite=True)


def file_of_another(folder: Path) -> None:
    _persist_files(folder, OLD_FILES, number=2)


def dataset(folder: Path) -> None:
    _squares(folder)


def dataset_in_shards(folder: Path) -> None:
    _squares(folder, "--shard", "1/2")
    _squares(folder, "--shard", "2/2")


def dataset_over_another(folder: Path) -> None:
    _squares(folder, "--power", "3", "--overwrite")


def dataset_and_derived(folder: Path) -> None:
    _squares(folder, "--derive")


def derived_over_another(folder: Path) -> None:
    _squares(folder, "--power", "3", "--overwrite")


def bucket(folder: Path, sources: str = "sources") -> None:
    made = folder.with_name(f"{folder.name}-{sources}")
    made.mkdir(exist_ok=True)
    files = {name: made / Path(name).name for name in FILES}
    for name, path in files.items():
        path.write_bytes(FILES[name])
    place = bucket_.parse_bucket(str(folder / "out"))
    bucket_.persist_in_bucket(place, files, bucket_.open_bucket(place, dry_run=False))


def mounted(folder: Path) -> None:
    folder.mkdir()


def model_to_a_volume(folder: Path) -> None:
    """Where the Hub has no such repository, the model of a Job goes to the volume."""
    made = folder.with_name(f"{folder.name}-model")
    made.mkdir(exist_ok=True)
    for name, data in FILES.items():
        (made / Path(name).name).write_bytes(data)
    os.environ |= {"JOB_ID": "job", "JOBSHELF_VOLUME": str(folder)}
    run = file_.Run(request={"n": 1}, **RUN)
    with contextlib.suppress(exits.Stop):
        model_.persist_model("alice/there-is-none", made, run, token=os.environ["HF_TOKEN"])


def model_from_the_hub(folder: Path) -> None:
    model_.fetch_model(REPO, folder, token=os.environ["HF_TOKEN"], inside=model_.MODEL_CHECKPOINT)


def checkpoint_before(folder: Path) -> None:
    """An earlier attempt fetched a checkpoint that had more files."""
    folder.mkdir()
    (folder / "optimizer-00002.pt").write_bytes(b"old")


def raced_dataset(folder: Path, racer: int, racers: int) -> None:
    _squares(folder, "--rows", "16", "--shard", f"{racer + 1}/{racers}")


def raced_dataset_over_another(folder: Path, racer: int, racers: int) -> None:
    _squares(folder, "--power", "3", "--rows", "16", "--overwrite", "--shard", f"{racer + 1}/{racers}")


def raced_derived(folder: Path, racer: int, racers: int) -> None:
    _squares(folder, "--rows", "16", "--derive", "--shard", f"{racer + 1}/{racers}")


def raced_bucket(folder: Path, racer: int, racers: int) -> None:
    """All write the same files, as shards do that end at the same moment."""
    bucket(folder, f"sources-{racer}")


def raced_file(folder: Path, racer: int, racers: int) -> None:
    """The same command, started more than once."""
    file(folder)


PREPARE = {
    "raced_dataset_over_another": dataset,
    "raced_bucket": mounted,
    "file_over_another": file_of_another,
    "dataset_over_another": dataset,
    "derived_over_another": dataset_and_derived,
    "bucket": mounted,
    "model_to_a_volume": mounted,
    "model_from_the_hub": checkpoint_before,
}


def _persist_files(folder: Path, files: dict[str, bytes], *, number: int, overwrite: bool = False) -> None:
    target = file_.parse_target(str(folder))
    run = file_.Run(request={"n": number}, **RUN)
    held = file_.look_at(target, token=None, private=False, public=False)
    if file_.already_there(target, held, run, None):
        return
    file_.refuse_foreign(target, held, run, overwrite=overwrite)
    file_.persist_files(target, files, run=run, overwrite=overwrite, make_card=lambda old: old or "card\n", token=None)


def _squares(folder: Path, *words: str) -> None:
    arguments: Any = dataset_child.build_parser().parse_args([str(folder), "--rows", "4", "--size", "2", *words])
    dataset_child.work(arguments)
