"""convert_to_gguf.py before it downloads anything: what it takes, what it refuses and says, and how it goes on.

The conversions themselves, which need torch, are in tests/heavy/test_convert_to_gguf.py.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
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


def config(**changes: Any) -> bytes:
    return json.dumps(json.loads(MODEL["config.json"]) | changes).encode()


def adapter(**settings: Any) -> dict[str, bytes]:
    return {"adapter_config.json": json.dumps(LORA | settings).encode(), "adapter_model.safetensors": b"not read yet"}


def without(*names: str) -> dict[str, bytes]:
    return {name: data for name, data in MODEL.items() if name not in names}


# ---- the plan ----


def test_the_plan_of_a_model(convert: Convert, publish: Publish, client: HfApi, hub: Hub) -> None:
    commit = publish("alice/tiny", MODEL)
    seen = len(hub.journal())
    done = convert("alice/tiny", OUTPUT, "--quants", "q4_k_m,f16,Q8_0,bf16,f16")
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["made_from"] == {"alice/tiny": commit}
    assert plan["architecture"] == "LlamaForCausalLM"
    assert plan["to_make"] == ["F16", "Q8_0", "BF16", "Q4_K_M"]  # what the converter makes comes first
    assert plan["status"] == "dry run"
    assert not client.repo_exists(OUTPUT)
    assert not [request for request in hub.journal()[seen:] if request.wrote]


def test_the_plan_of_an_adapter_names_both(convert: Convert, publish: Publish) -> None:
    base, tuned = publish("alice/tiny", MODEL), publish("alice/tuned", adapter())
    plan = json.loads(convert("alice/tuned", "./out").stdout)
    assert plan["made_from"] == {"alice/tuned": tuned, "alice/tiny": base}
    assert plan["to_make"] == ["F16", "Q8_0", "Q4_K_M", "Q5_K_M"]


def test_the_base_of_an_adapter_may_be_pinned(convert: Convert, publish: Publish) -> None:
    first, second = publish("alice/tiny", MODEL), publish("alice/tiny", {"README.md": b"moved on"})
    publish("alice/tuned", adapter(revision=first))
    assert json.loads(convert("alice/tuned", "./out").stdout)["made_from"]["alice/tiny"] == first
    plan = json.loads(convert("alice/tuned", "./out", "--base-revision", second).stdout)
    assert plan["made_from"]["alice/tiny"] == second


def test_the_variables_of_the_script_that_this_one_replaces(convert: Convert, publish: Publish) -> None:
    publish("alice/copy-of-tiny", MODEL)
    publish("alice/tuned", adapter())
    variables = {"ADAPTER_MODEL": "alice/tuned", "BASE_MODEL": "alice/copy-of-tiny", "OUTPUT_REPO": OUTPUT}
    plan = json.loads(convert(**variables).stdout)
    assert list(plan["made_from"]) == ["alice/tuned", "alice/copy-of-tiny"]
    assert plan["output"] == OUTPUT


@pytest.mark.parametrize("variables", [{}, {"ADAPTER_MODEL": "alice/tuned"}, {"OUTPUT_REPO": OUTPUT}], ids=str)
def test_nobody_elses_model_is_converted(convert: Convert, variables: dict[str, str]) -> None:
    done = convert(**variables)
    assert done.returncode == 2
    assert "name the model and where its files go: INPUT OUTPUT" in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("alice/tiny", OUTPUT, "--quants", "f16,q4_k_xl"), "no type q4_k_xl; there are: f32, f16"),
        (("alice/tiny", OUTPUT, "--quants", ","), "no type is named"),
        (("alice/tiny", "alice/tiny"), "alice/tiny lies in OUTPUT"),
        (("./models/tiny", "./models"), "./models/tiny lies in OUTPUT"),
        (("alice/tuned", "alice/tiny", "--base-model", "alice/tiny"), "alice/tiny lies in OUTPUT"),
    ],
    ids=str,
)
def test_usage(convert: Convert, words: tuple[str, ...], said: str) -> None:
    done = convert(*words)
    assert done.returncode == 2
    assert said in done.stderr


# ---- what is refused ----


@pytest.mark.parametrize(("token", "said"), [(None, "no Hub token"), (READ_TOKEN, "may not write")], ids=str)
def test_without_write_access(
    convert: Convert, publish: Publish, hub_environment: dict[str, str], script: Script, token: str | None, said: str
) -> None:
    publish("alice/tiny", MODEL)
    env = {name: value for name, value in hub_environment.items() if name != "HF_TOKEN"}
    done = script(NAME, "alice/tiny", "bob/tiny-gguf", env=env | ({"HF_TOKEN": token} if token else {}))
    refused(done, 3, said)


def test_an_architecture_that_the_converter_does_not_know(convert: Convert, publish: Publish) -> None:
    publish("alice/new", MODEL | {"config.json": config(architectures=["LlamaNextForCausalLM"])})
    refused(convert("alice/new", OUTPUT), 4, "the architecture LlamaNextForCausalLM of alice/new", "--llama-cpp DIR")


def test_a_base_that_is_not_there(convert: Convert, publish: Publish) -> None:
    publish("alice/tuned", adapter())
    done = convert("alice/tuned", OUTPUT)
    refused(done, 4, "the Hub answered 404 for alice/tiny")
    assert "alice/tuned is an adapter of alice/tiny (for another copy of it: --base-model)" in done.stderr


def test_a_base_that_is_gated(convert: Convert, publish: Publish, client: HfApi) -> None:
    publish("alice/tiny", MODEL)
    client.update_repo_settings("alice/tiny", gated="manual")
    publish("alice/tuned", adapter())
    refused(convert("alice/tuned", "./out", HF_TOKEN=READ_TOKEN), 3, "alice/tiny", "ask for access")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (adapter(base_model_name_or_path=None), ("does not name its base", "--base-model user/name")),
        (adapter(peft_type="PREFIX_TUNING", num_virtual_tokens=8), ("PREFIX_TUNING adapter, which changes no weight",)),
        (adapter(peft_type="ADAPTION_PROMPT", adapter_len=8), ("ADAPTION_PROMPT adapter, which changes no weight",)),
        (adapter(task_type="SEQ_CLS"), ("an adapter for SEQ_CLS, not for a language model",)),
        ({"adapter_config.json": adapter()["adapter_config.json"]}, ("has no adapter_model.safetensors",)),
        (adapter() | {"adapter_config.json": b"{"}, ("adapter_config.json of alice/tuned holds no JSON object",)),
    ],
    ids=["no base", "prefix", "adaption prompt", "classifier", "no weights", "config"],
)
def test_an_adapter_that_no_file_can_hold(
    convert: Convert, publish: Publish, files: dict[str, bytes], said: tuple[str, ...]
) -> None:
    publish("alice/tiny", MODEL)
    publish("alice/tuned", files)
    refused(convert("alice/tuned", OUTPUT), 4, *said)


def test_pickled_weights_are_read_only_when_asked(convert: Convert, publish: Publish) -> None:
    publish("alice/tiny", without("model.safetensors") | {"pytorch_model.bin": b"pickled" * 1000})
    refused(convert("alice/tiny", OUTPUT), 4, "pytorch_model.bin, which can carry code", "--allow-pickle")
    assert convert("alice/tiny", OUTPUT, "--allow-pickle").returncode == 0
    publish("alice/tuned", {"adapter_config.json": json.dumps(LORA).encode(), "adapter_model.bin": b"pickled"})
    refused(convert("alice/tuned", OUTPUT), 4, "no adapter_model.safetensors", "--allow-pickle")
    assert convert("alice/tuned", OUTPUT, "--allow-pickle").returncode == 0


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"model-Q4_K_M.gguf": b"GGUF"}, "holds GGUF files already"),
        ({"weights.npz": b"1"}, "holds no config.json"),
        ({"config.json": MODEL["config.json"]}, "holds no weights"),
        (MODEL | {"config.json": b"[]"}, "holds no JSON object"),
        (MODEL | {"config.json": b"{"}, "holds no JSON object"),
        (MODEL | {"config.json": config(quantization_config={"quant_method": "gptq"})}, "are quantised already"),
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
    ids=["gguf", "foreign", "no weights", "config a list", "config no JSON", "quantised", "half uploaded"],
)
def test_what_is_no_model(
    convert: Convert, publish: Publish, client: HfApi, files: dict[str, bytes], said: str
) -> None:
    publish("alice/strange", files)
    refused(convert("alice/strange", OUTPUT), 4, said)
    assert not client.repo_exists(OUTPUT)


def test_a_disk_that_is_too_small_and_by_how_much(
    gguf: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (tmp_path / "model.safetensors").open("wb") as stream:
        stream.truncate(5 * 10**12)  # a hole: it takes no space itself
    large = gguf.Repo(source=str(tmp_path), commit="c", private=False)
    with pytest.raises(SystemExit) as left:
        gguf.check_machine(["F16"], None, [large])
    assert left.value.code == 5
    assert "this takes 15000.0 GB of disk space" in capsys.readouterr().err


def test_a_machine_without_compiler(
    gguf: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    repo = gguf.Repo(source=str(tmp_path), commit="c", private=False)
    gguf.check_machine(["F16", "Q8_0"], None, [repo])
    gguf.check_machine(["Q4_K_M"], "/usr/bin/llama-quantize", [repo])
    with pytest.raises(SystemExit):
        gguf.check_machine(["F16", "Q4_K_M"], None, [repo])
    assert "q4_k_m needs llama-quantize, or c++ and make to build it" in capsys.readouterr().err


def test_a_folder_that_is_no_llama_cpp(script: Script, publish: Publish, hub_environment: dict[str, str]) -> None:
    publish("alice/tiny", MODEL)
    done = script(NAME, "alice/tiny", "./out", "--llama-cpp", "/usr", env=hub_environment)
    refused(done, 2, "/usr holds no convert_hf_to_gguf.py")


def test_without_uv_there_is_no_converter(script: Script, publish: Publish, hub_environment: dict[str, str]) -> None:
    publish("alice/tiny", MODEL)
    done = script(NAME, "alice/tiny", "./out", "--dry-run", env=hub_environment)
    refused(done, 5, "holds no convert_hf_to_gguf.py", "run this script with uv")


def test_files_of_others(convert: Convert, publish: Publish) -> None:
    publish("alice/tiny", MODEL)
    publish(OUTPUT, {"theirs.gguf": b"GGUF"})
    refused(convert("alice/tiny", OUTPUT), 4, "holds files of another origin", "--overwrite")
    assert convert("alice/tiny", OUTPUT, "--overwrite").returncode == 0


@pytest.mark.parametrize("status", [405, 422, 501])
def test_a_hub_without_buckets(convert: Convert, publish: Publish, hub: Hub, status: int) -> None:
    publish("alice/tiny", MODEL)
    hub.fail(path="bucket", status=status, times=1000)
    assert convert("alice/tiny", OUTPUT).returncode == 0


# ---- an attempt after another ----


def of_earlier(gguf: ModuleType, commit: str, **deciding: Any) -> dict[str, bytes]:
    """Return what an attempt that made F16 and was killed left in the output."""
    arguments = argparse.Namespace(**{"split_max_size": "48G"} | deciding)
    entry = {"files": {"tiny-F16.gguf": 4000}, "error": 0.001, "limit": 0.02, "same": "16 of 16", "texts": 14}
    return {
        "run.json": json.dumps(gguf.run_identity(arguments, commit)).encode(),
        "tiny-F16.gguf": b"GGUF" * 1000,
        "conversion.json": json.dumps({"quants": {"F16": entry}}).encode(),
    }


def test_what_is_there_is_not_made_again(convert: Convert, publish: Publish, gguf: ModuleType) -> None:
    publish(OUTPUT, of_earlier(gguf, publish("alice/tiny", MODEL)))
    plan = json.loads(convert("alice/tiny", OUTPUT, "--quants", "f16,q8_0").stdout)
    assert (plan["there"], plan["to_make"]) == (["F16"], ["Q8_0"])
    again = json.loads(convert("alice/tiny", OUTPUT, "--quants", "f16").stdout)
    assert (again["status"], again["to_make"]) == ("already there", [])
    fresh = json.loads(convert("alice/tiny", OUTPUT, "--quants", "f16", "--overwrite").stdout)
    # nothing differs, so there is nothing to replace
    assert (fresh["there"], fresh["to_make"]) == (["F16"], [])


def test_a_file_that_is_gone_is_made_again(convert: Convert, publish: Publish, gguf: ModuleType, client: HfApi) -> None:
    publish(OUTPUT, of_earlier(gguf, publish("alice/tiny", MODEL)))
    client.delete_file("tiny-F16.gguf", OUTPUT)
    plan = json.loads(convert("alice/tiny", OUTPUT, "--quants", "f16").stdout)
    assert (plan["there"], plan["to_make"]) == ([], ["F16"])


def test_another_model_or_another_size_is_refused(convert: Convert, publish: Publish, gguf: ModuleType) -> None:
    commit = publish("alice/tiny", MODEL)
    publish(OUTPUT, of_earlier(gguf, commit))
    refused(convert("alice/tiny", OUTPUT, "--split-max-size", "2G"), 4, "another run (arguments differ)", "--overwrite")
    publish("alice/tiny", {"README.md": b"moved on"})
    refused(convert("alice/tiny", OUTPUT), 4, "another run (input differ)", "--keep")
    plan = json.loads(convert("alice/tiny", OUTPUT, "--revision", commit).stdout)
    assert plan["there"] == ["F16"]
    plan = json.loads(convert("alice/tiny", OUTPUT, "--keep").stdout)
    assert plan["there"] == ["F16"]
    plan = json.loads(convert("alice/tiny", OUTPUT, "--overwrite").stdout)
    assert plan["there"] == []


def local(gguf: ModuleType, folder: Path, commit: str, *, overwrite: bool = False) -> Any:
    """Return the output in a folder, of a run of the model at `commit`."""
    options = {"overwrite": overwrite, "keep": False, "private": False, "public": False, "commit_every": 0}
    args = argparse.Namespace(output=str(folder), **options)
    return gguf.Output(args, gguf.run_identity(argparse.Namespace(split_max_size="48G"), commit), kind="model")


def test_overwriting_a_folder_removes_the_files_of_the_run_before_it(gguf: ModuleType, tmp_path: Path) -> None:
    for name, data in {**of_earlier(gguf, "one"), "mine.txt": b"not theirs"}.items():
        (tmp_path / name).write_bytes(data)
    output = local(gguf, tmp_path, "another", overwrite=True)
    assert gguf.find_made(output) == {}
    output.claim(private=False)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {"run.json", "mine.txt"}


@pytest.mark.parametrize("keep", [False, True])
def test_what_is_published_is_known_to_the_next_run(gguf: ModuleType, tmp_path: Path, keep: bool) -> None:
    work, out = tmp_path / "work", tmp_path / "out"
    work.mkdir()
    (work / "README.md").write_text("---\nlicense: mit\nlanguage: de\n---\nA model.\n")
    (work / "tiny-Q8_0.gguf").write_bytes(b"GGUF")
    output = local(gguf, out, "one")
    output.claim(private=False)
    entry = {"files": {"tiny-Q8_0.gguf": 4}, "error": 0.01, "limit": 0.15, "same": "15 of 16", "texts": 14}
    made = {"Q8_0": entry}
    repo = gguf.Repo(source=str(work), commit="one", private=False)
    gguf.publish([work / "tiny-Q8_0.gguf"], made, [repo], output, keep=keep)
    assert (work / "tiny-Q8_0.gguf").exists() == keep
    held = {path.name for path in out.iterdir() if path.is_file()}
    assert held == {"run.json", "README.md", "conversion.json", "tiny-Q8_0.gguf"}
    card = (out / "README.md").read_text()
    for words in ('"license": "mit"', '"language": "de"', "| Q8_0 | tiny-Q8_0.gguf | 4e-09 | 0.01 | 15 of 16 |"):
        assert words in card
    assert "base_model" not in card  # a folder is no model on the Hub
    assert gguf.find_made(local(gguf, out, "one")) == made


# ---- pieces ----


@pytest.mark.parametrize(
    ("rows", "fallback", "named"),
    [(7, True, ["[PAD4]", "[PAD5]", "[PAD6]"]), (4, True, []), (7, False, [])],
    ids=["padded", "as many", "another kind"],
)
def test_rows_beyond_the_tokens_get_a_name(
    gguf: ModuleType, tmp_path: Path, rows: int, fallback: bool, named: list[str]
) -> None:
    original = tmp_path / "original.json"
    added = [{"id": 3, "content": "<new>"}]
    vocabulary = {"type": "BPE", "vocab": {"a": 0, "b": 1, "c": 2}, "byte_fallback": fallback}
    original.write_text(json.dumps({"model": vocabulary, "added_tokens": added}))
    (tmp_path / "tokenizer.json").symlink_to(original)
    gguf.name_spare_rows(tmp_path, rows)
    held = json.loads((tmp_path / "tokenizer.json").read_text())["added_tokens"]
    assert [token["content"] for token in held] == ["<new>", *named]
    assert [token["id"] for token in held] == list(range(3, 4 + len(named)))
    assert json.loads(original.read_text())["added_tokens"] == added  # of the user


def test_code_of_a_repository_is_never_named_to_the_converter(gguf: ModuleType, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer_config.json"):
        (tmp_path / name).write_text(json.dumps({"auto_map": {"AutoTokenizer": "evil.py"}, "vocab_size": 3}))
    (tmp_path / "evil.py").write_text("")
    repo = gguf.Repo(source=str(tmp_path), commit="c", private=False)
    model = gguf.assemble([repo], tmp_path / "model")
    assert sorted(path.name for path in model.iterdir()) == ["config.json", "tokenizer_config.json"]
    assert json.loads((model / "tokenizer_config.json").read_text()) == {"vocab_size": 3}


def test_the_tokenizer_of_an_adapter_is_taken_before_that_of_its_base(gguf: ModuleType, tmp_path: Path) -> None:
    repos = []
    for name, files in {"tuned": ["tokenizer.json"], "base": ["tokenizer.json", "vocab.json", "config.json"]}.items():
        (tmp_path / name).mkdir()
        for file in files:
            (tmp_path / name / file).write_text(json.dumps({"of": name}))
        repos.append(gguf.Repo(source=str(tmp_path / name), commit="c", private=False))
    model = gguf.assemble(repos, tmp_path / "model")
    assert sorted(path.name for path in model.iterdir()) == ["config.json", "tokenizer.json"]
    assert json.loads((model / "tokenizer.json").read_text()) == {"of": "tuned"}


def test_a_tool_never_sees_the_token(gguf: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    code = "import os; print('seen' if 'HF_TOKEN' in os.environ else 'not seen'); raise SystemExit(3)"
    assert gguf.run_tool(sys.executable, "-c", code) == "not seen"
    assert gguf.run_tool(sys.executable, "-c", "pass") is None


def test_the_converters_own_words(gguf: ModuleType, llama_cpp: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        gguf.run_converter(llama_cpp / "convert_hf_to_gguf.py", Path("model"), llama_cpp / "m-F16.gguf", "48G")
    assert left.value.code == 4
    assert "llama.cpp's converter refuses the model: it is not to be run" in capsys.readouterr().err


def test_every_type_has_a_tolerance(gguf: ModuleType) -> None:
    for quant in (*gguf.CONVERTED, *gguf.QUANTIZED):
        assert 0 < gguf.TOLERANCES[quant.removeprefix("I")[:2]] < 1
    with pytest.raises(argparse.ArgumentTypeError):
        gguf.parse_quants("q9_0")
