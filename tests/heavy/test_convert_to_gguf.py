"""convert_to_gguf.py with the header of its users, on real architectures; xllamacpp, another build of llama.cpp, judges."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, snapshot_download

from catalog.conftest import CATALOG
from conftest import TOKEN
from jobshelf.hub import Hub
from jobshelf.rehearse.tiny_model import tiny_model
from jobshelf.testing import rehearse
from support import BIN

pytestmark = pytest.mark.timeout(900)
SCRIPT = CATALOG / "convert_to_gguf.py"
MODELS = Path(__file__).parent / "gguf_models.py"
ADAPTERS = Path(__file__).parent / "gguf_adapters.py"
ARCHITECTURES = {
    "llama": "LlamaForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "gemma": "GemmaForCausalLM",
}
# What each type may be off by on a model that learnt one sentence by heart, which is worse than any that people have.
SEEN = {"F16": 0.005, "Q8_0": 0.1, "BF16": 0.02, "Q5_K_M": 0.35, "Q4_K_M": 0.55}

CONVERTER = """
import runpy, sys, sysconfig
sys.path.insert(0, sysconfig.get_path("purelib") + "/llama.cpp")
runpy.run_path(sys.path[0] + "/convert_hf_to_gguf.py", run_name="__main__")
"""

LOAD = """
import os, pathlib, sys
os.dup2(1, 2)
sys.path.insert(0, sys.argv[1])
import convert_to_gguf
print(convert_to_gguf.ask_gguf(pathlib.Path(sys.argv[2]), "F16", None)[0])
"""

Convert = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def own_python(cpu_builds: Mapping[str, str]) -> Callable[..., str]:
    """`own_python("file.py", ...)`: what it prints when the script's own environment runs it."""
    env = {**os.environ, **cpu_builds, "HF_HUB_OFFLINE": "1"}
    subprocess.run([BIN / "uv", "run", SCRIPT, "--help"], env=env, capture_output=True, timeout=800, check=True)
    found = subprocess.run(
        [BIN / "uv", "python", "find", "--script", SCRIPT], env=env, capture_output=True, text=True, check=True
    )

    def run(*words: str | Path) -> str:
        argv = [found.stdout.strip(), *map(str, words)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-4000:]
        return done.stdout

    return run


@pytest.fixture(scope="module")
def made(own_python: Callable[..., str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny models, with what each says in answers.json."""
    folder = tmp_path_factory.mktemp("made")
    base = tmp_path_factory.mktemp("base")
    for name, data in tiny_model().items():
        (base / name).write_bytes(data)
    own_python(MODELS, "make", base, folder)
    return folder


@pytest.fixture
def convert(user: dict[str, str], tmp_path: Path) -> Convert:
    """`convert(model, "./out", ...)`: what the script printed as JSON."""

    def run(*words: str | Path, env: Mapping[str, str] | None = None) -> dict[str, Any]:
        argv = [BIN / "uv", "run", SCRIPT, *map(str, words), "--json"]
        done = subprocess.run(
            argv, env={**user, **(env or {})}, cwd=tmp_path, capture_output=True, text=True, timeout=800
        )
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout)

    return run


def assert_agrees(entries: Mapping[str, Any]) -> None:
    for quant, entry in entries.items():
        assert entry["error"] <= SEEN[quant], (quant, entry)
        assert entry["texts"] == 14


def said(own_python: Callable[..., str], files: list[Path]) -> list[list[int]]:
    """Return the tokens that llama.cpp finds with each file."""
    return list(json.loads(own_python(MODELS, "read", *files)).values())


@pytest.mark.heavy
@pytest.mark.gguf
def test_architectures_and_an_adapter(
    convert: Convert, made: Path, own_python: Callable[..., str], tmp_path: Path
) -> None:
    names = [*ARCHITECTURES, "adapter"]
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda name: convert(made / name, f"./{name}", "--quants", "f16,q8_0"), names))
    answers = json.loads((made / "answers.json").read_text())
    for name, shown in zip(names, done, strict=True):
        assert shown["architecture"] == ARCHITECTURES.get(name, "LlamaForCausalLM")
        assert_agrees(shown["made"])
        files = [tmp_path / name / f"{name}-{quant}.gguf" for quant in ("F16", "Q8_0")]
        assert said(own_python, files) == [answers[name], answers[name]], name
        held = {path.name for path in (tmp_path / name).iterdir()}
        assert held == {"README.md", "conversion.json", "run.json", *(file.name for file in files)}
    assert not list(tmp_path.glob("*/.*"))


@pytest.mark.heavy
@pytest.mark.gguf
def test_a_model_that_its_file_disagrees_with(
    user: dict[str, str], made: Path, own_python: Callable[..., str], tmp_path: Path
) -> None:
    """Qwen2 with another tokenizer than its own: transformers takes it for Qwen's, the converter does not.

    No tiny model has Qwen's own, so that of the dense Qwen2 only the converter's files are held against the model.
    """
    argv = [BIN / "uv", "run", SCRIPT, made / "qwen2", "./out", "--quants", "q8_0"]
    done = subprocess.run(argv, env=user, cwd=tmp_path, capture_output=True, text=True, timeout=800)
    assert done.returncode == 1, done.stderr
    assert "qwen2-Q8_0.gguf is not the model: it splits 'The capital of France" in done.stderr
    assert "(14 of 14 texts); it was not published" in done.stderr
    assert [path.name for path in tmp_path.rglob("*.gguf")] == []
    files = [tmp_path / "f16.gguf", tmp_path / "q8_0.gguf"]
    for file in files:
        own_python("-c", CONVERTER, made / "qwen2", "--outfile", file, "--outtype", file.stem)
    answers = json.loads((made / "answers.json").read_text())
    assert said(own_python, files) == [answers["qwen2"], answers["qwen2"]]


@pytest.mark.heavy
@pytest.mark.gguf
def test_pickled_weights_in_several_files(
    convert: Convert, made: Path, own_python: Callable[..., str], tmp_path: Path
) -> None:
    shown = convert(made / "pickled", "./out", "--quants", "bf16", "--split-max-size", "1M", "--allow-pickle")
    files = sorted((tmp_path / "out").glob("pickled-BF16-*.gguf"))
    assert len(files) >= 3
    assert max(file.stat().st_size for file in files) < 1_200_000
    assert sorted(shown["made"]["BF16"]["files"]) == [file.name for file in files]
    assert_agrees(shown["made"])
    answers = json.loads((made / "answers.json").read_text())
    assert said(own_python, files[:1]) == [answers["pickled"]]


@pytest.mark.heavy
@pytest.mark.gguf
def test_an_embedding_of_more_or_fewer_rows(
    convert: Convert, made: Path, own_python: Callable[..., str], tmp_path: Path
) -> None:
    """What `resize_token_embeddings` leaves: rows without tokens, or tokens that an adapter brings with its rows."""
    answers = json.loads((made / "answers.json").read_text())
    for name in ("padded", "worded"):
        shown = convert(made / name, f"./{name}", "--quants", "q8_0")
        assert_agrees(shown["made"])
        assert said(own_python, [tmp_path / name / f"{name}-Q8_0.gguf"]) == [answers[name]], name
    saved = (made / "worded" / "adapter_model.safetensors").read_bytes()
    assert b"embed_tokens.original_module.weight" in saved


@pytest.mark.heavy
@pytest.mark.gguf
def test_every_kind_of_adapter(made: Path, own_python: Callable[..., str], tmp_path: Path) -> None:
    outcome = json.loads(own_python(ADAPTERS, SCRIPT, made / "llama", tmp_path).splitlines()[-1])
    refusal = outcome.pop("lora with biases")
    assert refusal.startswith("4: error: PEFT cannot merge the adapter: Impossible to merge LoRA with `lora_bias=True`")
    assert len(outcome) == 20
    # float32 rounds by some 1e-6; merging in bfloat16 would be off by 4e-3
    assert {kind: off for kind, off in outcome.items() if not (isinstance(off, float) and off < 1e-4)} == {}


@pytest.mark.heavy
@pytest.mark.gguf
def test_an_adapter_of_another_base(user: dict[str, str], made: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(made / "llama", base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 1}))
    argv = [BIN / "uv", "run", SCRIPT, made / "adapter", "./out", "--base-model", base, "--quants", "q8_0"]
    done = subprocess.run(argv, env=user, cwd=tmp_path, capture_output=True, text=True, timeout=800)
    assert done.returncode == 4
    line = done.stderr.splitlines()[-1]
    assert "the adapter changes base_model.model.model.layers.1." in line
    assert "--base-model user/name" in line
    assert not (tmp_path / "out").exists()


@pytest.mark.heavy
@pytest.mark.gguf
def test_llama_cpp_says_why_it_does_not_load_a_file(own_python: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF" * 100)
    said = own_python("-c", LOAD, CATALOG, tmp_path / "broken.gguf")
    assert "this GGUF file is version 1179993927 but this software only supports" in said
    assert said.splitlines()[-1] == "['llama.cpp does not load it, see above']"


@pytest.fixture
def published(hub: Hub, client: HfApi, made: Path) -> Iterator[None]:
    """An adapter and its base on the Hub, the base gated no more than its licence says."""
    client.create_repo("alice/llama", private=True)
    client.upload_folder(repo_id="alice/llama", folder_path=made / "llama")
    card = b"---\nlicense: llama3.2\nlanguage: [en]\n---\nA base.\n"
    client.upload_file(repo_id="alice/llama", path_in_repo="README.md", path_or_fileobj=card)
    settings = json.loads((made / "adapter" / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = "alice/somebody-elses"
    client.create_repo("alice/tuned", private=True)
    client.upload_folder(repo_id="alice/tuned", folder_path=made / "adapter", ignore_patterns=["adapter_config.json", "README.md"])  # fmt: skip
    config = json.dumps(settings).encode()
    client.upload_file(repo_id="alice/tuned", path_in_repo="adapter_config.json", path_or_fileobj=config)
    yield


@pytest.mark.heavy
@pytest.mark.gguf
@pytest.mark.usefixtures("published")
def test_a_file_in_parts_on_the_hub(
    convert: Convert, client: HfApi, hub: Hub, made: Path, own_python: Callable[..., str], tmp_path: Path
) -> None:
    env = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
    words = ("alice/llama", "alice/llama-gguf", "--quants", "bf16", "--split-max-size", "1M")
    shown = convert(*words, env=env)
    assert_agrees(shown["made"])
    held = [name for name in client.list_repo_files("alice/llama-gguf") if name.endswith(".gguf")]
    assert held == [f"llama-BF16-{number:05}-of-{len(held):05}.gguf" for number in range(1, len(held) + 1)]
    assert len(held) >= 3
    assert sorted(shown["made"]["BF16"]["files"]) == held

    folder = Path(snapshot_download("alice/llama-gguf", local_dir=tmp_path / "got", endpoint=hub.endpoint, token=TOKEN))
    answers = json.loads((made / "answers.json").read_text())
    assert said(own_python, [folder / held[0]]) == [answers["llama"]]

    seen = len(hub.journal())
    assert convert(*words, env=env)["status"] == "already there"
    assert not [request for request in hub.journal()[seen:] if request.wrote]


@pytest.mark.sweep  # llama.cpp's library is built first, which takes minutes
@pytest.mark.usefixtures("published")
def test_the_variables_of_the_script_that_this_one_replaces(
    convert: Convert, client: HfApi, hub: Hub, made: Path, own_python: Callable[..., str], tmp_path: Path
) -> None:
    env = {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}
    variables = {"ADAPTER_MODEL": "alice/tuned", "BASE_MODEL": "alice/llama", "OUTPUT_REPO": "alice/tuned-gguf"}
    shown = convert(env={**env, **variables})
    assert list(shown["made"]) == ["F16", "Q8_0", "Q4_K_M", "Q5_K_M"]
    assert_agrees(shown["made"])
    commits = client.list_repo_commits("alice/tuned-gguf")
    assert len([commit for commit in commits if commit.title.startswith("Add ")]) == 5  # run.json, then a type each
    assert client.model_info("alice/tuned-gguf").private

    folder = Path(snapshot_download("alice/tuned-gguf", local_dir=tmp_path / "got", endpoint=hub.endpoint, token=TOKEN))
    files = [folder / f"tuned-{quant}.gguf" for quant in ("F16", "Q8_0")]
    answers = json.loads((made / "answers.json").read_text())
    assert said(own_python, files) == [answers["adapter"], answers["adapter"]]
    card = (folder / "README.md").read_text()
    for words in (
        '"license": "llama3.2"',
        '"base_model": "alice/tuned"',
        '"base_model_relation": "quantized"',
        '"gguf"',
    ):
        assert words in card
    for path in folder.glob("*.gguf"):
        assert path.name in card
        assert f"{path.stat().st_size / 1e9:.3g}" in card

    seen = len(hub.journal())
    again = convert(env={**env, **variables})
    assert again["status"] == "already there"
    assert not [request for request in hub.journal()[seen:] if request.wrote]


@pytest.mark.heavy
@pytest.mark.gguf
def test_killed_at_five_points_and_run_again(
    cpu_builds: Mapping[str, str], monkeypatch: pytest.MonkeyPatch, record_property: Callable[[str, object], None]
) -> None:
    for name, value in cpu_builds.items():
        monkeypatch.setenv(name, value)
    shown = rehearse(SCRIPT, steps=["run", "kill"], kills=5)
    verdict = shown.verdict("kill")
    assert dict(verdict.figures) == {"points": 5, "killed": 5, "wrong": 0}, verdict.reason
    record_property("figure", f"heavy: convert_to_gguf.py killed at 5 points: {verdict.seconds:.0f} s")
