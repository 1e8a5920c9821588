"""The trainers before anything heavy is imported: what they refuse, with which code, and what they say to do instead."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, constants

from catalog.conftest import CATALOG, jsonl
from jobshelf.hub import Hub
from jobshelf.rehearse.tiny_model import tiny_model
from support import READ_TOKEN, TOKEN

METHODS = ("sft", "dpo", "reward", "grpo")
CHATS = [{"messages": [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]}] * 20
PAIRS = [{"prompt": "Why?", "chosen": "Because.", "rejected": "No."}] * 20
ANSWERED = [{"prompt": "2 + 2?", "answer": "4"}] * 20
ROWS = {"sft": CHATS, "dpo": PAIRS, "reward": PAIRS, "grpo": ANSWERED}
MODEL = "alice/tiny"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended: exit code, and what it said on stderr."""

    code: int
    said: str
    printed: str


Train = Callable[..., Ended]


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, CATALOG / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=METHODS)
def method(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def module(method: str) -> Iterator[ModuleType]:
    """The script as a module: it is large, and compiling it takes longer than most of what is tested here."""
    yield load(f"train_{method}")
    del sys.modules[f"train_{method}"]


@pytest.fixture
def train(
    module: ModuleType,
    hub: Hub,
    client: HfApi,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> Train:
    """`train("alice/rows", "alice/out", "--model", ...)` as the writer; `token=None` is somebody without one."""
    url = hub.endpoint
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(module, "RETRY_FIRST_PAUSE_S", 0.001)
    monkeypatch.chdir(tmp_path)
    push(client, MODEL, tiny_model(), "model")

    def run(*words: str, token: str | None = TOKEN) -> Ended:
        monkeypatch.setenv("HF_TOKEN", token or "")
        try:
            code = module.main([*words, "--model", MODEL] if "--model" not in words else list(words))
        except SystemExit as stop:
            code = int(stop.code)
        found = capsys.readouterr()
        return Ended(code=code, said=found.err, printed=found.out)

    return run


def push(client: HfApi, repo_id: str, files: dict[str, bytes], kind: str = "dataset") -> None:
    client.create_repo(repo_id, repo_type=kind, exist_ok=True)
    operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
    client.create_commit(repo_id, operations, commit_message="files", repo_type=kind)


def rows(client: HfApi, values: list[dict[str, Any]], repo_id: str = "alice/rows") -> str:
    push(client, repo_id, {"train.jsonl": jsonl(values)})
    return repo_id


def test_missing_columns(train: Train, client: HfApi) -> None:
    ended = train(rows(client, [{"number_of_row": n, "nothing": "of use"} for n in range(20)]), "alice/out")
    assert ended.code == 4
    assert "is not what" in ended.said
    assert "Fix:" in ended.said


def test_columns_under_other_names(train: Train, client: HfApi, method: str) -> None:
    told = {
        "sft": ({"question": "q", "answer": "a"}, "--map question=prompt answer=completion"),
        "dpo": ({"question": "q", "chosen": "a", "rejected": "b"}, "--map question=prompt"),
        "reward": ({"query": "q", "better": "a", "worse": "b"}, "--map query=prompt better=chosen worse=rejected"),
        "grpo": ({"question": "q", "answer": "a"}, "--map question=prompt"),
    }
    row, advice = told[method]
    ended = train(rows(client, [row] * 20), "alice/out")
    assert ended.code == 4
    assert advice in ended.said


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "has no rows"), (b"[1, 2]", "is not what"), (b'{"messages": "a"', "is not readable")],
)
def test_rows_that_are_none(train: Train, client: HfApi, content: bytes, said: str) -> None:
    push(client, "alice/broken", {"train.jsonl": content})
    ended = train("alice/broken", "alice/out")
    assert (ended.code, said in ended.said) == (4, True), ended.said


def test_nobody_and_a_reader_may_not_write(train: Train, client: HfApi, method: str) -> None:
    data = rows(client, ROWS[method])
    for token in (None, READ_TOKEN):
        ended = train(data, "alice/out", token=token)
        assert ended.code == 3
        assert "token" in ended.said
    assert not client.repo_exists("alice/out")


def test_an_output_that_holds_something_else(train: Train, client: HfApi, method: str, tmp_path: Path) -> None:
    push(client, "alice/taken", {"model.safetensors": b"theirs"}, "model")
    ended = train(rows(client, ROWS[method]), "alice/taken")
    assert ended.code == 4
    assert "--overwrite" in ended.said
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("years of work")
    ended = train("alice/rows", "./out")
    assert ended.code == 4
    assert "thesis.tex" in ended.said


def test_where_an_interrupted_training_goes_on(
    train: Train, module: ModuleType, method: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (tmp_path / "rows.jsonl").write_bytes(jsonl(ROWS[method]))

    def opened(*words: str) -> Any:
        argv = ["./rows.jsonl", "./out", "--model", MODEL, *words]
        args = module.parse_words(argv) if method == "grpo" else module.parse_training(module.build_parser(), argv)
        return module.open_training(args, module.SCRIPT_NAME, extra=module.OWN_OPTIONS, version=module.RESULT_VERSION)

    first = opened()
    assert first.resume is None
    checkpoint = tmp_path / "out" / "checkpoints" / "checkpoint-3"
    checkpoint.mkdir(parents=True)
    facts = {"script": first.run.script, "request": first.run.request, "source": first.run.source}
    module.seal_checkpoint(
        checkpoint, facts | {"dataset_commit": None, "model_commit": None, "run_name": "n", "recipe": {}}
    )
    assert opened().resume.step == 3
    assert opened("--overwrite").resume.step == 3  # every attempt of a Job passes it
    assert opened("--overwrite", "--seed", "7").resume is None
    with pytest.raises(module.Stop, match="holds what is not of this run"):
        opened("--seed", "7")
    (tmp_path / "rows.jsonl").write_bytes(jsonl(ROWS[method] * 2))
    with pytest.raises(module.Stop, match=r"rows\.jsonl is not what .*out was begun with.*--overwrite") as stopped:
        opened()
    assert stopped.value.code == 4
    assert opened("--overwrite").resume is None


def test_what_is_no_input_or_no_model(train: Train, client: HfApi, method: str) -> None:
    data = rows(client, ROWS[method])
    for words, code, said in (
        (("alice/nothing", "alice/out"), 4, "there is no dataset alice/nothing"),
        ((data, "alice/out", "--split", "dev"), 4, "has no split 'dev'"),
        ((data, "alice/out", "--model", "alice/nothing"), 4, "alice/nothing"),
        ((data, "alice/out", "--model-revision", "v9"), 4, "has no revision 'v9'"),
        ((data, "alice/out", "--no-such-option"), 2, "unrecognized arguments"),
        ((data, "alice/out", "--max_seq_length", "512"), 2, "--max-length"),
        ((data, "out"), 2, "./out"),
        ((data, "alice/out", "--num-processes", "0"), 2, "from 1 on"),
    ):
        ended = train(*words)
        assert (ended.code, said in ended.said) == (code, True), (words, ended.said)
    assert not client.repo_exists("alice/out")


def test_models_that_cannot_be_trained_here(train: Train, client: HfApi, method: str) -> None:
    files = dict(tiny_model())
    config = json.loads(files["config.json"]) | {
        "architectures": ["LlavaForConditionalGeneration"],
        "vision_config": {},
    }
    push(client, "alice/sees", files | {"config.json": json.dumps(config).encode()}, "model")
    ended = train(rows(client, ROWS[method]), "alice/out", "--model", "alice/sees")
    assert ended.code == 4
    assert "vision-language model" in ended.said
    adapter = {"adapter_config.json": b'{"base_model_name_or_path": "alice/other"}', "adapter_model.safetensors": b"x"}
    push(client, "alice/adapter", adapter, "model")
    assert train("alice/rows", "alice/out", "--model", "alice/adapter").code == 4
    ended = train("alice/rows", "./new", "--adapter", "alice/adapter")
    assert ended.code == 4
    assert "is an adapter for alice/other, not for alice/tiny" in ended.said


def test_4_bits_without_their_package(train: Train, client: HfApi, method: str) -> None:
    ended = train(rows(client, ROWS[method]), "alice/out", "--load-in-4bit")
    assert ended.code == 5
    assert "--with bitsandbytes" in ended.said


def test_a_hub_that_is_away_at_the_start(train: Train, client: HfApi, hub: Hub, method: str) -> None:
    data = rows(client, ROWS[method])
    hub.fail(path="", kind="status", status=503, times=1_000_000)
    ended = train(data, "alice/out")
    hub.clear_faults()
    assert ended.code == 5
    assert "503" in ended.said


def test_options_that_would_do_nothing(train: Train, client: HfApi, method: str) -> None:
    if method == "sft":
        ended = train(rows(client, CHATS), "alice/out", "--completion-only-loss")
        assert ended.code == 2
        assert "--assistant-only-loss" in ended.said


def test_those_that_learn_from_examples_are_parallel() -> None:
    """What is not the method's own is the same text in all of them."""
    texts = [(CATALOG / f"train_{name}.py").read_text() for name in METHODS if name != "grpo"]
    for function in ("main", "work"):
        bodies = {text.partition(f"def {function}(")[2].partition("\n\n\n")[0] for text in texts}
        bodies = {body.replace("    refuse_silent_options(args, rows)\n", "") for body in bodies}
        assert len(bodies) == 1, function
