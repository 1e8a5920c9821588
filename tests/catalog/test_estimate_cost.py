"""estimate_cost.py as a user meets it: models with real safetensors headers on the embedded Hub, and everything bad."""

from __future__ import annotations

import json
import math
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

from catalog.conftest import CATALOG, Publish, Script, jsonl
from conftest import READ_TOKEN, TOKEN
from jobshelf import blocks
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
def estimate(script: Script, anonymous: dict[str, str]) -> Estimate:
    """`estimate("--model", ...)`: the script against the embedded Hub, without a token."""
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
    assert "what a Job costs" in done.stdout


def test_starts_without_heavy_imports(environment: dict[str, str]) -> None:
    argv = [sys.executable, "-X", "importtime", CATALOG / NAME, "--help"]
    log = subprocess.run(argv, env=environment, capture_output=True, text=True).stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in log.splitlines()}
    assert not imported & {"polars", "huggingface_hub", "tokenizers", "yaml", "httpx2"}


def test_blocks_are_those_of_the_shelf() -> None:
    text, known = (CATALOG / NAME).read_text(encoding="utf-8"), blocks.list_blocks()
    assert blocks.compare(text, known) == ()
    assert blocks.missing_needs(text, known) == blocks.missing_imports(text, known) == ()


def test_no_network_uses_the_dated_prices_for_a_size(script: Script, environment: dict[str, str]) -> None:
    done = script(NAME, "--model", "8B", *SIZES, "--json", env=environment | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    found = report(done)
    assert found["prices"] == {"origin": "list of 2026-11-20", "live": False}
    assert found["model"]["parameters"] == 8_000_000_000
    assert "using the one of 2026-11-20" in done.stderr


def test_no_network_and_a_hub_model_is_exit_5(script: Script, environment: dict[str, str]) -> None:
    done = script(NAME, "--model", "alice/m", *SIZES, env=environment | {"HF_ENDPOINT": "http://127.0.0.1:9"})
    assert "reading alice/m" in failure(done, 5)


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


@pytest.mark.parametrize("model", ["", "llama", "../nowhere", "a/b/c", "8X", "-1B", "user/na me", "https://x.y/z"])
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


def test_float32_weights_take_twice_the_memory(estimate: Estimate, publish_model: PublishModel) -> None:
    files = {"config.json": json.dumps(QWEN).encode(), "model.safetensors": header(shapes(QWEN), "F32")}
    publish_model("alice/m", files)
    found = report(estimate("--model", "alice/m", *SIZES, "--tuning", "full", "--json"))
    assert found["model"]["weight_bytes"] == 4
    memory = found["flavors"][0]["memory_gb"]
    assert (memory["weights"], memory["optimizer"]) == (1.98, 3.95)


def test_local_folder_with_and_without_weights(estimate: Estimate, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(QWEN))
    counted = report(estimate("--model", folder, *SIZES, "--json"))["model"]
    assert (counted["parameters"], counted["origin"]) == (494_032_768, "from config.json")
    (folder / "model.safetensors").write_bytes(header(shapes(QWEN) | {"more": (1000, 1000)}))
    exact = report(estimate("--model", folder, *SIZES, "--json"))["model"]
    assert exact["parameters"] == 495_032_768
    assert exact["origin"].startswith("exact: headers")


def test_pickled_weights_are_counted_from_the_config(estimate: Estimate, publish_model: PublishModel) -> None:
    publish_model("alice/m", {"config.json": json.dumps(LLAMA).encode(), "pytorch_model.bin": b"pickle"})
    model = report(estimate("--model", "alice/m", *SIZES, "--json"))["model"]
    assert (model["parameters"], model["origin"]) == (8_030_261_248, "from config.json")


def test_quantized_weights_are_counted_from_the_config(estimate: Estimate, publish_model: PublishModel) -> None:
    config = json.dumps(LLAMA | {"quantization_config": {"bits": 4}}).encode()
    publish_model("alice/m", {"config.json": config, "model.safetensors": header({"q": (100, 100)}, "I32")})
    found = report(estimate("--model", "alice/m", *SIZES, "--json"))
    assert found["model"]["parameters"] == 8_030_261_248
    assert any("quantized" in text for text in found["assumptions"])


def test_gated_model_is_sized_by_its_name_and_says_so(
    estimate: Estimate, publish_model: PublishModel, hub: Hub
) -> None:
    publish_model("alice/Llama-3.1-8B-Instruct", model_files(LLAMA))
    hub.fail(path=r"/resolve/", status=403, times=100, headers={"X-Error-Code": "GatedRepo"})
    found = report(estimate("--model", "alice/Llama-3.1-8B-Instruct", *SIZES, "--json"))
    assert found["model"]["parameters"] == 8_000_000_000
    assert found["model"]["origin"].startswith("LAST RESORT")
    assert any("config cannot be read" in text for text in found["assumptions"])


@pytest.mark.parametrize("name", ["phi-2", "gemma-7b-from-70b", "Mixtral-8x7B", "tiny", "gpt-4.1"])
def test_gated_model_with_an_ambiguous_name_is_exit_3(
    estimate: Estimate, publish_model: PublishModel, hub: Hub, name: str
) -> None:
    publish_model(f"alice/{name}", model_files(QWEN))
    hub.fail(path=r"/resolve/", status=403, times=100, headers={"X-Error-Code": "GatedRepo"})
    assert "does not say one size" in failure(estimate("--model", f"alice/{name}", *SIZES), 3)


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("meta-llama/Llama-3.1-8B", 8e9),
        ("meta-llama/Llama-3.1-70B-Instruct", 70e9),
        ("Qwen/Qwen3-0.6B", 0.6e9),
        ("Qwen/Qwen3-1.7B", 1.7e9),
        ("Qwen/Qwen2.5-72B", 72e9),
        ("Qwen/Qwen3-30B-A3B", 30e9),
        ("google/gemma-2-27b", 27e9),
        ("HuggingFaceTB/SmolLM2-135M", 135e6),
        ("openai/gpt-oss-20b", 20e9),
        ("8B/phi-2", 0),
        ("a/Mixtral-8x7B-Instruct-v0.1", 0),
        ("a/llama-7b-to-3b", 0),
        ("a/v0.3", 0),
    ],
)
def test_sizes_in_names(name: str, size: float) -> None:
    assert blocks.load("model").size_in_model_name(name) == size


BAD_MODELS: dict[str, tuple[dict[str, bytes], str]] = {
    "GGUF only": ({"m-q4.gguf": b"GGUF"}, "GGUF files only"),
    "adapters only": ({"adapter_config.json": b"{}", "adapter_model.safetensors": header({"a": (2, 2)})}, "adapters"),
    "nothing": ({"README.md": b"# hi"}, "holds no model"),
    "config that is not JSON": ({"config.json": b"{"}, "not JSON"),
    "config that is a list": ({"config.json": b"[]"}, "holds no object"),
    "config that says nothing": ({"config.json": b"{}", "pytorch_model.bin": b"x"}, "has no hidden_size"),
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


def test_missing_and_private_models(estimate: Estimate, publish_model: PublishModel, anonymous: dict[str, str]) -> None:
    assert "there is no model alice/nothing" in failure(estimate("--model", "alice/nothing", *SIZES), 4)
    publish_model("alice/secret", model_files(QWEN), private=True)
    assert "hf auth login" in failure(estimate("--model", "alice/secret", *SIZES), 4)
    seen = estimate("--model", "alice/secret", *SIZES, "--json", env=anonymous | {"HF_TOKEN": TOKEN})
    assert report(seen)["model"]["parameters"] == 494_032_768
    stranger = estimate("--model", "alice/secret", *SIZES, env=anonymous | {"HF_TOKEN": READ_TOKEN})
    failure(stranger, 4)
    assert all(token not in run.stdout + run.stderr for run in (seen, stranger) for token in (TOKEN, READ_TOKEN))


def test_invalid_token_is_exit_3(estimate: Estimate, anonymous: dict[str, str]) -> None:
    done = estimate("--model", "alice/m", *SIZES, env=anonymous | {"HF_TOKEN": "hf_wrongwrongwrong"})
    assert "hf_wrong" not in failure(done, 3)


# --- data ---


def test_seed_command_line(estimate: Estimate, publish_model: PublishModel, chats: str) -> None:
    publish_model("alice/m", tiny_model())
    words = ("--model", "alice/m", "--dataset", chats, "--hardware", "a10g-large")
    done = estimate(*words, "--dataset-size", "16000", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    assert "alice/chats@" in done.stdout
    assert "16,000 rows" in done.stdout
    assert "A10G-LARGE (1x A10G 24 GB, $1.50/h)" in done.stdout
    assert done.stdout.rstrip().splitlines()[-1].startswith("Start it with: --flavor a10g-large --timeout ")
    assert "ASSUMPTIONS" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_tokens_are_those_of_the_models_tokenizer(
    estimate: Estimate, publish_model: PublishModel, chats: str, tmp_path: Path
) -> None:
    from tokenizers import Tokenizer

    files = tiny_model()
    publish_model("alice/m", files)
    data = report(estimate("--model", "alice/m", "--dataset", chats, "--epochs", "2", "--json"))["data"]
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


def test_without_a_tokenizer_characters_count_and_the_range_is_wider(estimate: Estimate, chats: str) -> None:
    found = report(estimate("--model", "8B", "--dataset", chats, "--json"))["data"]
    assert found["tokens_origin"] == "4 characters a token on 40 rows"
    assert found["tokens"]["high"] > 1.3 * found["tokens"]["likely"]


def test_pairs_count_twice_and_prompts_alone(estimate: Estimate, publish: Publish) -> None:
    publish("alice/pairs", {"train.jsonl": jsonl(PAIRS)})

    def tokens(*words: str) -> float:
        return report(estimate("--model", "8B", "--dataset", "alice/pairs", "--json", *words))["data"]["tokens_a_row"]

    assert tokens("--method", "dpo") == 2 * 1 + 5 + 1
    assert tokens("--method", "reward") == 2 * 1 + 5 + 1
    assert tokens("--method", "grpo") == 1
    assert tokens("--job", "generate") == 1


def test_rows_of_many_parquet_files(estimate: Estimate, publish: Publish, tmp_path: Path) -> None:
    files = {}
    for number in range(6):
        pl.DataFrame({"text": ["word " * 40] * (100 + number)}).write_parquet(tmp_path / "p.parquet")
        files[f"data/train-{number:05}-of-00006.parquet"] = (tmp_path / "p.parquet").read_bytes()
    publish("alice/many", files)
    data = report(estimate("--model", "8B", "--dataset", "alice/many", "--json"))["data"]
    assert (data["rows"], data["rows_origin"]) == (615, "counted")


def test_rows_of_a_long_text_file_follow_from_its_size(estimate: Estimate, publish: Publish) -> None:
    publish("alice/long", {"train.jsonl": jsonl([{"text": f"{n:06} " + "word " * 100} for n in range(5000)])})
    data = report(estimate("--model", "8B", "--dataset", "alice/long", "--json"))["data"]
    assert data["rows"] == pytest.approx(5000, rel=0.02)
    assert data["rows_origin"] == "about: from the sizes of the files"


BAD_DATA: dict[str, tuple[dict[str, bytes], tuple[str, ...], str]] = {
    "empty": ({"train.jsonl": b""}, (), "has no rows"),
    "no data files": ({"README.md": b"# hi"}, (), "holds no file"),
    "not JSON": ({"train.jsonl": b"{\n"}, (), "not readable jsonl"),
    "no text": ({"train.jsonl": jsonl([{"label": 1}])}, (), "hold no text"),
    "empty text": ({"train.jsonl": jsonl([{"text": ""}])}, (), "hold no text"),
    "another split": ({"train.jsonl": jsonl([{"text": "a"}])}, ("--split", "test"), "has no split 'test'"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_exit_4(estimate: Estimate, publish: Publish, name: str) -> None:
    files, words, said = BAD_DATA[name]
    publish("alice/d", files)
    line = failure(estimate("--model", "8B", "--dataset", "alice/d", *words), 4)
    assert said in line or said.replace("jsonl", "json") in line


def test_missing_and_private_datasets(estimate: Estimate, publish: Publish, anonymous: dict[str, str]) -> None:
    assert "there is no dataset alice/nothing" in failure(estimate("--model", "8B", "--dataset", "alice/nothing"), 4)
    publish("alice/d", {"train.jsonl": jsonl(CHATS)}, private=True)
    assert "hf auth login" in failure(estimate("--model", "8B", "--dataset", "alice/d"), 4)
    seen = estimate("--model", "8B", "--dataset", "alice/d", "--json", env=anonymous | {"HF_TOKEN": TOKEN})
    assert report(seen)["data"]["rows"] == 40


def test_broken_tokenizer_is_exit_4(estimate: Estimate, publish_model: PublishModel, chats: str) -> None:
    publish_model("alice/m", model_files(QWEN) | {"tokenizer.json": b"{}"})
    assert "--tokens-per-row" in failure(estimate("--model", "alice/m", "--dataset", chats), 4)


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
    assert f"the server answered {status}; using the one of 2026-11-20" in done.stderr


@pytest.mark.parametrize(
    ("body", "said"),
    [(b"<html>", "line 1 column 1"), (b"[{}]", "not a flavor"), (b"{}", "not a list"), (b"\xff", "using the one of")],
)
def test_a_price_list_of_nonsense_is_a_note(
    script: Script, environment: dict[str, str], body: bytes, said: str
) -> None:
    class Nonsense(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer(("127.0.0.1", 0), Nonsense) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        done = script(NAME, "--model", "8B", *SIZES, "--json", env=environment | {"HF_ENDPOINT": endpoint})
        server.shutdown()
    assert report(done)["prices"]["live"] is False
    assert said in done.stderr


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
        ("t4", "t4-small", "cheapest one that begins with 't4'"),
        ("A100", "a100-large", "cheapest one that begins with 'a100'"),
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
    assert nothing.stdout.rstrip().splitlines()[-1] == "Nothing fits. Try --tuning lora, or --fsdp."


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
        *("name", "accelerator", "usd_per_hour", "fits", "reason", "batch", "memory_gb", "usable_gb"),
        *("seconds", "usd", "timeout"),
    ]
    assert report(estimate("--model", "8B", "--job", "convert", "--json"))["data"] is None


def test_server_errors_are_tried_again(estimate: Estimate, publish_model: PublishModel, hub: Hub) -> None:
    publish_model("alice/m", model_files(QWEN))
    hub.fail(method="GET", path=r"^/api/models/alice/m", status=503, times=1)
    done = estimate("--model", "alice/m", *SIZES, "--json")
    assert report(done)["model"]["parameters"] == 494_032_768
    assert "the server answered 503" in done.stderr
