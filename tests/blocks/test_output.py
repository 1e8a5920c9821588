"""`Output` in every place that keeps files: whose they are, whole or not at all, and what happens when it fails."""

from __future__ import annotations

import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from huggingface_hub import HfApi

from blocks.places import Place, through
from blocks.shared import Stopped, block
from blocks.writer import identity, parse
from jobshelf.hub import Hub
from support import BIN, READ_TOKEN, TOKEN, until

Output = block("output").Output
PARTS = {f"data/{number:05}.bin": bytes([number]) * 10 for number in range(3)}
WHOLE = {**PARTS, "README.md": b"card of seed 0", "run.json": json.dumps(identity(Namespace(seed=0))).encode()}


FAST = ["folder", "dataset", "bucket"]
SLOW = [pytest.param(name, marks=[pytest.mark.heavy, pytest.mark.data]) for name in ("model", "s3", "gcs")]
everywhere = pytest.mark.parametrize("place", [*FAST, *SLOW], indirect=True)
in_folder = pytest.mark.parametrize("place", ["folder"], indirect=True)
on_hub = pytest.mark.parametrize("place", ["dataset"], indirect=True)
in_bucket = pytest.mark.parametrize("place", ["bucket"], indirect=True)


def made_here(place: Place) -> None:
    """Somebody made the place, and left it empty."""
    if place.target.startswith("hf://"):
        HfApi().create_bucket("alice/out")
    elif place.target == "alice/out":
        HfApi().create_repo("alice/out", repo_type=place.kind)


@everywhere
def test_the_life_of_a_place(place: Place, stopped: Stopped) -> None:
    """Written, written again, refused to others, kept, replaced."""
    first = place.work()
    assert place.read() == WHOLE
    assert (first.run, first.finished) == (identity(first.args), set(WHOLE))
    again = place.work()
    assert (again.finished, place.read()) == (set(WHOLE), WHOLE)

    said = stopped(lambda: place.work("--seed", "1"), 4)
    assert f"{place.target} holds another run (arguments differ)" in said
    assert "--keep" in said
    assert "--overwrite" in said
    assert place.read() == WHOLE

    kept = place.work("--seed", "1", "--keep", "--parts", "4")
    assert kept.run == {**identity(kept.args), "kept": identity(first.args)}
    found = place.read()
    assert {name: found[name] for name in PARTS} == PARTS
    assert (found["data/00003.bin"], found["README.md"]) == (bytes([4]) * 10, b"card of seed 1")
    assert json.loads(found["run.json"]) == kept.run
    assert place.work("--seed", "1", "--parts", "4").run == kept.run

    place.work("--seed", "2", "--overwrite", "--parts", "1")
    assert set(place.read()) == {"data/00000.bin", "README.md", "run.json"}
    assert place.read()["data/00000.bin"] == bytes([2]) * 10


@everywhere
def test_what_is_missing_is_made(place: Place) -> None:
    place.work("--parts", "1")
    assert place.work().finished == set(WHOLE)
    assert {name: data for name, data in place.read().items() if name in PARTS} == PARTS


@everywhere
def test_files_of_another_origin(place: Place, stopped: Stopped) -> None:
    made_here(place)
    place.put("thesis.tex", b"years of work")
    place.put("data/00001.bin", b"old")
    place.put("data/photo.jpg", b"mine")
    said = stopped(place.work, 4)
    assert f"{place.target} holds files of another origin" in said
    assert "--keep" not in said
    stopped(lambda: place.work("--keep"), 4)
    others = {"thesis.tex": b"years of work", "data/photo.jpg": b"mine"}
    assert place.read() == {**others, "data/00001.bin": b"old"}
    place.work("--overwrite")
    assert place.read() == (WHOLE if place.target == "alice/out" else {**WHOLE, **others})


@everywhere
@pytest.mark.parametrize("text", [b"{", b"[1]", b"null", b"\xff", b'{"script": 1}', b'"text"', b""])
def test_a_broken_run_json(place: Place, text: bytes, stopped: Stopped) -> None:
    made_here(place)
    place.put("run.json", text)
    assert "run.json" not in stopped(place.work, 4)
    assert place.read() == {"run.json": text}
    place.work("--overwrite")
    assert place.read() == WHOLE


@everywhere
def test_another_run_takes_the_place(place: Place, stopped: Stopped) -> None:
    """Both looked before either claimed: the one that comes later has it, and the other notices."""
    first = Output(parse([place.target, "--commit-every", "0"]), {"script": "a"}, kind=place.kind)
    second = Output(parse([place.target, "--commit-every", "0"]), {"script": "b"}, kind=place.kind)
    first.claim(private=False)
    second.claim(private=False)
    said = stopped(lambda: first.write("data/a.bin", b"1"), 4)
    assert f"another run has taken {place.target}" in said
    first.send()  # as in `finally`: says nothing more
    second.write("data/b.bin", b"2")
    assert place.read() == {"run.json": b'{"script": "b"}', "data/b.bin": b"2"}


@everywhere
def test_files_that_something_else_writes(place: Place) -> None:
    output = Output(parse([place.target]), {"script": "a"}, kind=place.kind)
    output.claim(private=False)
    (output.folder / "deep").mkdir()
    (output.folder / "deep" / "model.bin").write_bytes(bytes(100_000))
    output.send()
    output.send()  # nothing waits
    assert place.read()["deep/model.bin"] == bytes(100_000)


def start(*words: str, env: dict[str, str] | None = None, cwd: Path, **options: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, **(env or {}), "PYTHONPATH": os.pathsep.join(sys.path)}
    argv = [sys.executable, "-m", "blocks.writer", *words]
    return subprocess.Popen(
        argv, env=environment, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    out, err = process.communicate(timeout=60)
    assert TOKEN not in out + err
    return process.returncode, err


@in_folder
def test_killed_in_the_middle_of_a_file(place: Place, tmp_path: Path) -> None:
    """The files come from another disk, so that each is copied; what a kill leaves half-written goes with the next run."""
    size = 40 << 20
    words = (place.target, "--parts", "3", "--size", str(size))
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert Path(elsewhere).stat().st_dev != tmp_path.stat().st_dev
        for _ in range(2):
            process = start(*words, env={"TMPDIR": elsewhere}, cwd=tmp_path)
            until(lambda: any(path.stat().st_size < size for path in tmp_path.glob("out dir/data/.*.bin.*")))
            os.kill(process.pid, signal.SIGKILL)
            ended(process)
            assert {path.stat().st_size for path in tmp_path.glob("out dir/data/0*.bin")} <= {size}
            assert len(list(tmp_path.glob("out dir/data/.*"))) == 1
        assert ended(start(*words, env={"TMPDIR": elsewhere}, cwd=tmp_path)) == (0, "")
    found = {path.name: path.read_bytes() for path in (tmp_path / "out dir" / "data").iterdir()}
    assert found == {f"{number:05}.bin": bytes([number]) * size for number in range(3)}


@in_folder
@pytest.mark.parametrize("seed", ["0", "1"])
def test_two_processes_at_the_same_moment(place: Place, seed: str, tmp_path: Path) -> None:
    """With one identity both end well; with two, one ends with 4 and the place is the other's."""
    words = ("--parts", "8", "--size", "2000000", "--pause", "0.05")
    both = [start(place.target, *words, "--seed", number, cwd=tmp_path) for number in ("0", seed)]
    codes = [ended(process)[0] for process in both]
    assert sorted(codes) == ([0, 0] if seed == "0" else [0, 4])
    winner = codes.index(0) * int(seed)
    found = place.read()
    assert found.pop("README.md") == f"card of seed {winner}".encode()
    assert json.loads(found.pop("run.json")) == identity(Namespace(seed=winner))
    assert found == {f"data/{number:05}.bin": bytes([winner + number]) * 2_000_000 for number in range(8)}


@on_hub
@pytest.mark.parametrize("seed", ["0", "1"])
def test_two_processes_on_the_hub(place: Place, seed: str, here: Hub, tmp_path: Path) -> None:
    words = ("--parts", "4", "--pause", "0.1", "--commit-every", "0")
    both = [start(place.target, *words, "--seed", number, cwd=tmp_path) for number in ("0", seed)]
    codes, said = zip(*map(ended, both), strict=True)
    assert sorted(codes) == ([0, 0] if seed == "0" else [0, 4]), said
    winner = codes.index(0) * int(seed)
    found = place.read()
    assert json.loads(found.pop("run.json")) == identity(Namespace(seed=winner))
    assert found.pop("README.md") == f"card of seed {winner}".encode()
    assert found == {f"data/{number:05}.bin": bytes([winner + number]) * 10 for number in range(4)}


@in_folder
def test_a_full_disk(place: Place, tmp_path: Path) -> None:
    """No file may be larger than 1 MB here, as when the disk is full."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    code, said = ended(start(place.target, "--size", "2000000", cwd=tmp_path, preexec_fn=limit))
    assert (code, said.count("\n")) == (5, 1), said
    assert said.startswith("error: [Errno 27] File too large")
    assert set(place.read()) == {"run.json"}
    assert ended(start(place.target, "--size", "2000000", cwd=tmp_path)) == (0, "")


@in_folder
def test_the_output_is_a_file(place: Place, tmp_path: Path, stopped: Stopped) -> None:
    (tmp_path / "out dir").write_text("mine")
    stopped(place.work, 4)
    code, said = ended(start(place.target, "--overwrite", cwd=tmp_path))
    assert (code, said.count("\n")) == (5, 1), said
    assert said.startswith(f"error: [Errno 17] File exists: '{tmp_path / 'out dir'}'")
    assert (tmp_path / "out dir").read_text() == "mine"


@in_folder
def test_a_folder_that_cannot_be_made(place: Place, tmp_path: Path) -> None:
    code, said = ended(start("/proc/none/out", cwd=tmp_path))
    assert (code, said.count("\n")) == (5, 1), said
    assert "'/proc/none" in said


@in_folder
def test_overwrite_leaves_the_rest_of_a_folder_alone(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when somebody put more into the folder of a run, or it is a project of its own."""
    monkeypatch.chdir(tmp_path)
    others = {
        ".git/config": b"x",
        ".env": b"x",
        "thesis.tex": b"x",
        "src/data/a.py": b"x",
        "datasets/x": b"x",
        "README.md.bak": b"x",
    }
    for name, data in others.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    place.target = "."
    place.put, place.read = through(fsspec.filesystem("file"), str(tmp_path))
    place.work("--overwrite")
    (tmp_path / "checkpoint-3").mkdir()
    place.put("checkpoint-3/model.bin", b"x")
    place.work("--overwrite", "--seed", "1", "--parts", "1")
    found = place.read()
    assert others.items() <= found.items()
    assert found.keys() - others.keys() == {"data/00000.bin", "README.md", "run.json"}


@on_hub
@pytest.mark.parametrize("status", [403, 400])
def test_refused_for_good_and_the_command_pushes_it(
    place: Place,
    status: int,
    here: Hub,
    hub_environment: dict[str, str],
    stopped: Stopped,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / 'it\'s a "place" $HOME'
    folder.mkdir()
    monkeypatch.chdir(folder)
    here.fail(path="/commit/", status=status, nth=2, times=99)
    said = stopped(place.work, 6)
    assert "alice/out refused the files now in " in said
    here.clear_faults()
    pushed(said, hub_environment, tmp_path)
    assert place.read() == WHOLE
    assert place.work().finished == set(WHOLE)


@in_bucket
def test_refused_by_a_bucket(
    place: Place, here: Hub, hub_environment: dict[str, str], stopped: Stopped, tmp_path: Path
) -> None:
    output = Output(parse([place.target]), {"script": "a"})
    output.claim(private=False)
    here.fail(path="/batch", status=403, times=99)
    said = stopped(lambda: output.write("data/a b.bin", b"1"), 6)
    here.clear_faults()
    pushed(said, hub_environment, tmp_path)
    assert place.read() == {"run.json": b'{"script": "a"}', "data/a b.bin": b"1"}


def pushed(said: str, environment: dict[str, str], folder: Path) -> None:
    """Run the command that was printed, from elsewhere."""
    command = said.partition(". Fix: ")[2]
    assert shlex.split(command)[0] == "hf"
    done = subprocess.run(command, shell=True, env=environment, cwd="/", capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert str(BIN) in environment["PATH"]


@on_hub
def test_an_outage_ends_with_the_files_kept(place: Place, here: Hub, stopped: Stopped, pauses: list[float]) -> None:
    here.fail(path="/commit/", status=503, nth=2, times=999)
    assert "no success within two minutes" in stopped(place.work, 6)
    assert kept() == {*PARTS, "README.md"}


def kept() -> set[str]:
    """The files that an output has saved here."""
    (folder,) = Path().glob("unsaved-*")
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@on_hub
@pytest.mark.parametrize("kind", ["lost", "reset"])
@pytest.mark.parametrize("nth", [1, 2])
def test_an_answer_that_is_lost(place: Place, here: Hub, kind: Any, nth: int, pauses: list[float]) -> None:
    place.work("--seed", "1", "--parts", "5")
    before = len(HfApi().list_repo_commits("alice/out", repo_type="dataset"))
    here.fail(path="/commit/", method="POST", kind=kind, nth=nth)
    place.work("--overwrite")
    assert place.read() == WHOLE
    assert len(HfApi().list_repo_commits("alice/out", repo_type="dataset")) == before + 2


@on_hub
def test_few_commits(place: Place, here: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """2,000 parts of five seconds each: under the limit of the Hub for every hour, at most four minutes unsent."""
    here.limit_commits(128, seconds=3600)
    clock = [0.0]
    monkeypatch.setattr(block("output"), "time", Namespace(monotonic=lambda: clock[0]))
    output = Output(parse([place.target]), {"script": "a"})
    output.claim(private=False)
    here.clear_journal()
    for number in range(200):
        clock[0] += 5
        output.write(f"data/{number:05}.bin", b"1")
        assert len(list(output.folder.rglob("*.bin"))) * 5 <= 240
    output.send()
    commits = [entry for entry in here.journal() if "/commit/" in entry.path and entry.method == "POST"]
    assert len(commits) == 5
    assert len(place.read()) == 201


@pytest.mark.parametrize(
    ("words", "private", "expected"),
    [
        ((), False, False),
        ((), True, True),
        (("--public",), True, False),
        (("--private",), False, True),
        (("--private", "--public"), True, True),
    ],
)
@pytest.mark.parametrize("place", ["dataset", "bucket"], indirect=True)
def test_visibility(place: Place, words: tuple[str, ...], private: bool, expected: bool) -> None:
    place.work(*words, private=private)
    assert seen(place) is expected


@pytest.mark.parametrize("place", ["dataset", "bucket"], indirect=True)
def test_a_public_place_is_made_private(place: Place) -> None:
    place.work("--parts", "1")
    assert seen(place) is False
    place.work(private=True)
    assert seen(place) is True


def seen(place: Place) -> bool | None:
    api = HfApi()
    return (api.bucket_info if place.target.startswith("hf://") else api.dataset_info)("alice/out").private


@on_hub
def test_a_token_that_only_reads(place: Place, stopped: Stopped, monkeypatch: pytest.MonkeyPatch) -> None:
    place.work()
    monkeypatch.setenv("HF_TOKEN", READ_TOKEN)
    assert re.search("refused the files.*403", stopped(lambda: place.work("--seed", "1", "--keep"), 6))


@on_hub
def test_stopped_on_the_way(place: Place, here: Hub, tmp_path: Path) -> None:
    """SIGTERM, as a Job gets it: what is finished is sent."""
    process = start(place.target, "--parts", "99", "--pause", "0.1", cwd=tmp_path)
    assert process.stdout
    written = [process.stdout.readline().strip() for _ in range(3)]
    process.terminate()
    assert ended(process)[0] == 143
    assert {"run.json", *written} <= place.read().keys()


@on_hub
def test_a_hub_that_fails_when_looked_at(place: Place, here: Hub, pauses: list[float]) -> None:
    place.work()
    here.fail(path="/tree/", status=503, times=7)
    here.fail(path="/resolve/", kind="reset", times=3)
    assert place.work().finished == set(WHOLE)


@on_hub
def test_a_refusal_is_told_once(place: Place, here: Hub, stopped: Stopped) -> None:
    """In the middle of the work, with the `finally` that sends what waits."""
    here.fail(path="/commit/", status=403, nth=3, times=99)
    assert "alice/out refused the files now in " in stopped(lambda: place.work("--commit-every", "0"), 6)
    assert kept() == {"data/00001.bin"}
