"""What scripts from the templates say when something is wrong: one line, the exit code, and a next step that works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from support import TOKEN
from templates.conftest import jsonl, put, rows_in
from templates.written import replaced

TWICE = '''
def process(row: dict[str, Any]) -> dict[str, Any]:
    """Return twice the length of the text."""
    return {"characters": 2 * len(row["text"])}
'''
PARTS = ("--part-rows", "2")


def told(done: subprocess.CompletedProcess[str]) -> str:
    """Return what stderr says besides the progress of `datasets`: one line."""
    (line,) = (line for line in done.stderr.splitlines() if line and not line.startswith("Generating "))
    assert line.startswith("error: ") and ". Fix: " in line
    return line


def result(client, place: str, tmp_path: Path) -> tuple[list[int], str]:
    """Return the column `characters` and the card of what is at a place."""
    if place.startswith("./"):
        folder = tmp_path / place
    elif place.startswith("hf://"):
        folder = tmp_path / "downloaded"
        for item in client.list_bucket_tree("alice/bucket", recursive=True):
            if item.type == "file":
                path = folder / item.path.removeprefix("out/")
                path.parent.mkdir(parents=True, exist_ok=True)
                client.download_bucket_files("alice/bucket", [(item.path, path)])
    else:
        folder = Path(client.snapshot_download(place, repo_type="dataset"))
    return rows_in(folder)["characters"].to_list(), (folder / "README.md").read_text()


@pytest.mark.parametrize("place", ["./out", "alice/out", "hf://buckets/alice/bucket/out"])
def test_an_edited_script_never_keeps_old_rows_silently(script, here, client, hub_environment, tmp_path, place):
    hub = {name: hub_environment[name] for name in ("HF_ENDPOINT", "HF_TOKEN")}
    text = script(kind="dataset")
    edited = replaced(text, TWICE)
    here(text, "rows.jsonl", place, *PARTS, **hub)
    line = told(here(edited, "rows.jsonl", place, *PARTS, code=4, **hub))
    assert f"{place} holds another run (script differ)" in line and "--keep" in line and "--overwrite" in line
    assert result(client, place, tmp_path)[0] == [0, 2, 4, 6, 8]

    here(edited, "rows.jsonl", place, *PARTS, "--keep", **hub)
    rows, card = result(client, place, tmp_path)
    assert rows == [0, 2, 4, 6, 8]
    first, second = re.findall(r'"script": "([0-9a-f]{64})"', card)
    assert first != second and '"kept"' in card

    here(edited, "rows.jsonl", place, *PARTS, "--overwrite", **hub)
    rows, card = result(client, place, tmp_path)
    assert rows == [0, 4, 8, 12, 16]
    assert len(re.findall(r'"script"', card)) == 1
    told(here(text, "rows.jsonl", place, *PARTS, code=4, **hub))


def test_a_changed_comment_is_the_same_run(script, here, tmp_path):
    text = script(kind="dataset")
    here(text, "rows.jsonl", "./out")
    before = (tmp_path / "out" / "run.json").read_bytes()
    here(text.replace("def process(", "# Counts.\ndef process("), "rows.jsonl", "./out")
    assert (tmp_path / "out" / "run.json").read_bytes() == before


def test_files_that_the_hub_refuses_for_good_are_pushed_with_the_card_by_the_printed_command(
    script, here, hub, client, hub_environment
):
    text = script(kind="artifact")
    given = {name: hub_environment[name] for name in ("HF_ENDPOINT", "HF_TOKEN")}
    hub.fail(path="/commit/main$", method="POST", status=403, nth=2, times=99)
    line = told(here(text, "./model", "alice/out", code=6, **given))
    assert "alice/out refused the files now in " in line
    assert client.list_repo_files("alice/out") == [".gitattributes", "run.json"]
    command = line.partition(". Fix: ")[2]
    hub.clear_faults()
    done = subprocess.run(shlex.split(command), env=hub_environment, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    assert client.list_repo_files("alice/out") == [".gitattributes", "README.md", "run.json", "sizes.txt"]
    head = client.model_info("alice/out").sha
    here(text, "./model", "alice/out", **given)
    assert client.model_info("alice/out").sha == head


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 7", "process() returned 7 for row 0 ("),
        ("return None", "process() returned None for row 0 ("),
        ('return {"characters": 1} if row["text"] == "" else {"letters": 1}', "returned {'letters': 1} for row 1 ("),
        ('return {"characters": 1, "words": 2}', "process() returned {'characters': 1, 'words': 2} for row 0 ("),
        ('return {"characters": "many"}', "process() returned {'characters': 'many'} for row 0 ("),
        ('return {"characters": 1 // len(row["text"])}', "process() failed for row 0 (ZeroDivisionError("),
        ('return {"characters": row["body"]}', "process() failed for row 0 (KeyError('body'))"),
    ],
)
def test_a_wrong_process_is_named_with_the_row_what_it_returned_and_what_is_expected(script, here, body, said):
    text = replaced(script(kind="dataset"), f"def process(row: dict[str, Any]) -> dict[str, Any]:\n    {body}\n")
    line = told(here(text, "rows.jsonl", "./out", code=1))
    assert said in line and "expected {'characters': 'int64'}" in line
    assert "rows.jsonl" not in line


@pytest.mark.parametrize(
    ("kind", "words", "code", "said"),
    [
        ("dataset", ["rows.jsonl", "./out", "--max-samples", "0"], 2, "--max-samples are at least 1"),
        ("dataset", ["rows.jsonl", "./out", "--max-samples", "-1"], 2, "--max-samples are at least 1"),
        ("dataset", ["rows.jsonl", "./out", "--part-rows", "0"], 2, "--part-rows and --max-samples are at least 1"),
        ("dataset", ["rows.jsonl", "./out", "--commit-every", "-1"], 2, "--commit-every is at least 0"),
        ("dataset", ["rows.jsonl", "./out", "--commit-every", "nan"], 2, "invalid int value: 'nan'"),
        ("dataset", ["rows.jsonl", "./out", "--commit-every", "x"], 2, "invalid int value: 'x'"),
        ("dataset", ["rows.jsonl", "rows.jsonl"], 2, "INPUT lies in OUTPUT"),
        ("dataset", ["rows.jsonl", "."], 2, "INPUT lies in OUTPUT"),
        ("dataset", ["alice/rows", "alice/rows"], 2, "INPUT lies in OUTPUT"),
        ("dataset", ["empty.jsonl", "./out"], 4, "cannot read empty.jsonl"),
        ("dataset", ["header.csv", "./out"], 4, "cannot read header.csv"),
        ("dataset", ["missing.jsonl", "./out"], 4, "missing.jsonl"),
        ("dataset", ["taken.jsonl", "./out"], 4, "taken.jsonl has a column characters already"),
        ("dataset", ["rows.jsonl", "./model"], 4, "./model holds files of another origin"),
        ("dataset", ["rows.jsonl", "header.csv"], 4, "header.csv"),
        ("dataset", ["rows.jsonl", "/proc/out"], 5, "No such file or directory: '/proc/out'"),
        ("dataset", ["rows.jsonl", "./header.csv/out"], 5, "header.csv/out'"),
        ("utility", ["rows.jsonl", "--max-samples", "0"], 2, "--max-samples is at least 1"),
        ("utility", ["empty.jsonl"], 4, "cannot read empty.jsonl"),
        ("artifact", ["./missing", "./out"], 4, "./missing is neither a local folder nor a Hub model"),
        ("artifact", ["./model", "./model"], 2, "INPUT lies in OUTPUT"),
        ("artifact", ["./model", "/proc/out"], 5, "No such file or directory: '/proc/out'"),
    ],
)
def test_what_cannot_be_is_one_line_and_the_right_code(
    script, here, hub_environment, tmp_path, kind, words, code, said
):
    (tmp_path / "empty.jsonl").touch()
    (tmp_path / "header.csv").write_text("prompt,text\n")
    (tmp_path / "taken.jsonl").write_text('{"text": "ab", "characters": 7}\n')
    hub = {} if code in {2, 5} else {"HF_ENDPOINT": hub_environment["HF_ENDPOINT"], "HF_TOKEN": TOKEN}
    done = here(script(kind=kind), *words, code=code, **hub)
    if code == 2:
        usage, _, line = done.stderr.strip().rpartition("\n")
        assert usage.startswith("usage: ") and said in line
    else:
        assert said in told(done)
    assert (tmp_path / "rows.jsonl").is_file() and (tmp_path / "model" / "config.json").is_file()


def test_two_processes_with_one_output_both_end_well(script, environment, tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(jsonl({"text": "a" * number} for number in range(200)))
    (tmp_path / "count-things.py").write_text(script(kind="dataset"))
    argv = [sys.executable, "count-things.py", "rows.jsonl", "./out", *PARTS]
    both = [subprocess.Popen(argv, cwd=tmp_path, env=environment, stdout=-1, stderr=-2, text=True) for _ in range(2)]
    said = [process.communicate(timeout=100)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert rows_in(tmp_path / "out")["characters"].to_list() == list(range(200))
    assert not list((tmp_path / "out").rglob("*.part"))


def test_another_run_in_the_place_between_is_not_mixed_in(script, here, client, hub_environment):
    put(client, "alice/out", {"run.json": b'{"script": "of somebody"}'})
    hub = {name: hub_environment[name] for name in ("HF_ENDPOINT", "HF_TOKEN")}
    line = told(here(script(kind="dataset"), "rows.jsonl", "alice/out", code=4, **hub))
    assert "alice/out holds another run" in line


def test_an_answer_about_the_output_that_breaks_off_is_asked_for_again(script, here, hub, client, hub_environment):
    hub.fail(path="^/api/datasets/alice/out$", method="GET", kind="truncate", nth=1, times=1)
    given = {name: hub_environment[name] for name in ("HF_ENDPOINT", "HF_TOKEN")}
    here(script(kind="dataset"), "rows.jsonl", "alice/out", **given)
    assert "README.md" in client.list_repo_files("alice/out", repo_type="dataset")
