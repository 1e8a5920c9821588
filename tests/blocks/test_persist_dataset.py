"""Block `persist_dataset`: the same rows whatever happens on the way, on a Hub and in a folder, by real processes."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi, constants

from blocks import dataset_child
from blocks.flaky import flaky
from jobshelf.blocks import load
from jobshelf.hub import Hub
from support import BIN, TOKEN

dataset, retry, exits = load("persist_dataset"), load("retry"), load("exits")
CHILD = Path(dataset_child.__file__)
REPO = "alice/squares"
EXPECTED = [dataset_child.square(number, 2, 0) for number in range(10)]
Child = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def child(hub_environment: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Child:
    """`child(REPO, "--rows", "10")`: start the script; the user's environment may be changed by keyword."""
    # what many short processes import is compiled once
    cache = str(tmp_path_factory.getbasetemp() / "pycache")
    environment = hub_environment | {"PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}

    def start(*words: str, **env: str) -> subprocess.Popen[str]:
        argv = [sys.executable, str(CHILD), *words]
        return subprocess.Popen(
            argv, env=environment | env, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def use_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")


@pytest.fixture
def inside(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """`inside(REPO, "--shard", "1/9")`: run the script in this process; its exit code."""
    use_endpoint(hub.endpoint, monkeypatch)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.delenv("JOB_ID", raising=False)
    monkeypatch.setattr(retry, "RETRY_FIRST_PAUSE_S", 0.001)
    monkeypatch.chdir(tmp_path)
    return lambda *words: exits.run_to_exit(lambda: dataset_child.work(dataset_child.build_parser().parse_args(words)))


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for the end; return what was said. The token is nowhere in it."""
    out, err = process.communicate(timeout=60)
    assert TOKEN not in out + err
    assert process.returncode == code, out + err
    return out + err


def until(process: subprocess.Popen[str], text: str) -> None:
    for line in process.stdout or ():
        if text in line:
            return
    raise AssertionError(f"the script ended without saying {text!r}: {ended(process)}")


def rows(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "data").glob("*.parquet"))
    return [
        {key: value for key, value in row.items() if key != "text"}
        for file in files
        for row in pq.read_table(file).to_pylist()
    ]


def expected(count: int = 10) -> list[dict[str, Any]]:
    made = (dataset_child.square(number, 2, 0) for number in range(count))
    return [{key: value for key, value in row.items() if key != "text"} for row in made]


def of_hub(client: HfApi, folder: Path, repo: str = REPO) -> list[dict[str, Any]]:
    return rows(Path(client.snapshot_download(repo, repo_type="dataset", local_dir=folder)))


def commits(client: HfApi) -> list[str]:
    return [commit.title for commit in client.list_repo_commits(REPO, repo_type="dataset")][::-1]


def files(client: HfApi) -> set[str]:
    return {name for name in client.list_repo_files(REPO, repo_type="dataset") if name != ".gitattributes"}


PARTS = {f"data/train-{index:06d}.parquet" for index in range(4)}
WHOLE = PARTS | {"README.md", "jobshelf.json", "stats/00000.json", "completions/00000"}


def test_rows_card_manifest_and_one_commit_a_part(child: Child, client: HfApi, tmp_path: Path) -> None:
    said = ended(child(REPO))
    assert "result alice/squares 10" in said
    assert of_hub(client, tmp_path / "got") == expected()
    assert files(client) == WHOLE
    assert (tmp_path / "got/README.md").read_text() == "10 rows in 4 parts, 1 failed\n"
    assert json.loads((tmp_path / "got/jobshelf.json").read_text())["source"] == "1" * 40
    assert commits(client)[1:] == [
        "square.py: a run begins",
        *(f"square.py: parts {index} to {index} (shard 1/1)" for index in range(4)),
        "square.py: done (shard 1/1)",
        "Card",
    ]
    assert client.dataset_info(REPO).private


def test_failed_rows_say_why(inside: Callable[..., int], client: HfApi, tmp_path: Path) -> None:
    assert inside(REPO) == 0
    failed = [row for row in of_hub(client, tmp_path / "got") if row["finish_reason"] == "error"]
    assert failed == [{"number": 6, "square": None, "error": "seven", "finish_reason": "error"}]


def test_what_was_written_loads_as_a_dataset(inside: Callable[..., int], tmp_path: Path) -> None:
    import datasets

    assert inside("./out") == 0
    loaded = datasets.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["number"][:] == list(range(10))


def test_second_run_writes_nothing(inside: Callable[..., int], hub: Hub, client: HfApi) -> None:
    assert inside(REPO) == 0
    before = commits(client)
    hub.clear_journal()
    assert inside(REPO) == 0
    assert commits(client) == before
    assert {request.method for request in hub.journal()} <= {"GET", "HEAD"}


@pytest.mark.parametrize("parts", [1, 4])
def test_killed_after_a_part(child: Child, client: HfApi, tmp_path: Path, parts: int) -> None:
    ended(child(REPO, "--die-after", str(parts)), -signal.SIGKILL)
    assert f"finished {list(range(parts))}" in ended(child(REPO))
    assert of_hub(client, tmp_path / "got") == expected()
    assert files(client) == WHOLE


@pytest.mark.parametrize("commit", [1, 3, 6, 7])
def test_killed_while_the_hub_commits(child: Child, hub: Hub, client: HfApi, tmp_path: Path, commit: int) -> None:
    with flaky(hub.endpoint) as proxy:
        process = child(REPO, HF_ENDPOINT=proxy.url)
        proxy.fail(process.kill, path="/commit/", method="POST", nth=commit)
        ended(process, -signal.SIGKILL)
    ended(child(REPO))
    assert of_hub(client, tmp_path / "got") == expected()
    assert files(client) == WHOLE
    assert (tmp_path / "got/README.md").read_text() == "10 rows in 4 parts, 1 failed\n"


@pytest.mark.parametrize(
    ("fault", "headers"), [(500, {}), (429, {"Retry-After": "1"}), ("reset", {}), ("lost", {}), (412, {}), (409, {})]
)
def test_every_write_fails_once(
    inside: Callable[..., int],
    hub: Hub,
    client: HfApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: str | int,
    headers: dict[str, str],
) -> None:
    with flaky(hub.endpoint) as proxy:
        for nth in range(1, 21, 2):
            pause = headers if nth == 1 else dict.fromkeys(headers, "0")
            proxy.fail(fault, path="/commit/", method="POST", nth=nth, headers=pause)
        if fault not in {409, 412}:
            proxy.fail(fault, path="/preupload/", method="POST", nth=2, headers=dict.fromkeys(headers, "0"))
            proxy.fail(fault, path="/repos/create", method="POST", headers=dict.fromkeys(headers, "0"))
        use_endpoint(proxy.url, monkeypatch)
        began = time.monotonic()
        assert inside(REPO, "--rows", "4", "--size", "2") == 0
        assert sum("/commit/" in path for _, path, _ in proxy.requests) >= 6
    assert time.monotonic() - began > float(headers.get("Retry-After", 0))
    assert of_hub(client, tmp_path / "got") == expected(4)
    titles = commits(client)
    assert len(titles) == len(set(titles)), "a commit was made twice"


def test_two_shards_at_once(child: Child, client: HfApi, tmp_path: Path) -> None:
    shards = [child(REPO, "--shard", f"{index}/2", "--source", f"{index}" * 40) for index in (1, 2)]
    said = "".join(ended(process) for process in shards)
    assert of_hub(client, tmp_path / "got") == expected()
    assert files(client) == WHOLE | {"stats/00001.json", "completions/00001"}
    sources = set(re.findall(r"source (\d+)", said))
    assert sources == {json.loads((tmp_path / "got/jobshelf.json").read_text())["source"]}, "both read the same commit"
    assert (tmp_path / "got/README.md").read_text() == "10 rows in 4 parts, 1 failed\n"


def test_a_run_of_shards_is_ended_with_fewer(inside: Callable[..., int], client: HfApi, tmp_path: Path) -> None:
    assert inside(REPO, "--shard", "2/3") == 0
    assert "README.md" not in files(client)
    assert inside(REPO) == 0
    assert of_hub(client, tmp_path / "got") == expected()


def test_parts_of_many_shards_go_through_the_bucket_in_one_commit(
    inside: Callable[..., int], client: HfApi, tmp_path: Path
) -> None:
    for index in range(1, 10):
        assert inside(REPO, "--rows", "20", "--size", "2", "--shard", f"{index}/9") == 0
    assert commits(client)[1:] == ["square.py: a run begins", "square.py: 10 parts collected", "Card"]
    assert of_hub(client, tmp_path / "got") == expected(20)
    assert (tmp_path / "got/README.md").read_text() == "20 rows in 10 parts, 2 failed\n"
    assert inside(REPO, "--rows", "20", "--size", "2", "--shard", "3/9") == 0
    assert len(commits(client)) == 4


def test_another_request_stops_and_overwrite_replaces(
    inside: Callable[..., int], client: HfApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inside(REPO) == 0
    assert inside(REPO, "--power", "3") == 4
    assert "power: 2 there, 3 asked" in capsys.readouterr().err
    assert inside(REPO, "--power", "3", "--rows", "4", "--overwrite") == 0
    assert [row["square"] for row in of_hub(client, tmp_path / "got")] == [0, 1, 8, 27]
    assert files(client) == WHOLE - {"data/train-000002.parquet", "data/train-000003.parquet"}


def test_foreign_files_are_refused(
    inside: Callable[..., int], client: HfApi, capsys: pytest.CaptureFixture[str]
) -> None:
    client.create_repo(REPO, repo_type="dataset", private=True)
    client.upload_file(path_or_fileobj=b"theirs", path_in_repo="theirs.txt", repo_id=REPO, repo_type="dataset")
    assert inside(REPO) == 4
    assert "theirs.txt" in capsys.readouterr().err
    assert files(client) == {"theirs.txt"}


def test_source_and_part_size_are_those_of_the_first_attempt(
    inside: Callable[..., int], client: HfApi, capsys: pytest.CaptureFixture[str]
) -> None:
    assert inside(REPO, "--shard", "1/2") == 0
    capsys.readouterr()
    assert inside(REPO, "--source", "2" * 40, "--size", "5", "--overwrite") == 0
    assert f"source {'1' * 40} finished [0, 2]" in capsys.readouterr().out
    assert files(client) >= WHOLE


def test_a_complete_run_is_done_again_for_a_new_source(inside: Callable[..., int], client: HfApi) -> None:
    assert inside(REPO) == 0
    before = len(commits(client))
    assert inside(REPO, "--source", "2" * 40) == 0
    assert len(commits(client)) == before
    assert inside(REPO, "--source", "2" * 40, "--overwrite") == 0
    assert len(commits(client)) > before


def test_a_damaged_part_is_done_again(inside: Callable[..., int], client: HfApi, tmp_path: Path) -> None:
    assert inside(REPO) == 0
    client.upload_file(
        path_or_fileobj=b"PAR1damaged\0PAR1",
        path_in_repo="data/train-000001.parquet",
        repo_id=REPO,
        repo_type="dataset",
    )
    assert inside(REPO) == 0
    assert of_hub(client, tmp_path / "got") == expected()


def test_parts_without_a_receipt_are_counted_from_themselves(
    inside: Callable[..., int], client: HfApi, tmp_path: Path
) -> None:
    assert inside(REPO) == 0
    client.delete_files(REPO, ["stats/*", "README.md"], repo_type="dataset")
    assert inside(REPO) == 0
    of_hub(client, tmp_path / "got")
    assert (tmp_path / "got/README.md").read_text() == "10 rows in 4 parts, 1 failed\n"


def test_no_rows_make_a_dataset_with_columns(inside: Callable[..., int], client: HfApi, tmp_path: Path) -> None:
    assert inside(REPO, "--rows", "0") == 0
    assert of_hub(client, tmp_path / "got") == []
    assert pq.read_schema(tmp_path / "got/data/train-000000.parquet").names[:1] == ["number"]


def test_sigterm_commits_what_is_finished(child: Child, client: HfApi) -> None:
    process = child(REPO, "--commit-every", "300", "--hang-after", "2")
    until(process, "hanging")
    assert not files(client) & PARTS
    process.terminate()
    process.send_signal(signal.SIGTERM)  # it comes twice: from `uv run`, and to the whole group
    ended(process, 128 + signal.SIGTERM)
    assert files(client) & PARTS == {"data/train-000000.parquet", "data/train-000001.parquet"}
    assert "finished [0, 1]" in ended(child(REPO))


def test_commits_while_the_work_goes_on(child: Child, client: HfApi) -> None:
    process = child(REPO, "--commit-every", "0.2", "--hang-after", "3")
    until(process, "hanging")
    deadline = time.monotonic() + 60
    while len(files(client) & PARTS) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    ended(process, -signal.SIGKILL)
    assert len(files(client) & PARTS) == 3


def test_refused_on_a_laptop_is_saved_and_pushed_by_the_printed_command(
    child: Child, hub: Hub, client: HfApi, tmp_path: Path, hub_environment: dict[str, str]
) -> None:
    hub.fail(path="/commit/", method="POST", status=403, nth=2)
    said = ended(child(REPO, "--commit-every", "300"), 6)
    command = re.search(r"Fix: (hf upload .*), or run", said)
    assert command, said
    subprocess.run([BIN / "hf", *shlex.split(command[1])[1:]], env=hub_environment, check=True, capture_output=True)
    assert "finished [0, 1, 2, 3]" in ended(child(REPO))
    assert of_hub(client, tmp_path / "got") == expected()


def test_what_was_saved_is_brought_along_by_the_next_run(
    inside: Callable[..., int], hub: Hub, client: HfApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fail(path="/commit/", method="POST", status=500, nth=2, times=5)
    assert inside(REPO, "--commit-every", "300") == 6
    assert inside(REPO) == 0
    assert "finished [0, 1, 2, 3]" in capsys.readouterr().out
    assert of_hub(client, tmp_path / "got") == expected()
    assert (tmp_path / "got/README.md").read_text() == "10 rows in 4 parts, 1 failed\n"


@pytest.mark.parametrize("volume", [True, False])
def test_refused_on_a_job_goes_to_the_volume_or_the_bucket(
    inside: Callable[..., int],
    hub: Hub,
    client: HfApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    volume: bool,
) -> None:
    monkeypatch.setenv("JOB_ID", "job")
    if volume:
        (tmp_path / "mount").mkdir()
        monkeypatch.setenv("JOBSHELF_VOLUME", str(tmp_path / "mount"))
    hub.fail(path="/commit/", method="POST", status=403, nth=2, times=1)
    assert inside(REPO, "--commit-every", "300") == 6
    place = str(tmp_path / "mount") if volume else "saved in hf://buckets/alice/squares-parts/"
    assert place in capsys.readouterr().err
    assert not files(client) & PARTS
    assert inside(REPO) == 0
    assert "finished [0, 1, 2, 3]" in capsys.readouterr().out
    assert of_hub(client, tmp_path / "got") == expected()


def test_a_job_that_can_save_nowhere_tries_until_its_deadline(
    inside: Callable[..., int],
    hub: Hub,
    client: HfApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JOB_ID", "job")
    monkeypatch.setenv("JOBSHELF_TIMEOUT", "2m")
    monkeypatch.setattr(dataset, "DATASET_MARGIN_S", 110.0)
    monkeypatch.setattr(dataset, "DATASET_RETRY_EVERY_S", 0.01)
    hub.fail(path="/api/buckets/", method="POST", status=403, times=9)
    hub.fail(path="/commit/", method="POST", status=403, nth=2, times=3)
    assert inside(REPO, "--commit-every", "300") == 0
    assert of_hub(client, tmp_path / "got") == expected()


def test_after_the_deadline_a_job_saves_on_its_own_disk(
    inside: Callable[..., int],
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("JOB_ID", "job")
    monkeypatch.setenv("JOBSHELF_TIMEOUT", "60")
    hub.fail(path="/api/buckets/", method="POST", status=403, times=9)
    hub.fail(path="/commit/", method="POST", status=403, nth=2, times=9)
    assert inside(REPO, "--commit-every", "300") == 6
    assert "hf upload alice/squares" in capsys.readouterr().err
    (saved,) = tmp_path.glob("alice--squares-not-pushed-*")
    assert rows(saved) == expected()


def test_nothing_takes_the_parts_but_they_are_not_removed(
    inside: Callable[..., int],
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    hub.fail(path="/commit/", method="POST", status=403, nth=2, times=9)
    monkeypatch.setattr(dataset.tempfile, "tempdir", str(tmp_path))
    for name in ("alice--squares-not-pushed-" + digest for digest in [_digest()]):
        (tmp_path / name).write_text("a file where the folder would be")
    assert inside(REPO, "--commit-every", "300") == 6
    folder = re.search(r"they are in (\S+parts-\w+)", capsys.readouterr().err)
    assert folder
    assert rows(Path(folder[1])) == expected()


def _digest() -> str:
    manifest = load("parts").RunManifest(
        script="square.py",
        request={"power": 2, "rows": 10, "result_version": 1},
        source="1" * 40,
        part_rows=3,
    )
    return dataset.hashlib.sha256(manifest.to_bytes()).hexdigest()[:8]


def test_commits_stay_under_the_limit_of_the_hub(
    inside: Callable[..., int], client: HfApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "DATASET_COMMITS_PER_HOUR", 8)
    assert inside(REPO, "--rows", "20", "--size", "1") == 0
    assert len(commits(client)[1:]) <= 8
    assert of_hub(client, tmp_path / "got") == expected(20)


def test_folder_output(inside: Callable[..., int], tmp_path: Path, hub: Hub) -> None:
    assert inside("./out") == 0
    assert rows(tmp_path / "out") == expected()
    names = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert names == WHOLE
    assert hub.journal() == ()
    before = {path: path.stat().st_size for path in (tmp_path / "out").rglob("*")}
    assert inside("./out") == 0
    assert {path: path.stat().st_size for path in (tmp_path / "out").rglob("*")} == before
    assert inside("./out", "--power", "3") == 4
    assert inside("./out", "--power", "3", "--rows", "3", "--overwrite") == 0
    assert [row["square"] for row in rows(tmp_path / "out")] == [0, 1, 8]


def test_folder_without_links(inside: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("a mounted bucket has no links")

    monkeypatch.setattr(os, "link", refuse)
    assert inside("./out") == 0
    assert rows(tmp_path / "out") == expected()


def test_folder_output_of_shards_killed_at_once(child: Child, tmp_path: Path) -> None:
    dead = [child("./out", "--shard", f"{index}/2", "--die-after", "1") for index in (1, 2)]
    for process in dead:
        ended(process, -signal.SIGKILL)
    assert len(rows(tmp_path / "out")) == 6
    for process in [child("./out", "--shard", f"{index}/2") for index in (1, 2)]:
        ended(process)
    assert rows(tmp_path / "out") == expected()
    assert (tmp_path / "out/README.md").read_text() == "10 rows in 4 parts, 1 failed\n"


def test_a_part_cut_short_on_disk_is_done_again(inside: Callable[..., int], tmp_path: Path) -> None:
    assert inside("./out") == 0
    part = tmp_path / "out/data/train-000001.parquet"
    part.write_bytes(part.read_bytes()[:-9])
    assert inside("./out") == 0
    assert rows(tmp_path / "out") == expected()


def test_memory_does_not_grow_with_the_rows(hub_environment: dict[str, str], tmp_path: Path) -> None:
    """40 MB of text a part; 3 parts and 12 parts must need the same memory."""

    def peak(count: int) -> int:
        words = [f"./out{count}", "--rows", str(count), "--size", "20", "--width", "200000"]
        process = subprocess.Popen(
            [sys.executable, str(CHILD), *words], env=hub_environment, cwd=tmp_path, stdout=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0
        return usage.ru_maxrss

    assert peak(240) < peak(60) * 1.25


DERIVED = {"data/odd-000000.parquet", "stats/derived.json"}


def odd_squares(folder: Path) -> list[int]:
    return pq.read_table(folder / "data/odd-000000.parquet").column("odd").to_pylist()


def test_what_is_derived_comes_with_the_card_and_only_once(child: Child, client: HfApi, tmp_path: Path) -> None:
    first = ended(child(REPO, "--derive"))
    assert "derived from 10" in first
    assert "result alice/squares 10 5" in first
    assert files(client) == WHOLE | DERIVED
    assert commits(client)[-2:] == ["square.py: done (shard 1/1)", "Card"]
    made = Path(
        client.hf_hub_download(REPO, "data/odd-000000.parquet", repo_type="dataset", local_dir=tmp_path / "got")
    )
    assert odd_squares(made.parents[1]) == [1, 9, 25, 49, 81]
    head = client.dataset_info(REPO).sha
    again = ended(child(REPO, "--derive"))
    assert "derived from" not in again
    assert "result alice/squares 10 5" in again
    assert client.dataset_info(REPO).sha == head


def test_shards_derive_once_from_all_parts(child: Child, tmp_path: Path) -> None:
    said = [ended(child("./out", "--derive", "--shard", f"{index}/3")) for index in (1, 2, 3)]
    assert ["derived from 10" in one for one in said] == [False, False, True]
    assert odd_squares(tmp_path / "out") == [1, 9, 25, 49, 81]


@pytest.mark.parametrize("harm", ["missing", "cut", "forgotten", "damaged", "part"])
def test_what_is_derived_is_made_again_where_it_does_not_fit(
    inside: Callable[..., int], tmp_path: Path, harm: str
) -> None:
    assert inside("./out", "--derive") == 0
    whole, made = tmp_path / "out", tmp_path / "out/data/odd-000000.parquet"
    before = {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}
    if harm == "missing":
        made.unlink()
    elif harm == "cut":
        made.write_bytes(b"x")
    elif harm == "forgotten":
        (whole / "stats/derived.json").unlink()
    elif harm == "damaged":
        (whole / "stats/derived.json").write_text('{"parts": {}, "files": []}')
    else:
        noted = json.loads((whole / "stats/derived.json").read_text())
        (whole / "stats/derived.json").write_text(json.dumps({**noted, "parts": ["0" * 64]}))
    assert inside("./out", "--derive") == 0
    assert {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("output", ["./out", REPO])
def test_overwriting_removes_what_was_derived(
    inside: Callable[..., int], client: HfApi, tmp_path: Path, output: str
) -> None:
    assert inside(output, "--derive") == 0
    assert inside(output, "--power", "3", "--overwrite") == 0
    folder = tmp_path / "out" if output == "./out" else Path(client.snapshot_download(REPO, repo_type="dataset"))
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert there - {".gitattributes"} == WHOLE


@pytest.mark.parametrize(("given", "seconds"), [("0", 0.0), ("300", 300.0), ("0.5", 0.5)])
def test_commit_every(given: str, seconds: float) -> None:
    assert dataset.parse_commit_every(given) == seconds


@pytest.mark.parametrize("given", ["", "-1", "nan", "5m", "1e9", "86401"])
def test_bad_commit_every(given: str) -> None:
    with pytest.raises(exits.Stop) as stop:
        dataset.parse_commit_every(given)
    assert stop.value.code == 2


@pytest.mark.parametrize(
    ("given", "seconds"), [("", 1800), ("300", 300), ("90m", 5400), ("1.5h", 5400), ("1d", 86400), ("soon", 1800)]
)
def test_timeout_of_the_job(monkeypatch: pytest.MonkeyPatch, given: str, seconds: float) -> None:
    monkeypatch.setenv("JOBSHELF_TIMEOUT", given)
    assert dataset._dataset_job_timeout() == seconds


def test_rows_that_do_not_fit_the_columns(
    inside: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_child, "square", lambda *_: {"number": "one"})
    assert inside("./out") == 4
    assert not (tmp_path / "out/data").exists()
