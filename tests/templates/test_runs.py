"""One rendering of each kind, its function written in a few lines, runs from a file and from its URL; see what it keeps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import TOKEN
from templates.conftest import ROWS, jsonl, put, rows_in
from templates.written import PROCESS, replaced

LENGTHS = [0, 2, 4, 6, 8]
LOAD_MODEL = """
def load_model(name: str, options: str) -> Any:
    return Model()
"""
MODEL = """
class Model:
    def chat(self, chats, sampling, **_):
        from types import SimpleNamespace as Of

        if any("3" in chat[0]["content"] for chat in chats):
            raise ValueError("too long")
        texts = [f"{chat[0]['content']}! {one['seed']}" for chat, one in zip(chats, sampling)]
        return [Of(outputs=[Of(text=text, finish_reason="stop")]) for text in texts]


"""


def without_vllm(text: str) -> str:
    """Return the inference script with a model of a few lines in the place of vLLM's gigabytes."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith('#     "vllm')]
    text = "".join(lines).replace("    from vllm import SamplingParams\n", "    SamplingParams = dict\n")
    return replaced(text, LOAD_MODEL).replace("@cache\n", MODEL + "@cache\n")


def test_a_utility_prints_json_and_writes_nothing(script, here, tmp_path):
    facts = json.loads(here(script(kind="utility"), "rows.jsonl").stdout)
    assert (facts["rows_read"], facts["characters"]) == (5, 20)
    assert {path.name for path in tmp_path.iterdir()} >= {"rows.jsonl"} and not (tmp_path / "out").exists()


def test_rows_from_a_file_into_a_folder_without_a_token(script, here, tmp_path):
    text = script(kind="dataset")
    assert "5 rows of rows.jsonl" in here(text, "rows.jsonl", "./out", "--part-rows", "2", "--dry-run").stdout
    assert not (tmp_path / "out").exists()
    here(text, "rows.jsonl", "./out", "--part-rows", "2")
    names = [path.relative_to(tmp_path / "out").as_posix() for path in sorted((tmp_path / "out").rglob("*.*"))]
    parts = [f"data/train-{start:08d}.parquet" for start in (0, 2, 4)]
    assert names == ["README.md", *parts, "run.json"]
    rows = rows_in(tmp_path / "out")
    assert rows["characters"].to_list() == LENGTHS and rows["text"].to_list() == [row["text"] for row in ROWS]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "5 rows of `rows.jsonl`" in card and "with characters added by `count-things.py`" in card
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    here(text, "rows.jsonl", "./out", "--part-rows", "2")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_answers_into_a_folder_and_a_prompt_that_the_model_refuses(script, here, tmp_path):
    text = without_vllm(script(kind="inference"))
    here(text, "rows.jsonl", "./out", "--model", "m", "--part-rows", "3", "--seed", "7")
    rows = rows_in(tmp_path / "out")
    said = [f"Please answer: row {number}! {7 + number}" for number in range(5)]
    assert rows["response"].to_list() == [*said[:3], "", said[4]]
    assert rows["finish_reason"].to_list() == ["stop", "stop", "stop", "refused: too long", "stop"]
    done = here(text, "rows.jsonl", "./other", "--model", "m", "--prompt-column", "question", code=4)
    assert done.stderr == "error: rows.jsonl has no column question. Fix: choose from prompt, text\n"


def test_files_from_a_model_into_a_folder(script, here, tmp_path):
    here(script(kind="artifact"), "./model", "./out")
    assert (tmp_path / "out" / "sizes.txt").read_text() == "{'config.json': 2}"
    assert "sizes.txt: made from `./model`" in (tmp_path / "out" / "README.md").read_text()


def test_rows_from_the_hub_to_the_hub_by_url(script, by_url, client):
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS)})
    text = script(kind="dataset")
    by_url(text, "alice/rows", "alice/result", "--dry-run")
    assert not client.repo_exists("alice/result", repo_type="dataset")
    by_url(text, "alice/rows", "alice/result")
    folder = Path(client.snapshot_download("alice/result", repo_type="dataset"))
    assert rows_in(folder)["characters"].to_list() == LENGTHS
    head = client.dataset_info("alice/result").sha
    by_url(text, "alice/rows", "alice/result")
    assert client.dataset_info("alice/result").sha == head
    assert "--secrets HF_TOKEN" in by_url(text, "alice/rows", "alice/result", code=3, HF_TOKEN="").stderr


@pytest.mark.parametrize(("persistence", "kind"), [("hub-model", "model"), ("hub-file", "dataset")])
def test_files_from_a_model_of_the_hub_to_the_hub(script, by_url, client, persistence, kind):
    put(client, "alice/model", {"config.json": b"{}", "weights.bin": b"12345"}, "model")
    text = script(kind="artifact", persistence=persistence)
    by_url(text, "alice/model", "alice/result")
    folder = Path(client.snapshot_download("alice/result", repo_type=kind))
    assert "'config.json': 2" in (folder / "sizes.txt").read_text()
    head = client.repo_info("alice/result", repo_type=kind).sha
    by_url(text, "alice/model", "alice/result")
    assert client.repo_info("alice/result", repo_type=kind).sha == head
    assert "the Hub answered 404 for alice/missing" in by_url(text, "alice/missing", "alice/new", code=4).stderr


@pytest.mark.parametrize(("kind", "repo"), [("dataset", "dataset"), ("artifact", "model")])
def test_a_webhook_starts_it_only_for_its_input(script, here, client, hub_environment, tmp_path, kind, repo):
    put(client, "alice/input", {"train.jsonl": jsonl(ROWS)}, repo)
    text = script(kind=kind, trigger="webhook")
    event = {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": {
            "type": repo,
            "name": "alice/input",
            "id": "1",
            "private": False,
            "owner": {"id": "1"},
            "url": {"web": "", "api": ""},
        },
        "webhook": {"id": "1", "version": 3},
    }
    other = event | {"repo": event["repo"] | {"name": "alice/others"}}
    given = {"HF_ENDPOINT": hub_environment["HF_ENDPOINT"], "HF_TOKEN": TOKEN}
    done = here(text, "alice/input", "./out", WEBHOOK_PAYLOAD=json.dumps(other), **given)
    assert done.stdout == "the event is not about the content of alice/input: nothing to do\n"
    here(text, "alice/input", "./out", WEBHOOK_PAYLOAD=json.dumps(event), **given)
    assert "alice/input" in (tmp_path / "out" / "README.md").read_text()


def test_a_part_that_was_lost_is_computed_again_and_no_other(script, here, tmp_path):
    counted = PROCESS.replace("    if not", '    print("did", row["prompt"])\n    if not')
    text = replaced(script(kind="dataset"), counted)
    here(text, "rows.jsonl", "./out", "--part-rows", "2")
    (tmp_path / "out" / "data" / "train-00000002.parquet").unlink()
    (tmp_path / "out" / "README.md").unlink()
    again = here(text, "rows.jsonl", "./out", "--part-rows", "2")
    assert [line for line in again.stdout.splitlines() if line.startswith("did")] == ["did row 2", "did row 3"]
    assert rows_in(tmp_path / "out")["characters"].to_list() == LENGTHS
