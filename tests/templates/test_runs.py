"""One rendering of each kind, its function written in five lines, runs from its URL and its result is persisted."""

from __future__ import annotations

import ast
import json
import subprocess
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import polars as pl
import pytest

from jobshelf.testing import vet_text
from jobshelf.vet import Profile
from support import BIN, TOKEN

ROWS = [{"prompt": f"row {number}", "text": "ab" * number} for number in range(5)]
MESSAGES = [
    {"messages": [{"role": "user", "content": f"{n}?"}, {"role": "assistant", "content": "!"}]} for n in range(5)
]
HEAVY = ("datasets", "peft", "torch", "trackio", "transformers", "trl", "vllm")

LOOK_INTO = """
def look_into(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    return {"characters": sum(len(row["text"]) for row in rows)}
"""
PROCESS = """
def process(row: Mapping[str, Any]) -> str | None:
    if not row["text"]:
        raise ValueError("no text")
    return row["text"].upper()
"""
CONVERSATION = """
def conversation(row: Mapping[str, Any], args: argparse.Namespace) -> list[dict[str, str]]:
    return [{"role": "user", "content": row[args.prompt_column]}]
"""
LOAD_MODEL = """
def load_model(args: argparse.Namespace) -> LLM:
    return args.model
"""
ASK = """
def ask(model: LLM, chats: list[list[dict[str, str]]], args: argparse.Namespace) -> list[tuple[str, str]]:
    if any("3" in chat[0]["content"] for chat in chats):
        raise ValueError("too long")
    return [(f"{model} says {chat[0]['content']}", "stop") for chat in chats]
"""
PREPARE = """
def prepare(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"messages": row["messages"]}
"""
TRAIN = """
def train(
    examples: Sequence[Mapping[str, Any]],
    folder: Path,
    checkpoint: Path | None,
    args: argparse.Namespace,
    saved: Callable[[Path], object],
) -> Path:
    for path in (folder / "checkpoint-1" / "trainer_state.json", folder / "model" / "adapter_model.safetensors"):
        path.parent.mkdir()
        path.write_text(f"{len(examples)} examples, checkpoint: {bool(checkpoint)}")
    saved(folder / "checkpoint-1")
    return folder / "model"
"""
MAKE = """
def make(model: Path, output: Path, args: argparse.Namespace) -> None:
    size = sum(path.stat().st_size for path in model.rglob("*") if path.is_file())
    (output / "size.txt").write_text(f"{size}\\n", encoding="utf-8")
"""


def written(text: str, *functions: str) -> str:
    """Return the script with these functions in the place of those of the same name."""
    for source in functions:
        name = ast.parse(source).body[0].name
        node = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == name)
        lines = text.splitlines(keepends=True)
        lines[node.lineno - 1 : node.end_lineno] = [source.strip() + "\n"]
        text = "".join(lines)
    return text


def light(text: str) -> str:
    """Return the script without the gigabytes that its functions, as the tests write them, do not use."""
    lines = [
        line for line in text.splitlines(keepends=True) if not line.startswith(tuple(f'#     "{x}' for x in HEAVY))
    ]
    text = "".join(lines)
    for packages in ('("trl", "transformers", "peft", "torch")', '("vllm", "transformers", "polars")'):
        text = text.replace(packages, '("huggingface-hub",)')
    return text


def put(client, repo: str, files: Mapping[str, bytes], repo_type: str) -> None:
    client.create_repo(repo, repo_type=repo_type, exist_ok=True)
    for name, data in files.items():
        client.upload_file(path_or_fileobj=data, path_in_repo=name, repo_id=repo, repo_type=repo_type)


def jsonl(rows) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def run(client, hub_environment):
    """`run(text, *arguments) -> facts`: publish the script, run it from its URL, return the JSON that it prints."""

    def start(text: str, *arguments: str, code: int = 0, **environment: str):
        put(client, "alice/scripts", {"my-script.py": text.encode()}, "dataset")
        url = f"{client.endpoint}/datasets/alice/scripts/resolve/main/my-script.py"
        command = [BIN / "uv", "run", "--no-project", url, *arguments, "--json"]
        done = subprocess.run(command, env=hub_environment | environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == code, done.stdout + done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return json.loads(done.stdout) if code == 0 and done.stdout else done.stderr

    return start


@pytest.fixture
def script(render):
    def make(**answers) -> str:
        return (render(extras=[], **answers) / "my-script.py").read_text(encoding="utf-8")

    return make


class Receiver:
    """A web server that takes what is sent to it: (headers, body) of each request."""

    def __init__(self) -> None:
        self.taken: list[tuple[Mapping[str, str], bytes]] = []
        taken = self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                taken.append((self.headers, self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/results"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def parquet_of(client, repo: str) -> pl.DataFrame:
    names = [name for name in client.list_repo_files(repo, repo_type="dataset") if name.endswith(".parquet")]
    paths = [client.hf_hub_download(repo, name, repo_type="dataset", force_download=True) for name in sorted(names)]
    return pl.concat([pl.read_parquet(path) for path in paths])


def test_utility(script, run, client, tmp_path):
    text = written(script(kind="utility"), LOOK_INTO)
    assert vet_text(text, path="my-script.py", profile=Profile.STRICT).findings == ()
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS)}, "dataset")
    facts = run(text, "alice/rows")
    assert (facts["rows_read"], facts["characters"]) == (5, 20)
    assert run(text, "alice/rows", "--dry-run")["rows_to_read"] == 100


def test_dataset(script, run, client):
    text = written(script(kind="dataset"), PROCESS)
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS)}, "dataset")
    assert run(text, "alice/rows", "alice/result", "--dry-run")["columns"][-3:] == ["result", "error", "finish_reason"]
    assert not client.repo_exists("alice/result", repo_type="dataset")
    assert run(text, "alice/rows", "alice/result")["rows"] == 5
    table = parquet_of(client, "alice/result")
    assert table["result"].to_list() == [None, "AB", "ABAB", "ABABAB", "ABABABAB"]
    assert table["error"].to_list() == ["no text", None, None, None, None]
    card = client.hf_hub_download("alice/result", "README.md", repo_type="dataset")
    assert "5 rows" in Path(card).read_text() and "1 of which keep an error" in Path(card).read_text()
    assert run(text, "alice/rows", "alice/result")["rows"] == 5
    assert "needed to write" in run(text, "alice/rows", "alice/result", code=3, HF_TOKEN="")


def test_dataset_goes_on_after_it_was_killed(script, run, client):
    dies = PROCESS.replace("    return", '    if row["text"] == "ab" * 4:\n        os._exit(9)\n    return')
    text = script(kind="dataset").replace("PART_ROWS = 1000", "PART_ROWS = 2")
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS)}, "dataset")
    run(written(text, dies), "alice/rows", "alice/result", "--commit-every", "0", code=9)
    assert parquet_of(client, "alice/result").height == 4
    assert run(written(text, PROCESS), "alice/rows", "alice/result")["rows"] == 5
    assert parquet_of(client, "alice/result")["text"].to_list() == [row["text"] for row in ROWS]


def test_dataset_in_a_bucket(script, run, client):
    text = written(script(kind="dataset", persistence="bucket"), PROCESS)
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS)}, "dataset")
    facts = run(text, "alice/rows", "hf://buckets/alice/results/made")
    names = sorted(
        item.path for item in client.list_bucket_tree("alice/results", recursive=True) if item.type == "file"
    )
    where = facts["output"].removeprefix("hf://buckets/alice/results/")
    assert names == [f"{where}/data/train-000000.parquet", f"{where}/jobshelf.json"]
    assert run(text, "alice/rows", "hf://buckets/alice/results/made")["output"] == facts["output"]


def test_dataset_started_by_a_webhook(script, run, client):
    text = written(script(kind="dataset", trigger="webhook"), PROCESS)
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS)}, "dataset")
    head = client.dataset_info("alice/rows").sha
    moved = {"ref": "refs/heads/main", "oldSha": None, "newSha": head}
    event = {
        "event": {"action": "update", "scope": "repo.content"},
        "repo": {"type": "dataset", "name": "alice/rows", "private": False, "headSha": head},
        "updatedRefs": [moved],
    }
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS[:1])}, "dataset")
    assert run(text, "alice/rows", "alice/result", WEBHOOK_PAYLOAD=json.dumps(event))["rows"] == 5
    event["repo"]["name"] = "alice/others"
    run(text, "alice/rows", "alice/nothing", WEBHOOK_PAYLOAD=json.dumps(event))
    assert not client.repo_exists("alice/nothing", repo_type="dataset")


def test_inference(script, run, client):
    text = light(written(script(kind="inference"), CONVERSATION, LOAD_MODEL, ASK))
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS)}, "dataset")
    assert run(text, "alice/rows", "alice/result", "--model", "m")["rows"] == 5
    table = parquet_of(client, "alice/result")
    assert table["answer"].to_list() == ["m says row 0", "m says row 1", "m says row 2", None, "m says row 4"]
    assert table["finish_reason"].to_list() == ["stop", "stop", "stop", "error", "stop"]


def test_training(script, run, client):
    text = light(written(script(kind="training"), PREPARE, TRAIN))
    put(client, "alice/rows", {"train.jsonl": jsonl(MESSAGES)}, "dataset")
    facts = run(text, "alice/rows", "alice/model", "--model", "org/base")
    assert (facts["status"], facts["examples"]) == ("written", 5)
    files = client.list_repo_files("alice/model")
    assert {"adapter_model.safetensors", "last-checkpoint/trainer_state.json", "README.md"} <= set(files)
    assert run(text, "alice/rows", "alice/model", "--model", "org/base")["status"] == "already there"
    put(client, "alice/rows", {"train.jsonl": jsonl(ROWS)}, "dataset")
    wrong = written(text, PREPARE.replace('{"messages": row["messages"]}', "dict(row)"))
    said = run(wrong, "alice/rows", "alice/other", "--model", "org/base", code=4)
    assert "prepare()" in said


def test_training_goes_on_from_its_checkpoint(script, run, client):
    dies = TRAIN.replace('    return folder / "model"', "    os._exit(9)")
    text = light(written(script(kind="training"), PREPARE))
    put(client, "alice/rows", {"train.jsonl": jsonl(MESSAGES)}, "dataset")
    run(written(text, dies), "alice/rows", "alice/model", "--model", "org/base", code=9)
    assert "adapter_model.safetensors" not in client.list_repo_files("alice/model")
    run(written(text, TRAIN), "alice/rows", "alice/model", "--model", "org/base")
    model = client.hf_hub_download("alice/model", "adapter_model.safetensors")
    assert Path(model).read_text() == "5 examples, checkpoint: True"


@pytest.mark.parametrize(("persistence", "repo_type"), [("hub-model", "model"), ("hub-file", "dataset")])
def test_artifact(script, run, client, persistence, repo_type):
    text = written(script(kind="artifact", persistence=persistence), MAKE)
    put(client, "alice/model", {"config.json": b"{}", "weights.bin": b"12345"}, "model")
    size = sum(item.size for item in client.list_repo_tree("alice/model"))
    facts = run(text, "alice/model", "alice/result")
    assert (facts["status"], facts["files"]) == ("written", ["size.txt"])
    result = client.hf_hub_download("alice/result", "size.txt", repo_type=repo_type)
    assert int(Path(result).read_text()) >= size
    assert run(text, "alice/model", "alice/result")["status"] == "already there"
    assert "no model alice/missing" in run(text, "alice/missing", "alice/result", code=4)


def test_artifact_sent_over_http(script, run, client, receiver):
    text = written(script(kind="artifact", persistence="http"), MAKE)
    put(client, "alice/model", {"config.json": b"{}"}, "model")
    facts = run(text, "alice/model", receiver.url, HF_TOKEN="")
    assert facts["files"] == ["size.txt"]
    [(headers, body)] = receiver.taken
    assert headers["X-File-Name"].endswith("/size.txt") and int(body) > 0
