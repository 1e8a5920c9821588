"""estimate_cost.py as a user meets it: models with real safetensors headers on the embedded Hub, and everything bad."""

from __future__ import annotations

import gzip
import json
import math
import re
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import polars as pl
import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from catalog.conftest import CATALOG, Publish, Script, jsonl, module
from conftest import READ_TOKEN, TOKEN
from jobshelf.hub import Hub
from jobshelf.rehearse.tiny_model import tiny_model

NAME = "estimate_cost.py"
LLAMA = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}
QWEN = {
    "model_type": "qwen2",
    "hidden_size": 896,
    "intermediate_size": 4864,
    "num_hidden_layers": 24,
    "num_attention_heads": 14,
    "num_key_value_heads": 2,
    "vocab_size": 151936,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": True,
}
CHATS = [
    {"messages": [{"role": "user", "content": "2 + 2 = ?" * n}, {"role": "assistant", "content": "4 " * n}]}
    for n in range(1, 41)
]
PAIRS = [{"prompt": "Why?", "chosen": "Because of the wind.", "rejected": "No."}] * 40

Estimate = Callable[..., subprocess.CompletedProcess[str]]
PublishModel = Callable[..., str]


def shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a model with this config, as its files name them."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    values = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config["vocab_size"], hidden)}
    for layer in range(config["num_hidden_layers"]):
        inside = f"model.layers.{layer}"
        sizes = {"q": hidden, "k": values, "v": values}
        found |= {f"{inside}.self_attn.{name}_proj.weight": (size, hidden) for name, size in sizes.items()}
        if config["model_type"] == "qwen2":
            found |= {f"{inside}.self_attn.{name}_proj.bias": (size,) for name, size in sizes.items()}
        found[f"{inside}.self_attn.o_proj.weight"] = (hidden, hidden)
        found |= {f"{inside}.mlp.{name}_proj.weight": (inner, hidden) for name in ("gate", "up")}
        found[f"{inside}.mlp.down_proj.weight"] = (hidden, inner)
        found |= {f"{inside}.{name}_layernorm.weight": (hidden,) for name in ("input", "post_attention")}
    found["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (config["vocab_size"], hidden)
    return found


def header(tensors: Mapping[str, tuple[int, ...]], dtype: str = "BF16") -> bytes:
    """Return the beginning of a safetensors file, which is all that may be read of it: length, then JSON."""
    offset, entries = 0, {}
    for name, shape in tensors.items():
        size = 2 * math.prod(shape)
        entries[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text


def model_files(config: Mapping[str, Any], *, shards: int = 1) -> dict[str, bytes]:
    """Return the files of a model without its numbers."""
    tensors = shapes(config)
    files = {"config.json": json.dumps(config).encode()}
    if shards == 1:
        return files | {"model.safetensors": header(tensors)}
    names = list(tensors)
    where = {name: f"model-{1 + place % shards:05}-of-{shards:05}.safetensors" for place, name in enumerate(names)}
    for shard in sorted(set(where.values())):
        files[shard] = header({name: tensors[name] for name in names if where[name] == shard})
    index = {"metadata": {}, "weight_map": where}
    return files | {"model.safetensors.index.json": json.dumps(index).encode()}


@pytest.fixture
def publish_model(client: HfApi) -> PublishModel:
    """`publish_model("alice/m", {"config.json": b"..."})`: one commit with these files; returns its sha."""

    def push(repo_id: str, files: Mapping[str, bytes], *, private: bool = False) -> str:
        client.create_repo(repo_id, private=private, exist_ok=True)
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
        return str(client.create_commit(repo_id, operations, commit_message="model").oid)

    return push


@pytest.fixture
def anonymous(environment: dict[str, str], hub: Hub) -> dict[str, str]:
    return environment | {"HF_ENDPOINT": hub.endpoint}


@pytest.fixture
def estimate(main: Script, anonymous: dict[str, str]) -> Estimate:
    """`estimate("--model", ...)`: the script's main() against the embedded Hub, without a token."""
    return lambda *words: main(NAME, *words, env=anonymous)


@pytest.fixture
def process(script: Script, anonymous: dict[str, str]) -> Estimate:
    """`process("--model", ..., env=...)`: the same in a process of its own, for rows of the Hub and for tokens."""
    return lambda *words, env=None: script(NAME, *words, env=env or anonymous)


@pytest.fixture
def chats(publish: Publish) -> str:
    publish("alice/chats", {"train.jsonl": jsonl(CHATS)})
    return "alice/chats"


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """Return the JSON object that is all of stdout."""
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))


def failure(done: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the one line that a failed run ends with."""
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert " Fix: " in last
    return last


SIZES = ("--dataset-size", "16000", "--tokens-per-row", "400")


# --- without a Hub ---


def test_help_names_what_it_does(script: Script) -> None:
    done = script(NAME, "--help")
    assert done.returncode == 0
    assert "Estimate a Job's time, cost and memory" in done.stdout


def test_starts_without_heavy_imports(environment: dict[str, str]) -> None:
    argv = [sys.executable, "-X", "importtime", CATALOG / NAME, "--help"]
    log = subprocess.run(argv, env=environment, capture_output=True, text=True).stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in log.splitlines()}
    assert not imported & {"datasets", "fsspec", "huggingface_hub", "tokenizers", "httpx2", "tenacity"}


def test_no_network_uses_the_dated_prices_for_a_size(script: Script, environment: dict[str, str]) -> None:
    done = script(NAME, "--model", "8B", *SIZES, "--json", env=environment | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    found = report(done)
    assert found["prices"] == {"origin": "list of 2026-11-20", "live": False}
    assert found["model"]["parameters"] == 8_000_000_000
    assert "using the one of 2026-11-20" in done.stderr


def test_no_network_and_a_hub_model_is_exit_5(script: Script, environment: dict[str, str]) -> None:
    done = script(NAME, "--model", "alice/m", *SIZES, env=environment | {"HF_HUB_OFFLINE": "1"})
    assert "offline mode is enabled" in failure(done, 5)


USAGE: dict[str, tuple[str, ...]] = {
    "no model": ("--dataset", "alice/d"),
    "no dataset": ("--model", "8B"),
    "size of nothing": ("--model", "8B", "--dataset-size", "0", "--tokens-per-row", "4"),
    "negative size": ("--model", "8B", "--dataset-size", "-5", "--tokens-per-row", "4"),
    "size in words": ("--model", "8B", "--dataset-size", "many", "--tokens-per-row", "4"),
    "no epochs": ("--model", "8B", *SIZES, "--epochs", "0"),
    "negative epochs": ("--model", "8B", *SIZES, "--epochs=-3"),
    "absurd epochs": ("--model", "8B", *SIZES, "--epochs", "1e9"),
    "epochs of no number": ("--model", "8B", *SIZES, "--epochs", "nan"),
    "endless epochs": ("--model", "8B", *SIZES, "--epochs", "inf"),
    "unknown method": ("--model", "8B", *SIZES, "--method", "magic"),
    "rank of nothing": ("--model", "8B", *SIZES, "--lora-r", "0"),
}


@pytest.mark.parametrize("name", USAGE)
def test_usage_errors_are_exit_2(main: Script, name: str) -> None:
    done = main(NAME, *USAGE[name])
    assert (done.returncode, done.stdout) == (2, "")
    assert "estimate_cost.py: error: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("model", ["", "llama", "./folder", "a/b/c", "8X", "-1B", "user/na me", "https://x.y/z"])
def test_what_cannot_be_a_model_is_exit_2(estimate: Estimate, model: str) -> None:
    assert "user/name" in failure(estimate(f"--model={model}", *SIZES), 2)


# --- parameters ---


@pytest.mark.parametrize(("config", "published"), [(LLAMA, 8_030_261_248), (QWEN, 494_032_768)])
@pytest.mark.parametrize("shards", [1, 4])
def test_parameters_are_those_of_the_headers(
    estimate: Estimate, publish_model: PublishModel, hub: Hub, config: dict[str, Any], published: int, shards: int
) -> None:
    files = model_files(config, shards=shards)
    commit = publish_model("alice/m", files)
    hub.clear_journal()
    model = report(estimate("--model", "alice/m", *SIZES, "--json"))["model"]
    assert (model["parameters"], model["commit"], model["weight_bytes"]) == (published, commit, 2)
    assert model["origin"].startswith("exact: headers")
    assert sum(request.bytes_out for request in hub.journal()) < 400_000


def test_only_the_beginning_of_the_weights_is_read(estimate: Estimate, publish_model: PublishModel, hub: Hub) -> None:
    publish_model("alice/m", {"model.safetensors": header({"w": (1000, 10_000)}) + bytes(20_000_000)})
    hub.clear_journal()
    assert report(estimate("--model", "alice/m", *SIZES, "--json"))["model"]["parameters"] == 10_000_000
    assert sum(request.bytes_out for request in hub.journal()) < 200_000


def test_a_tied_head_that_is_stored_counts_once(estimate: Estimate, publish_model: PublishModel) -> None:
    tensors = shapes(QWEN) | {"lm_head.weight": (151936, 896)}
    publish_model("alice/m", {"config.json": json.dumps(QWEN).encode(), "model.safetensors": header(tensors)})
    assert report(estimate("--model", "alice/m", *SIZES, "--json"))["model"]["parameters"] == 494_032_768


def test_full_tuning_is_in_float32_unless_asked(estimate: Estimate, publish_model: PublishModel) -> None:
    files = {"config.json": json.dumps(QWEN).encode(), "model.safetensors": header(shapes(QWEN))}
    publish_model("alice/m", files)
    for words, each in (((), 4), (("--dtype", "bfloat16"), 2)):
        found = report(estimate("--model", "alice/m", *SIZES, "--tuning", "full", "--json", *words))
        memory = found["flavors"][0]["memory_gb"]
        held = round(each * 0.494032768, 2)
        assert (memory["weights"], memory["gradients"]) == (held, held)
        assert memory["optimizer"] == pytest.approx(2 * each * 0.494032768, abs=0.01)
        assert found["model"]["weight_bytes"] == 2


def test_pickled_weights_are_counted_from_the_config(estimate: Estimate, publish_model: PublishModel) -> None:
    publish_model("alice/m", {"config.json": json.dumps(LLAMA).encode(), "pytorch_model.bin": b"pickle"})
    model = report(estimate("--model", "alice/m", *SIZES, "--json"))["model"]
    assert model["parameters"] == pytest.approx(8_030_261_248, rel=1e-3)
    assert model["origin"] == "from config.json"


def test_quantized_weights_are_counted_from_the_config(estimate: Estimate, publish_model: PublishModel) -> None:
    config = json.dumps(LLAMA | {"quantization_config": {"bits": 4}}).encode()
    publish_model("alice/m", {"config.json": config, "model.safetensors": header({"q": (100, 100)}, "I32")})
    found = report(estimate("--model", "alice/m", *SIZES, "--json"))
    assert found["model"]["parameters"] == pytest.approx(8_030_261_248, rel=1e-3)
    assert any("quantized" in text for text in found["assumptions"])


def test_gated_model_is_exit_3_and_names_the_way_without_it(
    estimate: Estimate, publish_model: PublishModel, hub: Hub
) -> None:
    publish_model("alice/gated", model_files(LLAMA))
    hub.fail(path="/resolve/", status=403, times=100, headers={"X-Error-Code": "GatedRepo"})
    line = failure(estimate("--model", "alice/gated", *SIZES), 3)
    assert "it is gated" in line
    assert line.endswith("or give the size: --model 8B")


BAD_MODELS: dict[str, tuple[dict[str, bytes], str]] = {
    "GGUF only": ({"m-q4.gguf": b"GGUF"}, "holds no model"),
    "adapters only": (
        {"adapter_config.json": b"{}", "adapter_model.safetensors": header({"a": (2, 2)})},
        "holds no model",
    ),
    "nothing": ({"README.md": b"# hi"}, "holds no model"),
    "config that is not JSON": ({"config.json": b"{"}, "describes no model: Expecting"),
    "config that is a list": ({"config.json": b"[]"}, "describes no model"),
    "config that says nothing": ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "it has no hidden_size"),
    "config of nonsense": (
        {"config.json": json.dumps(LLAMA | {"vocab_size": "many"}).encode()},
        "vocab_size is 'many'",
    ),
    "header cut off": ({"model.safetensors": b"\x05\x00"}, "no readable header"),
    "header too long": ({"model.safetensors": b"\xff" * 64}, "no readable header"),
    "header that is not JSON": ({"model.safetensors": struct.pack("<Q", 4) + b"{{{{"}, "no readable header"),
    "header without tensors": ({"model.safetensors": header({})}, "lists no tensor"),
    "header of nonsense": ({"model.safetensors": struct.pack("<Q", 9) + b'{"a": 12}'}, "no readable header"),
    "index without its files": ({"model.safetensors.index.json": b'{"weight_map": {"a": "b.safetensors"}}'}, ""),
    "index that is not JSON": ({"model.safetensors.index.json": b"{"}, "no readable header"),
}


@pytest.mark.parametrize("name", BAD_MODELS)
def test_what_is_no_model_is_exit_4(estimate: Estimate, publish_model: PublishModel, name: str) -> None:
    files, said = BAD_MODELS[name]
    publish_model("alice/m", files)
    assert said in failure(estimate("--model", "alice/m", *SIZES), 4)


def test_missing_and_private_models(
    estimate: Estimate, process: Estimate, publish_model: PublishModel, anonymous: dict[str, str]
) -> None:
    assert "the Hub shows no model alice/nothing" in failure(estimate("--model", "alice/nothing", *SIZES), 4)
    publish_model("alice/secret", model_files(QWEN), private=True)
    assert "hf auth login" in failure(estimate("--model", "alice/secret", *SIZES), 4)
    seen = process("--model", "alice/secret", *SIZES, "--json", env=anonymous | {"HF_TOKEN": TOKEN})
    assert report(seen)["model"]["parameters"] == 494_032_768
    stranger = process("--model", "alice/secret", *SIZES, env=anonymous | {"HF_TOKEN": READ_TOKEN})
    failure(stranger, 4)
    assert all(token not in run.stdout + run.stderr for run in (seen, stranger) for token in (TOKEN, READ_TOKEN))


def test_invalid_token_is_exit_3(process: Estimate, anonymous: dict[str, str]) -> None:
    done = process("--model", "alice/m", *SIZES, env=anonymous | {"HF_TOKEN": "hf_wrongwrongwrong"})
    assert "hf_wrong" not in failure(done, 3)


# --- data ---


def test_seed_command_line(process: Estimate, publish_model: PublishModel, chats: str) -> None:
    publish_model("alice/m", model_files(QWEN))
    words = ("--model", "alice/m", "--dataset", chats, "--hardware", "a10g-large")
    done = process(*words, "--dataset-size", "16000", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    assert "alice/chats@" in done.stdout
    assert "16,000 rows" in done.stdout
    assert "A10G-LARGE (1x A10G 24 GB, $1.50/h)" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("Start it with: --flavor a10g-large --timeout ")
    assert "ASSUMPTIONS" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_tokens_are_those_of_the_models_tokenizer(estimate: Estimate, publish_model: PublishModel) -> None:
    from tokenizers import Tokenizer

    files = tiny_model()
    publish_model("alice/m", files)
    write("chats", {"train.jsonl": jsonl(CHATS)})
    data = report(estimate("--model", "alice/m", "--dataset", "./chats", "--epochs", "2", "--json"))["data"]
    tokenizer = Tokenizer.from_str(files["tokenizer.json"].decode())
    lengths = [
        sum(4 + len(tokenizer.encode(turn["content"], add_special_tokens=False).ids) for turn in row["messages"])
        for row in CHATS
    ]
    assert (data["rows"], data["rows_origin"], data["epochs"]) == (40, "counted", 2)
    assert data["tokens_a_row"] == pytest.approx(sum(lengths) / 40, abs=0.1)
    assert data["tokens"]["likely"] == pytest.approx(2 * sum(lengths), abs=1)
    assert data["tokens_origin"] == "the model's tokenizer on 40 rows"
    assert data["longest"] == 64 * math.ceil(max(lengths) / 64)


def write(folder: str, files: Mapping[str, bytes]) -> None:
    """Write a dataset into a folder of the working directory."""
    Path(folder).mkdir(exist_ok=True)
    for name, data in files.items():
        (Path(folder) / name).write_bytes(data)


def data_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    return report(done)["data"]


def test_without_a_tokenizer_characters_count_and_the_range_is_wider(main: Script) -> None:
    write("chats", {"train.jsonl": jsonl(CHATS)})
    found = data_of(main(NAME, "--model", "8B", "--dataset", "./chats", "--json"))
    assert found["tokens_origin"] == "4 characters a token on 40 rows"
    assert found["tokens"]["high"] > 1.3 * found["tokens"]["likely"]


def test_pairs_count_twice_and_prompts_alone(main: Script) -> None:
    write("pairs", {"train.jsonl": jsonl(PAIRS)})

    def tokens(*words: str) -> float:
        return data_of(main(NAME, "--model", "8B", "--dataset", "./pairs", "--json", *words))["tokens_a_row"]

    assert tokens("--method", "dpo") == 2 * 1 + 5 + 1
    assert tokens("--method", "reward") == 2 * 1 + 5 + 1
    assert tokens("--method", "grpo") == 1
    assert tokens("--job", "generate") == 1


def test_rows_of_many_parquet_files(process: Estimate, publish: Publish, tmp_path: Path) -> None:
    files = {}
    for number in range(6):
        pl.DataFrame({"text": ["word " * 40] * (100 + number)}).write_parquet(tmp_path / "p.parquet")
        files[f"data/train-{number:05}-of-00006.parquet"] = (tmp_path / "p.parquet").read_bytes()
    publish("alice/many", files)
    data = data_of(process("--model", "8B", "--dataset", "alice/many", "--json"))
    assert (data["rows"], data["rows_origin"]) == (615, "counted")


LONG = jsonl([{"text": f"{n:06} " + "word " * 100} for n in range(5000)])


@pytest.mark.parametrize(
    ("name", "data", "error"), [("d.jsonl", LONG, 0.02), ("d.jsonl.gz", gzip.compress(LONG), 0.99)]
)
def test_rows_of_a_long_text_file_follow_from_its_size(main: Script, name: str, data: bytes, error: float) -> None:
    Path(name).write_bytes(data)
    found = data_of(main(NAME, "--model", "8B", "--dataset", name, "--json"))
    assert found["rows"] == pytest.approx(5000, rel=error)
    assert found["rows_origin"] == "about: from the sizes of the files"
    assert found["tokens_a_row"] == pytest.approx(127)


def test_a_name_with_brackets_is_that_very_file(main: Script) -> None:
    Path("part [1].jsonl").write_bytes(jsonl([{"text": "one"}] * 3))
    Path("part 1.jsonl").write_bytes(jsonl([{"text": "one"}] * 5))
    assert data_of(main(NAME, "--model", "8B", "--dataset", "part [1].jsonl", "--json"))["rows"] == 3


TABLES = {
    "d.tsv": "prompt\tcompletion\na, b\tc\nd\te, f, g\n",
    "tabs.csv": "prompt\tcompletion\na, b\tc\nd\te, f, g\n",
    "semicolons.csv": "prompt;completion\na, b;c\nd;e, f, g\n",
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_read_with_their_own_separator(main: Script, name: str) -> None:
    Path(name).write_text(TABLES[name])
    found = data_of(main(NAME, "--model", "8B", "--dataset", name, "--json"))
    assert (found["rows"], found["tokens_a_row"]) == (2, 2.5)


BAD_DATA: dict[str, tuple[dict[str, bytes], tuple[str, ...], str]] = {
    "empty": ({"train.jsonl": b""}, (), "has no rows"),
    "no data files": ({"README.md": b"# hi"}, (), "data files"),
    "not JSON": ({"train.jsonl": b"{\n"}, (), "train.jsonl is not readable jsonl"),
    "no text": ({"train.jsonl": jsonl([{"label": 1}])}, (), "hold no text"),
    "empty text": ({"train.jsonl": jsonl([{"text": ""}])}, (), "hold no text"),
    "another split": ({"train.jsonl": jsonl([{"text": "a"}])}, ("--split", "test"), "has no split 'test'"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_exit_4(main: Script, name: str) -> None:
    files, words, said = BAD_DATA[name]
    write("d", files)
    assert said in failure(main(NAME, "--model", "8B", "--dataset", "./d", *words), 4)


def test_missing_and_private_datasets(
    main: Script, process: Estimate, publish: Publish, anonymous: dict[str, str]
) -> None:
    missing = main(NAME, "--model", "8B", "--dataset", "alice/nothing", env=anonymous)
    assert "the Hub shows no dataset alice/nothing" in failure(missing, 4)
    publish("alice/d", {"train.jsonl": jsonl(CHATS)}, private=True)
    assert "hf auth login" in failure(main(NAME, "--model", "8B", "--dataset", "alice/d", env=anonymous), 4)
    seen = process("--model", "8B", "--dataset", "alice/d", "--json", env=anonymous | {"HF_TOKEN": TOKEN})
    assert report(seen)["data"]["rows"] == 40


def test_broken_tokenizer_is_exit_4(estimate: Estimate, publish_model: PublishModel) -> None:
    publish_model("alice/m", model_files(QWEN) | {"tokenizer.json": b"{}"})
    write("chats", {"train.jsonl": jsonl(CHATS)})
    assert "--tokens-per-row" in failure(estimate("--model", "alice/m", "--dataset", "./chats"), 4)


def test_the_longest_sequence_stays_within_the_context(estimate: Estimate, publish_model: PublishModel) -> None:
    publish_model("alice/m", model_files(QWEN))
    words = ("--model", "alice/m", "--dataset-size", "10", "--tokens-per-row", "90000", "--json")
    assert report(estimate(*words))["data"]["longest"] == 32768
    assert report(estimate(*words, "--max-length", "2048"))["data"]["longest"] == 2048


# --- prices and flavors ---


def test_prices_are_the_hubs(estimate: Estimate) -> None:
    found = report(estimate("--model", "8B", *SIZES, "--json"))
    assert found["prices"] == {"origin": "the Hub's list of now", "live": True}
    assert len(found["flavors"]) == 26


@pytest.mark.parametrize("status", [401, 404, 500])
def test_a_hub_without_price_list_is_a_note(estimate: Estimate, hub: Hub, status: int) -> None:
    hub.fail(method="GET", path="/api/jobs/hardware", status=status)
    done = estimate("--model", "8B", *SIZES, "--json")
    assert report(done)["prices"]["live"] is False
    assert re.search(rf"gives no price list \(.*{status}.*\); using the one of 2026-11-20", done.stderr)


ENTRY = {"name": "l4x1", "prettyName": "", "cpu": "", "ram": "", "unitCostMicroUSD": 1, "unitLabel": "minute"}


@pytest.mark.parametrize(
    "body",
    [
        b"<html>",
        b"[{}]",
        b"{}",
        b"[]",
        b"\xff",
        *(json.dumps([ENTRY | {"unitCostUSD": usd}]).encode() for usd in (-1, "x")),
    ],
)
def test_a_price_list_of_nonsense_is_a_note(script: Script, environment: dict[str, str], body: bytes) -> None:
    class Nonsense(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Nonsense) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        done = script(NAME, "--model", "8B", *SIZES, "--json", env=environment | {"HF_ENDPOINT": endpoint})
        server.shutdown()
    assert report(done)["prices"]["live"] is False
    assert "using the one of 2026-11-20" in done.stderr


def test_a_price_of_now_replaces_the_dated_one(script: Script, environment: dict[str, str]) -> None:
    body = json.dumps([ENTRY | {"unitCostUSD": 0.02}]).encode()

    class Dearer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Dearer) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        done = script(NAME, "--model", "8B", *SIZES, "--json", env=environment | {"HF_ENDPOINT": endpoint})
        server.shutdown()
    assert [(one["name"], one["usd_per_hour"]) for one in report(done)["flavors"]] == [("l4x1", 1.2)]


@pytest.mark.parametrize(
    ("asked", "nearest", "why"),
    [
        ("h100", "h200", "no H100"),
        ("h100x8", "h200x8", "no H100"),
        ("H100_SXM", "h200", "no H100"),
        ("v5e-1x1", "l4x1", "no TPU"),
        ("v5e-2x2", "a100-large", "no TPU"),
        ("v5e-2x4", "h200", "no TPU"),
        ("zero-a10g", "a10g-small", "ZeroGPU is for Spaces"),
        ("t4", "t4-small", "alike"),
        ("A100", "a100-large", "alike"),
        ("a10g_large", "a10g-large", "in lower case, with dashes"),
        ("a10g-lage", "a10g-large", "alike"),
        ("", "cpu-basic", "cheapest"),
        ("\U0001f4a5", "cpu-basic", "cheapest"),
    ],
)
def test_a_flavor_that_is_none_is_exit_2_with_the_nearest(
    estimate: Estimate, asked: str, nearest: str, why: str
) -> None:
    line = failure(estimate("--model", "8B", *SIZES, "--hardware", asked), 2)
    assert line.endswith(f"Fix: --hardware {nearest}")
    assert why in line


def test_what_does_not_fit_is_said(estimate: Estimate) -> None:
    done = estimate("--model", "8B", *SIZES, "--tuning", "full", "--hardware", "t4-small")
    assert done.returncode == 0
    assert "DOES NOT FIT: " in done.stdout
    found = report(estimate("--model", "8B", *SIZES, "--tuning", "full", "--hardware", "t4-small", "--json"))
    assert (found["asked"]["fits"], found["asked"]["usd"], found["asked"]["timeout"]) == (False, None, None)
    assert found["best"] == found["flavors"][0]["name"] != "t4-small"
    nothing = estimate("--model", "405B", *SIZES, "--tuning", "full")
    assert nothing.stdout.rstrip().splitlines()[-1] == "No flavor does this in 3 days. Try --tuning lora, or --fsdp."


def test_ranges_are_in_order_and_timeouts_have_their_buffer(estimate: Estimate) -> None:
    for words in ((), ("--job", "generate"), ("--job", "convert"), ("--method", "grpo")):
        found = report(estimate("--model", "8B", *SIZES, *words, "--json"))
        for one in (one for one in found["flavors"] if one["fits"]):
            for span in (one["seconds"], one["usd"]):
                assert 0 < span["low"] <= span["likely"] <= span["high"]
            number, unit = int(one["timeout"][:-1]), one["timeout"][-1]
            assert number * {"m": 60, "h": 3600}[unit] >= max(600, 1.3 * one["seconds"]["high"])


def test_json_is_all_of_stdout_and_complete(estimate: Estimate) -> None:
    found = report(estimate("--model", "8B", *SIZES, "--hardware", "l4x1", "--json"))
    assert list(found) == [
        *("version", "job", "method", "tuning", "model", "data", "prices", "asked", "best", "flavors", "assumptions")
    ]
    assert list(found["asked"]) == [
        *("name", "accelerator", "usd_per_hour", "fits", "recommended", "reason", "batch", "memory_gb", "usable_gb"),
        *("seconds", "usd", "timeout"),
    ]
    assert report(estimate("--model", "8B", "--job", "convert", "--json"))["data"] is None


def test_server_errors_are_tried_again(estimate: Estimate, publish_model: PublishModel, hub: Hub) -> None:
    publish_model("alice/m", model_files(QWEN))
    hub.fail(method="GET", path="^/api/models/alice/m", status=503, times=1)
    done = estimate("--model", "alice/m", *SIZES, "--json")
    assert report(done)["model"]["parameters"] == 494_032_768


# --- the arithmetic, by hand ---

EXPERTS = {"moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "head_dim": 128}
MOE = LLAMA | {
    "model_type": "qwen3_moe",
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_hidden_layers": 48,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": 151936,
    **EXPERTS,
}
# What their config.json files say, and the number of parameters that the Hub shows for their safetensors files.
PUBLISHED = {
    "meta-llama/Llama-3.1-8B": (LLAMA, 8_030_261_248),
    "Qwen/Qwen2.5-0.5B": (QWEN, 494_032_768),
    "Qwen/Qwen3-30B-A3B": (MOE, 30_532_122_624),
    "google/gemma-2-2b": (
        {
            "model_type": "gemma2",
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "num_hidden_layers": 26,
            "num_attention_heads": 8,
            "num_key_value_heads": 4,
            "vocab_size": 256000,
            "head_dim": 256,
        },
        2_614_341_888,
    ),
    "mistralai/Mixtral-8x7B-v0.1": (
        LLAMA | {"vocab_size": 32000, "num_local_experts": 8, "num_experts_per_tok": 2},
        46_702_792_704,
    ),
}
script_module = module(NAME)
FLAVORS = {name: script_module.Flavor(name, *cells) for name, cells in script_module.FLAVORS.items()}
LLAMA_8B = 8_030_261_248


def job(*words: str, config: Mapping[str, Any] = LLAMA, parameters: int = LLAMA_8B) -> Any:
    """Return the job of a command line with a model of this config: by default 16,000 rows of 400 tokens, three epochs."""
    args = script_module.parse_arguments(["--model", "m", *SIZES, "--max-length", "1024", *words])
    model = script_module.Model("m", parameters, script_module.read_shape(config), "")
    return script_module.Job(args, model) if args.job == "convert" else script_module.measure_data(args, model)


def memory(flavor: str, *words: str, batch: int = 1, **model: Any) -> dict[str, float]:
    return script_module.training_memory(FLAVORS[flavor], job(*words, **model), batch)


def on(flavor: str, *words: str, **model: Any) -> Any:
    return script_module.estimate_on(FLAVORS[flavor], job(*words, **model))


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts_are_met(name: str) -> None:
    config, published = PUBLISHED[name]
    shape = script_module.read_shape(config)
    assert shape.count(shape.experts) == pytest.approx(published, rel=1e-3)


def test_active_parameters() -> None:
    # 30,532,122,624 less 120 of 128 experts of 3 x 2048 x 768 in each of 48 layers.
    active = job(config=MOE, parameters=30_532_122_624).model.active
    assert active == pytest.approx(30_532_122_624 - 48 * 120 * 3 * 2048 * 768, rel=5e-3)
    assert job().model.active == LLAMA_8B


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
@pytest.mark.parametrize("value", [None, "many", 1.5, -1, True, 10**12])
def test_a_config_that_does_not_say_it_names_the_key(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        script_module.read_shape(LLAMA | {key: value})


def test_full_tuning_takes_16_bytes_a_parameter() -> None:
    """TRL loads the weights in float32; gradients and both moments have their type (measured: bench/calibrate_cost.py)."""
    found = memory("h200", "--tuning", "full")
    assert found["weights"] + found["gradients"] + found["optimizer"] == 16 * LLAMA_8B
    halved = memory("h200", "--tuning", "full", "--dtype", "bfloat16")
    assert halved["weights"] + halved["gradients"] + halved["optimizer"] == 8 * LLAMA_8B
    # The job that the trainer of this shelf needs 123 GB for: 7.6 billion parameters.
    seven = memory("h200", "--tuning", "full", parameters=7_615_616_512)
    assert sum(seven.values()) == pytest.approx(123e9, rel=0.02)


def test_adapters_are_float32_on_frozen_16_bit_weights() -> None:
    # What PEFT prints for rank 16 on all linear layers of Llama-3.1-8B: trainable params: 41,943,040.
    found = memory("h200")
    assert found["gradients"] == 4 * 41_943_040
    assert found["optimizer"] == 8 * 41_943_040
    assert found["weights"] == 2 * LLAMA_8B + 4 * 41_943_040
    assert memory("cpu-performance")["weights"] == 4 * LLAMA_8B + 4 * 41_943_040
    assert memory("h200", "--dtype", "float32")["weights"] == 4 * LLAMA_8B + 4 * 41_943_040
    words = 2 * 128256 * 4096
    nf4 = memory("h200", "--tuning", "qlora")["weights"]
    assert nf4 == pytest.approx(0.53 * (LLAMA_8B - words) + 2 * words + 4 * 41_943_040)


# A layer of a model with hidden 512 or 768 in 8 or 12 layers, trained by TRL 1.16 on a CPU: MB at the peak beyond the
# libraries (about 80), measured on 2026-11-30. Hidden, inner, layers, heads, key-value heads, parameters, then the words.
MEASURED = {
    "full": ((768, 2304, 12, 12, 4, 88_879_872), ("--tuning", "full", "--max-length", "64"), 1, 1487 - 65),
    "full in 16 bits": (
        (768, 2304, 12, 12, 4, 88_879_872),
        ("--tuning", "full", "--max-length", "64", "--dtype", "bfloat16"),
        1,
        805 - 80,
    ),
    "full with activations": (
        (512, 1536, 8, 8, 4, 29_368_832),
        ("--tuning", "full", "--max-length", "256"),
        4,
        614 - 80,
    ),
    "LoRA": (
        (768, 2304, 12, 12, 4, 88_879_872),
        ("--max-length", "256", "--dtype", "bfloat16"),
        8,
        615 - 80,
    ),
    "LoRA in float32": ((768, 2304, 12, 12, 4, 88_879_872), ("--max-length", "256", "--dtype", "float32"), 8, 843 - 80),
}


@pytest.mark.parametrize("name", MEASURED)
def test_memory_is_within_15_percent_of_what_trl_was_seen_to_take(name: str) -> None:
    (hidden, inner, layers, heads, kv_heads, parameters), words, batch, megabytes = MEASURED[name]
    config = {
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": 4096,
        "tie_word_embeddings": False,
    }
    found = memory("h200", *words, batch=batch, config=config, parameters=parameters)
    assert sum(found.values()) / 1e6 == pytest.approx(megabytes, rel=0.15)


def test_a_reference_model_and_pairs() -> None:
    sft, dpo = memory("h200", "--tuning", "full"), memory("h200", "--tuning", "full", "--method", "dpo")
    assert dpo["weights"] == 2 * sft["weights"]
    assert dpo["activations"] > 1.5 * sft["activations"]
    assert memory("h200", "--method", "dpo")["weights"] == memory("h200")["weights"]


def test_sharding_divides_what_it_spreads() -> None:
    one, four = memory("a100-large", "--tuning", "full"), memory("a100x4", "--tuning", "full", "--fsdp")
    assert four["optimizer"] == one["optimizer"] / 4
    assert one["weights"] / 4 < four["weights"] < one["weights"] / 2
    assert memory("a100x4", "--tuning", "full") == one
    assert on("a100x4", "--tuning", "full", "--fsdp").short == ""


def test_what_fits_where() -> None:
    fits = {
        tuning: {name for name in FLAVORS if not on(name, "--tuning", tuning).short}
        for tuning in ("lora", "full", "qlora")
    }
    assert {"l4x1", "a10g-large", "a100-large"} <= fits["lora"]
    assert not {"t4-small", "t4-medium", "cpu-basic"} & fits["lora"]
    assert {"cpu-performance"} <= fits["full"]
    assert not {"l4x4", "a10g-largex4", "l40sx8", "a100-large"} & fits["full"]
    assert "t4-small" in fits["qlora"]
    assert on("a10g-large", "--tuning", "full").short == "129.8 GB of a GPU needed, 21.8 usable"


def test_time_and_cost_by_hand() -> None:
    found = on("a100-large", "--batch-size", "8")
    tokens, embedding = 400 * 1.1, 128256 * 4096
    # Forward, and with frozen weights as much again backward and for checkpointing: three passes.
    work = 48_000 * tokens * 3 * (2 * (LLAMA_8B - embedding) + 2 * 4096 * 32 * tokens)
    seconds = work / (312e12 * 0.40) + 180 + 2 * LLAMA_8B / 0.25e9
    assert found.seconds[1] == pytest.approx(seconds)
    assert found.usd[1] == pytest.approx((int(seconds // 60) + 1) / 60 * 2.50)
    assert found.seconds[0] < found.seconds[1] < found.seconds[2]


def test_tiny_models_wait_for_their_kernels() -> None:
    tiny = LLAMA | {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2, "vocab_size": 512}
    words = ("--dataset-size", "8000", "--tokens-per-row", "1", "--epochs", "1", "--batch-size", "8")
    found = on("h200", *words, config=tiny, parameters=1_000_000)
    assert found.seconds[1] == pytest.approx(1000 * 32 * 0.001 + 180, rel=0.01)


def test_generation_by_hand() -> None:
    words = ("--job", "generate", "--dataset-size", "1000", "--tokens-per-row", "200", "--max-length", "256")
    found = on("a100-large", *words, "--max-new-tokens", "768")
    assert found.batch == 256  # 1,024 tokens of 131,072 bytes are 134 MB; 55 GB are left
    assert found.memory["cache"] == 256 * 1024 * 131_072
    answer, compute = 768 * 0.6, 2 * LLAMA_8B / (312e12 * 0.40)
    read = (2 * LLAMA_8B + 256 * (200 + answer / 2) * 131_072) / (2039e9 * 0.6)
    seconds = 1000 * 200 * compute + 4 * answer * (max(read, 256 * compute) + 0.004)
    assert found.seconds[1] == pytest.approx(seconds + 180 + 2 * LLAMA_8B / 0.25e9)
    assert on("t4-small", *words).short


def test_conversion_needs_ram_and_disk() -> None:
    small = on("cpu-basic", "--job", "convert")
    assert (small.short, small.memory) == ("", {"weights": 3 * 4 * 128_256 * 4096})  # its embedding, in float32
    assert "disk" in on("cpu-basic", "--job", "convert", parameters=70_000_000_000).short
    assert on("cpu-xl", "--job", "convert", parameters=70_000_000_000).short == ""
    wide = LLAMA | {"num_experts": 256, "moe_intermediate_size": 2048}
    assert "RAM" in on("cpu-basic", "--job", "convert", config=wide).short


def test_300_gb_of_ram_are_cheapest_on_two_rtx_pro_6000() -> None:
    fused = LLAMA | {"num_experts": 512, "moe_intermediate_size": 12_000}  # 12 bytes of 4096 x 512 x 12,000: 302 GB
    best = script_module.rank_flavors(job("--job", "convert", config=fused), FLAVORS)[0]
    assert (best.flavor.name, best.flavor.usd_per_hour) == ("rtx-pro-6000x2", 5.50)
    assert best.memory["weights"] == pytest.approx(302e9, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "timeout"),
    [
        *((0, "10m"), (461, "10m"), (462, "15m"), (3600, "80m"), (3600 * 1.6, "135m")),
        *((3600 * 10, "13h"), (3600 * 10 + 1, "14h")),
    ],
)
def test_timeouts(seconds: float, timeout: str) -> None:
    found = script_module.Estimate(FLAVORS["l4x1"], {}, 0.0, 1, "", (0.0, 0.0, seconds))
    assert found.timeout == timeout


# --- what is recommended ---


RECOMMENDED = (
    ("--model", "70B"),
    ("--model", "70B", "--tuning", "qlora"),
    ("--model", "8B", "--tuning", "full"),
    ("--model", "0.5B"),
    ("--model", "8B", "--job", "convert"),
    ("--model", "405B", "--job", "generate"),
)


@pytest.mark.parametrize("words", RECOMMENDED, ids=" ".join)
def test_a_recommendation_takes_three_days_at_most_and_is_not_20_times_dearer(
    main: Script, words: tuple[str, ...]
) -> None:
    found = report(main(NAME, *SIZES, *words, "--json"))
    fitting = [one for one in found["flavors"] if one["fits"]]
    cheapest = min((one["usd"]["likely"] for one in fitting), default=0)
    recommended = [one for one in found["flavors"] if one["recommended"]]
    assert found["flavors"][: len(recommended)] == recommended
    assert found["best"] == (recommended[0]["name"] if recommended else None)
    for one in recommended:
        assert one["seconds"]["likely"] <= 3 * 86_400
        assert one["usd"]["likely"] <= 20 * cheapest + 0.11  # dollars are rounded to cents
    for one in (one for one in fitting if one not in recommended):
        too_dear = one["usd"]["likely"] >= 20 * cheapest - 0.11
        assert one["seconds"]["likely"] > 3 * 86_400 or too_dear


def test_70b_lora_is_not_sent_to_a_cpu_for_months(main: Script) -> None:
    done = main(NAME, "--model", "70B", "--dtype", "bfloat16", *SIZES, "--hardware", "cpu-performance")
    assert done.stdout.rstrip().splitlines()[-1] == "No flavor does this in 3 days. Try --tuning qlora, or --fsdp."
    found = report(
        main(NAME, "--model", "70B", "--dtype", "bfloat16", *SIZES, "--hardware", "cpu-performance", "--json")
    )
    assert (found["asked"]["fits"], found["asked"]["recommended"], found["best"]) == (True, False, None)
    assert found["asked"]["seconds"]["likely"] > 30 * 86_400
