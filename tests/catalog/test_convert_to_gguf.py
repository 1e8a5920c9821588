"""convert_to_gguf.py before it downloads anything: what it takes, what it refuses and says, and how it goes on.

The conversions themselves, which need torch, are in tests/heavy/test_convert_to_gguf.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import struct
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from catalog.conftest import CATALOG, Script
from conftest import READ_TOKEN, TOKEN
from jobshelf.hub import Hub
from jobshelf.rehearse.tiny_model import tiny_model

NAME = "convert_to_gguf.py"
MODEL = tiny_model()
OUTPUT = "alice/tiny-gguf"
LORA = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": "alice/tiny"}
QUERY = "model.layers.0.self_attn.q_proj"
FACTORS = {f"base_model.model.{QUERY}.lora_A.weight": (4, 256), f"base_model.model.{QUERY}.lora_B.weight": (256, 4)}

Publish = Callable[..., str]
Convert = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def gguf() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("convert_to_gguf", CATALOG / NAME)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def llama_cpp(tmp_path: Path) -> Path:
    """A folder that looks like a llama.cpp which knows two architectures, with its quantiser."""
    folder = tmp_path / "llama.cpp"
    (folder / "gguf-py").mkdir(parents=True)
    (folder / "conversion").mkdir()
    (folder / "convert_hf_to_gguf.py").write_text("raise SystemExit('it is not to be run')\n")
    (folder / "conversion" / "llama.py").write_text(
        '@ModelBase.register(\n    "LlamaForCausalLM",\n    "LlamaModel")\n'
    )
    (folder / "conversion" / "qwen.py").write_text('@ModelBase.register("Qwen2ForCausalLM")\n')
    quantizer = folder / "build" / "bin" / "llama-quantize"
    quantizer.parent.mkdir(parents=True)
    quantizer.write_text("#!/bin/sh\nexit 9\n")
    quantizer.chmod(0o755)
    return folder


@pytest.fixture
def publish(client: HfApi) -> Publish:
    """`publish("alice/tiny", {...})`: a model repository with these files; returns its commit."""

    def push(repo_id: str, files: Mapping[str, bytes], *, private: bool = False) -> str:
        client.create_repo(repo_id, private=private, exist_ok=True)
        operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in files.items()]
        return str(client.create_commit(repo_id, operations, commit_message="model").oid)

    return push


@pytest.fixture
def convert(script: Script, hub_environment: dict[str, str], llama_cpp: Path) -> Convert:
    """`convert("alice/tiny", OUTPUT)`: a dry run with the llama.cpp above."""

    def run(*words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        options = ("--dry-run", "--json", "--llama-cpp", llama_cpp)
        return script(NAME, *words, *options, env=hub_environment | variables)

    return run


def refused(done: subprocess.CompletedProcess[str], code: int, *said: str) -> None:
    assert (done.returncode, done.stdout) == (code, ""), done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert " Fix: " in lines[0]
    for words in said:
        assert words in lines[0]


def safetensors(tensors: Mapping[str, tuple[int, ...]], dtype: str = "BF16", data: bytes = b"") -> bytes:
    """Return a file with this header; its numbers are `data`, which nothing reads before a download."""
    header, end = {}, 0
    for name, shape in tensors.items():
        begin, end = end, end + math.prod(shape) * {"BF16": 2, "F32": 4, "F16": 2, "F8_E4M3": 1}[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def config(**changes: Any) -> bytes:
    return json.dumps(json.loads(MODEL["config.json"]) | changes).encode()


def adapter(settings: Mapping[str, Any] = LORA, factors: Mapping[str, tuple[int, ...]] = FACTORS) -> dict[str, bytes]:
    return {
        "adapter_config.json": json.dumps(settings).encode(),
        "adapter_model.safetensors": safetensors(factors, "F32"),
    }


def without(*names: str) -> dict[str, bytes]:
    return {name: data for name, data in MODEL.items() if name not in names}


# ---- the plan ----


def test_the_plan_of_a_model(convert: Convert, publish: Publish, client: HfApi, hub: Hub) -> None:
    commit = publish("alice/tiny", MODEL)
    seen = len(hub.journal())
    done = convert("alice/tiny", OUTPUT, "--quants", "q4_k_m,f16,Q8_0,bf16,f16")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["model"] == f"alice/tiny@{commit[:19]}"
    assert (plan["architecture"], plan["parameters"], plan["adapter"]) == ("LlamaForCausalLM", 1_443_072, None)
    # the type that q4_k_m is made from comes last of those that the model is read for
    assert plan["to_make"] == ["F16", "Q8_0", "BF16", "Q4_K_M"]
    assert plan["about_bytes"]["F16"] == 2 * 1_443_072
    weights = len(MODEL["model.safetensors"])
    assert plan["disk_bytes"] == weights + 2 * 1_443_072 + 2 * 1_443_072
    assert plan["memory_bytes"] == 2_000_000_000 + 3 * 4 * 512 * 256
    assert plan["status"] == "dry run"
    assert not client.repo_exists(OUTPUT)
    assert not [request for request in hub.journal()[seen:] if request.wrote]


def test_the_plan_of_an_adapter_names_both(convert: Convert, publish: Publish) -> None:
    base, tuned = publish("alice/tiny", MODEL), publish("alice/tuned", adapter())
    plan = json.loads(convert("alice/tuned", "./out").stdout)
    assert plan["model"] == f"alice/tiny@{base[:19]}"
    assert plan["adapter"] == f"alice/tuned@{tuned[:19]}"
    assert plan["to_make"] == ["F16", "Q8_0", "Q4_K_M", "Q5_K_M"]


def test_the_variables_of_the_script_that_this_one_replaces(convert: Convert, publish: Publish) -> None:
    publish("alice/copy-of-tiny", MODEL)
    publish("alice/tuned", adapter())
    variables = {"ADAPTER_MODEL": "alice/tuned", "BASE_MODEL": "alice/copy-of-tiny", "OUTPUT_REPO": OUTPUT}
    plan = json.loads(convert(**variables).stdout)
    assert plan["adapter"].startswith("alice/tuned@")
    assert plan["model"].startswith("alice/copy-of-tiny@")
    assert plan["output"] == OUTPUT


@pytest.mark.parametrize("variables", [{}, {"ADAPTER_MODEL": "alice/tuned"}, {"OUTPUT_REPO": OUTPUT}], ids=str)
def test_nobody_elses_model_is_converted(convert: Convert, variables: dict[str, str]) -> None:
    done = convert(**variables)
    assert done.returncode == 2
    assert "name the model and where its files go: INPUT OUTPUT" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--quants", "f16,q4_k_xl"), "no type q4_k_xl; there are: f32, f16"),
        (("--quants", ","), "no type is named"),
        (("--split-max-size", "60G"), "write 500M or 2G, at most 50G"),
        (("--split-max-size", "big"), "write 500M or 2G, at most 50G"),
    ],
    ids=str,
)
def test_usage(convert: Convert, words: tuple[str, ...], said: str) -> None:
    done = convert("alice/tiny", OUTPUT, *words)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_bare_output(convert: Convert) -> None:
    refused(convert("alice/tiny", "out"), 2, "write user/out for the Hub or ./out for a local folder")


# ---- what is refused ----


@pytest.mark.parametrize(("token", "said"), [(None, "no Hub token"), (READ_TOKEN, "can only read")], ids=str)
def test_without_write_access(
    convert: Convert, publish: Publish, hub_environment: dict[str, str], script: Script, token: str | None, said: str
) -> None:
    publish("alice/tiny", MODEL)
    env = {name: value for name, value in hub_environment.items() if name != "HF_TOKEN"}
    done = script(NAME, "alice/tiny", "bob/tiny-gguf", env=env | ({"HF_TOKEN": token} if token else {}))
    refused(done, 3, said)


def test_an_architecture_that_the_converter_does_not_know(convert: Convert, publish: Publish) -> None:
    publish("alice/new", MODEL | {"config.json": config(architectures=["LlamaNextForCausalLM"])})
    refused(convert("alice/new", OUTPUT), 4, "LlamaNextForCausalLM", "LlamaForCausalLM, LlamaModel", "--llama-cpp DIR")


def test_a_base_that_is_not_there(convert: Convert, publish: Publish) -> None:
    publish("alice/tuned", adapter())
    refused(convert("alice/tuned", OUTPUT), 4, "the base of the adapter alice/tuned", "alice/tiny", "--base-model")


def test_a_base_that_is_gated(convert: Convert, publish: Publish, client: HfApi, script: Script) -> None:
    publish("alice/tiny", MODEL)
    client.update_repo_settings("alice/tiny", gated="manual")
    publish("alice/tuned", adapter())
    done = convert("alice/tuned", "./out", HF_TOKEN=READ_TOKEN)
    refused(done, 3, "the base of the adapter alice/tuned", "alice/tiny is gated", "ask for access")


def test_an_adapter_that_names_no_base(convert: Convert, publish: Publish) -> None:
    publish("alice/tuned", adapter({"peft_type": "LORA"}))
    refused(convert("alice/tuned", OUTPUT), 4, "does not name its base", "--base-model user/name")


@pytest.mark.parametrize(
    ("settings", "factors", "said"),
    [
        (LORA, {f"base_model.model.{QUERY}.lora_A.weight": (4, 128)} | dict([[*FACTORS.items()][1]]), "the base has (256, 256)"),
        (LORA, {name.replace("layers.0", "layers.7"): shape for name, shape in FACTORS.items()}, "does not have"),
        (LORA, {"base_model.model.model.embed_tokens.weight": (512, 128)}, "its vocabulary is another one"),
        (LORA | {"peft_type": "IA3"}, FACTORS, "merge it with PEFT"),
        (LORA, FACTORS | {f"base_model.model.{QUERY}.lora_B.bias": (256,)}, "with biases"),
        (LORA, {}, "holds no LoRA tensors"),
    ],
    ids=["width", "layers", "vocabulary", "kind", "biases", "empty"],
)  # fmt: skip
def test_an_adapter_that_does_not_fit(
    convert: Convert, publish: Publish, settings: dict[str, Any], factors: dict[str, tuple[int, ...]], said: str
) -> None:
    publish("alice/tiny", MODEL)
    publish("alice/tuned", adapter(settings, factors))
    refused(convert("alice/tuned", OUTPUT), 4, said)


def test_pickled_weights_are_read_only_when_asked(convert: Convert, publish: Publish) -> None:
    publish("alice/old", without("model.safetensors") | {"pytorch_model.bin": b"pickled" * 1000})
    refused(convert("alice/old", OUTPUT), 4, "pickled (pytorch_model.bin)", "--allow-pickle")
    plan = json.loads(convert("alice/old", OUTPUT, "--allow-pickle").stdout)
    assert plan["parameters"] == 3500  # by the size of the file
    publish("alice/tiny", MODEL)
    publish("alice/tuned", {"adapter_config.json": json.dumps(LORA).encode(), "adapter_model.bin": b"pickled"})
    refused(convert("alice/tuned", OUTPUT, "--allow-pickle"), 4, "the adapter alice/tuned is pickled")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"model-Q4_K_M.gguf": b"GGUF"}, "holds GGUF files already"),
        ({"weights.npz": b"1"}, "holds no config.json"),
        ({"config.json": MODEL["config.json"]}, "holds no weights"),
        (MODEL | {"config.json": b"[]"}, "holds no object"),
        (MODEL | {"config.json": b"{"}, "is not JSON"),
        (MODEL | {"model.safetensors": b"12345678"}, "no readable header"),
        (MODEL | {"model.safetensors": safetensors({"a.weight": (4, 4)}, "F8_E4M3")}, "weights of the type F8_E4M3"),
        (MODEL | {"config.json": config(quantization_config={"quant_method": "gptq"})}, "quantised already (gptq)"),
        (
            without("model.safetensors")
            | {
                "model-00001-of-00002.safetensors": MODEL["model.safetensors"],
                "model.safetensors.index.json": json.dumps(
                    {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
                ).encode(),
            },
            "lacks 1 of its weight files (model-00002-of-00002.safetensors)",
        ),
    ],
    ids=["gguf", "foreign", "no weights", "config a list", "config no JSON", "header", "type", "quantised", "half uploaded"],
)  # fmt: skip
def test_what_is_no_model(convert: Convert, publish: Publish, files: dict[str, bytes], said: str) -> None:
    publish("alice/strange", files)
    refused(convert("alice/strange", OUTPUT), 4, said)


def test_a_disk_that_is_too_small_and_by_how_much(convert: Convert, publish: Publish) -> None:
    large = {f"model.layers.{layer}.mlp.up_proj.weight": (400_000, 100_000) for layer in range(500)}
    publish("alice/large", MODEL | {"model.safetensors": safetensors(large)})
    done = convert("alice/large", "./out", "--quants", "bf16")
    refused(done, 5, "GB of disk space", "40000.0 GB", "--flavor")


def test_types_that_need_an_importance_matrix(convert: Convert, publish: Publish) -> None:
    publish("alice/tiny", MODEL)
    refused(convert("alice/tiny", OUTPUT, "--quants", "iq2_xs"), 2, "iq2_xs needs an importance matrix", "--imatrix")
    refused(convert("alice/tiny", OUTPUT, "--imatrix", "gone.gguf"), 4, "there is no importance matrix gone.gguf")


def test_a_folder_that_is_no_llama_cpp(script: Script, publish: Publish, hub_environment: dict[str, str]) -> None:
    publish("alice/tiny", MODEL)
    done = script(NAME, "alice/tiny", "./out", "--llama-cpp", "/usr", env=hub_environment)
    refused(done, 2, "/usr holds no convert_hf_to_gguf.py")


def test_without_uv_there_is_no_converter(script: Script, publish: Publish, hub_environment: dict[str, str]) -> None:
    publish("alice/tiny", MODEL)
    done = script(NAME, "alice/tiny", "./out", "--dry-run", env=hub_environment)
    refused(done, 5, "llama-cpp-python 0.3.36 is not installed here", "run this script with uv")


def test_a_private_model_in_public(convert: Convert, publish: Publish, client: HfApi) -> None:
    publish("alice/tiny", MODEL, private=True)
    client.create_repo(OUTPUT)
    refused(convert("alice/tiny", OUTPUT), 2, "is public, but this model is private")
    assert convert("alice/tiny", OUTPUT, "--public").returncode == 0


def test_files_of_others(convert: Convert, publish: Publish, tmp_path: Path) -> None:
    publish("alice/tiny", MODEL)
    publish(OUTPUT, {"theirs.gguf": b"GGUF"})
    refused(convert("alice/tiny", OUTPUT), 4, "holds 1 files of another run (theirs.gguf)", "--overwrite")
    assert convert("alice/tiny", OUTPUT, "--overwrite").returncode == 0


# ---- an attempt after another ----


def of_earlier(gguf: ModuleType, commit: str, **request: Any) -> dict[str, bytes]:
    """Return what an attempt that made F16 and was killed left in the output."""
    asked = {"input": "alice/tiny", "revision": None, "base_model": None, "base_revision": None, "imatrix": None}
    asked |= {"split_max_size": "48G", "result_version": gguf.RESULT_VERSION} | request
    run = gguf.Run(script=NAME, request=asked, source=commit)
    data = b"GGUF" * 1000
    file = {"bytes": len(data), "sha256": gguf.hashlib.sha256(data).hexdigest()}
    conversion = {"source": {"model": commit}, "quants": {"F16": {"files": {"tiny-F16.gguf": file}, "error": 0.001}}}
    return {
        "tiny-F16.gguf": data,
        "conversion.json": json.dumps(conversion).encode(),
        "jobshelf.json": gguf.manifest_of(run, ["tiny-F16.gguf"]),
    }


def test_what_is_there_is_not_made_again(convert: Convert, publish: Publish, gguf: ModuleType) -> None:
    commit = publish("alice/tiny", MODEL)
    publish(OUTPUT, of_earlier(gguf, commit))
    publish("alice/tiny", {"README.md": b"moved on"})  # the earlier attempt took another commit, and so does this one
    plan = json.loads(convert("alice/tiny", OUTPUT, "--quants", "f16,q8_0").stdout)
    assert (plan["there"], plan["to_make"]) == (["F16"], ["Q8_0"])
    assert plan["model"] == f"alice/tiny@{commit[:19]}"
    again = json.loads(convert("alice/tiny", OUTPUT, "--quants", "f16").stdout)
    assert (again["status"], again["to_make"]) == ("already there", [])
    fresh = json.loads(convert("alice/tiny", OUTPUT, "--quants", "f16", "--overwrite").stdout)
    assert (fresh["there"], fresh["to_make"]) == ([], ["F16"])
    assert fresh["model"] != plan["model"]


def test_a_file_that_came_half_is_made_again(convert: Convert, publish: Publish, gguf: ModuleType) -> None:
    commit = publish("alice/tiny", MODEL)
    publish(OUTPUT, of_earlier(gguf, commit) | {"tiny-F16.gguf": b"GGUF" * 10})
    plan = json.loads(convert("alice/tiny", OUTPUT, "--quants", "f16").stdout)
    assert (plan["there"], plan["to_make"]) == ([], ["F16"])


def test_another_request_is_refused(convert: Convert, publish: Publish, gguf: ModuleType) -> None:
    commit = publish("alice/tiny", MODEL)
    publish(OUTPUT, of_earlier(gguf, commit, revision="v2"))
    refused(convert("alice/tiny", OUTPUT), 4, "files of another run", "--overwrite")


def test_a_folder_whose_model_has_changed(
    script: Script, environment: dict[str, str], llama_cpp: Path, tmp_path: Path, gguf: ModuleType
) -> None:
    for name, files in {"model": MODEL, "out": of_earlier(gguf, "sha256:0", input="../model")}.items():
        (tmp_path / name).mkdir()
        for file, data in files.items():
            (tmp_path / name / file).write_bytes(data)
    done = script(NAME, "../model", "../out", "--dry-run", "--llama-cpp", llama_cpp, env=environment)
    refused(done, 4, "have changed since", "--overwrite")


def test_a_local_output_is_replaced_file_by_file(gguf: ModuleType, tmp_path: Path) -> None:
    out, made = tmp_path / "out", tmp_path / "made"
    for folder in (out, made):
        folder.mkdir()
    (out / "tiny-F16.gguf").write_bytes(b"kept")
    (out / "tiny-Q5_0.gguf").write_bytes(b"of an earlier request")
    for name in ("tiny-Q8_0.gguf", "conversion.json", "Modelfile"):
        (made / name).write_text(name)
    run = gguf.Run(script=NAME, request={}, source="s")
    persist = gguf.Persist(output=gguf.Output(repo_id=None, folder=out), run=run, token=None, words=())
    persist.put(made, ["tiny-F16.gguf", "tiny-Q8_0.gguf"], lambda existing: f"card after {existing}")
    names = ["Modelfile", "README.md", "conversion.json", "jobshelf.json", "tiny-F16.gguf", "tiny-Q8_0.gguf"]
    assert sorted(path.name for path in out.iterdir()) == names
    assert (out / "README.md").read_text() == "card after None"
    assert list(made.iterdir()) == []


# ---- pieces ----


def test_what_an_adapter_changes(gguf: ModuleType) -> None:
    prefix = "base_model.model.model"
    held = {
        f"{prefix}.layers.0.self_attn.q_proj.lora_A.weight": (4, 256),
        f"{prefix}.layers.0.self_attn.q_proj.lora_B.weight": (256, 4),
        f"{prefix}.layers.0.self_attn.q_proj.lora_magnitude_vector": (256,),
        f"{prefix}.layers.1.mlp.up_proj.lora_A.default.weight": (16, 256),
        f"{prefix}.layers.1.mlp.up_proj.lora_B.default.weight": (512, 16),
        f"{prefix}.embed_tokens.lora_embedding_A": (4, 512),
        f"{prefix}.embed_tokens.lora_embedding_B": (256, 4),
        "base_model.model.lm_head.modules_to_save.weight": (520, 256),
    }
    base = {
        "model.layers.0.self_attn.q_proj.weight": (256, 256),
        "model.layers.1.mlp.up_proj.weight": (512, 256),
        "model.embed_tokens.weight": (512, 256),
        "lm_head.weight": (512, 256),
    }
    settings = {"peft_type": "LORA", "lora_alpha": 8, "alpha_pattern": {"up_proj": 32}}
    found = gguf.plan_changes(settings, held, base)
    assert set(found) == set(base)
    query, up, words, head = (found[name] for name in base)
    assert (query.scaling, query.magnitude is not None, query.shape) == (2.0, True, (256, 256))
    assert (up.scaling, up.magnitude, up.b) == (2.0, None, f"{prefix}.layers.1.mlp.up_proj.lora_B.default.weight")
    assert (words.transposed, words.shape) == (True, (512, 256))
    assert (head.whole, head.shape) == ("base_model.model.lm_head.modules_to_save.weight", (520, 256))
    stable = gguf.plan_changes(settings | {"use_rslora": True}, held, base)
    assert (stable["lm_head.weight"], stable["model.layers.1.mlp.up_proj.weight"].scaling) == (head, 8.0)


def test_a_base_may_have_another_prefix(gguf: ModuleType) -> None:
    base = {"language_model.model.layers.0.self_attn.q_proj.weight": (256, 256), "vision.layers.0.up.weight": (2, 2)}
    assert list(gguf.plan_changes(LORA, FACTORS, base)) == ["language_model.model.layers.0.self_attn.q_proj.weight"]


def source_of(gguf: ModuleType, tensors: Mapping[str, tuple[str, tuple[int, ...]]], **options: Any) -> Any:
    held = {name: gguf.Tensor(dtype=dtype, shape=shape) for name, (dtype, shape) in tensors.items()}
    repo = gguf.Repo(given="u/m", folder=None, identity="c", private=False, sizes={"model.safetensors": 1000}, card={})
    return gguf.Source(
        model=repo, adapter=None, config={}, tensors=held, weights=("model.safetensors",), changes={}, **options
    )


@pytest.mark.parametrize(("tokens", "rows", "fits"), [(512, 512, True), (512, 600, True), (513, 512, False)], ids=str)
def test_a_tokenizer_has_no_more_tokens_than_the_embedding(
    gguf: ModuleType, tmp_path: Path, tokens: int, rows: int, fits: bool
) -> None:
    tokenizer = tmp_path / "tokenizer.json"
    added = [{"id": tokens - 1, "content": "<new>"}]
    tokenizer.write_text(json.dumps({"model": {"vocab": {"a": 0}}, "added_tokens": added}))
    source = source_of(gguf, {"model.embed_tokens.weight": ("BF16", (rows, 8))})
    if fits:
        gguf.check_vocabulary(source, tokenizer)
        return
    with pytest.raises(gguf.Stop, match=r"has 513 tokens, the embedding of u/m 512 rows") as stop:
        gguf.check_vocabulary(source, tokenizer)
    assert stop.value.code == 4


def test_the_experts_of_a_layer_are_one_block(gguf: ModuleType) -> None:
    experts = {f"model.layers.0.mlp.experts.{number}.up_proj.weight": ("BF16", (64, 32)) for number in range(8)}
    source = source_of(gguf, experts | {"lm_head.weight": ("BF16", (128, 32))})
    assert gguf.largest_block(source) == 8 * 4 * 64 * 32


@pytest.mark.parametrize(
    ("dtype", "bits", "quants", "said"),
    [
        ("BF16", 0x477F, ("F16",), None),
        ("BF16", 0x4780, ("F16",), "above 65504"),
        ("BF16", 0xC780, ("F16", "Q8_0"), "choose bf16 in the place of f16"),
        ("BF16", 0x4780, ("BF16", "Q8_0"), None),
        ("F32", 0x477FE000, ("F16",), None),
        ("F32", 0x477FF000, ("F16",), "above 65504"),
        ("BF16", 0x7F80, ("BF16",), "infinite or no numbers"),
        ("F16", 0xFE00, ("Q8_0",), "infinite or no numbers"),
    ],
    ids=str,
)
def test_weights_that_a_type_cannot_hold(
    gguf: ModuleType, tmp_path: Path, dtype: str, bits: int, quants: tuple[str, ...], said: str | None
) -> None:
    width = 4 if dtype == "F32" else 2
    numbers = bytes(width * 15) + bits.to_bytes(width, "little")
    (tmp_path / "model.safetensors").write_bytes(safetensors({"a.weight": (4, 4)}, dtype, numbers))
    plan = gguf.Plan(quants=quants, through=None, sizes={}, disk=0, memory=0)
    if said is None:
        gguf.check_numbers(tmp_path, plan)
        return
    with pytest.raises(gguf.Stop, match=r"a\.weight in model\.safetensors") as stop:
        gguf.check_numbers(tmp_path, plan)
    assert stop.value.code == 4
    assert said in str(stop.value)


def test_code_of_a_repository_is_never_named_to_the_converter(gguf: ModuleType) -> None:
    assert gguf.without_code({"auto_map": {"AutoTokenizer": "evil.py"}, "vocab_size": 3}) == {"vocab_size": 3}


def test_a_tool_never_sees_the_token(gguf: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code = "import os; print('seen' if 'HF_TOKEN' in os.environ else 'not seen'); raise SystemExit(3)"
    assert gguf.run_tool([sys.executable, "-c", code], {}) == "not seen"
    assert gguf.run_tool([sys.executable, "-c", "pass"], {}) is None


def test_every_type_has_a_tolerance(gguf: ModuleType) -> None:
    for quant in gguf.BITS:
        assert 0 < gguf.TOLERANCES[quant.removeprefix("I")[:2]] < 1
    with pytest.raises(argparse.ArgumentTypeError):
        gguf.parse_quants("q9_0")
