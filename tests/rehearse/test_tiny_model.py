"""The tiny model, read by the libraries that read real ones."""

from __future__ import annotations

import json
import struct
import subprocess
from pathlib import Path
from typing import Any

import jinja2
import pytest

from jobshelf.errors import UsageError
from jobshelf.rehearse import rehearse, to_text
from jobshelf.rehearse.environment import synced
from jobshelf.rehearse.fixtures import SELF_INSTRUCT, find_model
from jobshelf.rehearse.tiny_model import CHAT_TEMPLATE, speaking_model, tiny_model
from jobshelf.sample_data import questions
from jobshelf.script import read_script

READER = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["tokenizers>=0.22,<1", "safetensors>=0.6,<1", "numpy>=2,<3"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
import json, sys
from safetensors import safe_open
from tokenizers import Tokenizer

folder, text = sys.argv[1:]
tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
ids = tokenizer.encode(text).ids
with safe_open(f"{folder}/model.safetensors", framework="numpy") as tensors:
    shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}
print(json.dumps({"ids": ids, "text": tokenizer.decode(ids), "size": tokenizer.get_vocab_size(), "shapes": shapes}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    for name, data in tiny_model().items():
        (folder / name).write_bytes(data)
    return folder


def read(folder: Path, text: str, scratch: Path) -> dict[str, Any]:
    script = scratch / "reader.py"
    script.write_text(READER, encoding="utf-8")
    python = synced(script, read_script(script).require()).python
    done = subprocess.run([python, script, folder, text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_real_libraries_read_it(folder: Path, tmp_path: Path) -> None:
    text = next(questions(1))["question"]
    found = read(folder, text, tmp_path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert found["text"] == text
    assert found["ids"][0] == 1
    assert len(found["ids"]) < len(text) / 2, "the tokenizer learned nothing"
    assert found["size"] == config["vocab_size"] == found["shapes"]["lm_head.weight"][0]
    assert found["shapes"]["model.layers.1.self_attn.k_proj.weight"] == [128, 256]
    assert len(found["shapes"]) == 3 + 9 * config["num_hidden_layers"]


def test_what_it_never_saw_comes_back_too(folder: Path, tmp_path: Path) -> None:
    assert read(folder, "日本 é\n\t\x01", tmp_path)["text"] == "日本 é\n\t\x01"


def test_it_is_the_same_every_time(folder: Path) -> None:
    assert tiny_model() == {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_chat_template_marks_the_assistant() -> None:
    text = CHAT_TEMPLATE.replace("{% generation %}", "<<").replace("{% endgeneration %}", ">>")
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    template = jinja2.Environment(undefined=jinja2.StrictUndefined).from_string(text)
    said = template.render(messages=messages, bos_token="<s>", eos_token="</s>", add_generation_prompt=True)
    assert said == "<s>[user] Hi\n[assistant] <<Hello</s>>>\n[assistant] "


def rows_of(model: dict[str, bytes], name: str) -> list[list[float]]:
    """Return a matrix of the model, bfloat16 being the first half of a float."""
    data = model["model.safetensors"]
    (length,) = struct.unpack("<Q", data[:8])
    begin, end = json.loads(data[8 : 8 + length])[name]["data_offsets"]
    halves = data[8 + length + begin : 8 + length + end]
    numbers = [struct.unpack("<f", b"\0\0" + halves[place : place + 2])[0] for place in range(0, len(halves), 2)]
    return [numbers[start : start + 256] for start in range(0, len(numbers), 256)]


def test_a_speaking_model_says_its_lines_whatever_it_was_asked() -> None:
    lines = ("First, this.", "", r"\boxed{42}")
    model = speaking_model(lines)
    tokens = {number: token for token, number in json.loads(model["tokenizer.json"])["model"]["vocab"].items()}
    embedding, head = (rows_of(model, name) for name in ("model.embed_tokens.weight", "lm_head.weight"))
    norm = 16  # what the norm makes of a one among 255 zeros

    def follower(token: int) -> int:
        logits = [sum(norm * x * y for x, y in zip(embedding[token], row, strict=True) if x) for row in head]
        best = max(range(512), key=logits.__getitem__)
        assert sorted(logits)[-2] < logits[best] - 50
        return best

    assert {follower(token) for token in (0, 1, 2, 100, 300, 508)} == {509}
    said = [509]
    while said[-1] != 2:
        said.append(follower(said[-1]))
    assert "".join(tokens[number] for number in said[:-1]).replace("\u2581", " ") == "".join(
        f"{line}\n" for line in lines
    )
    for name in ("model.layers.0.self_attn.o_proj.weight", "model.layers.1.mlp.down_proj.weight"):
        assert not any(map(any, rows_of(model, name)))


def test_the_model_for_self_instruct_writes_a_question_and_its_answer() -> None:
    said = "\n".join(SELF_INSTRUCT)
    assert "[New Question]\nA baker" in said
    assert r"\boxed{42}" in said
    assert len(tiny_model()["model.safetensors"]) == len(find_model("self-instruct").make()["model.safetensors"])
    with pytest.raises(UsageError, match="no model is called 'self'"):
        find_model("self")


def test_a_script_finds_it_on_the_hub(tmp_path: Path) -> None:
    path = tmp_path / "config.py"
    path.write_text(
        "# /// script\n# dependencies = []\n# ///\n"
        "import os, sys, urllib.request\n"
        "url = os.environ['HF_ENDPOINT'] + '/' + sys.argv[1] + '/resolve/main/'\n"
        "print(len(urllib.request.urlopen(url + 'model.safetensors').read()))\n",
        encoding="utf-8",
    )
    shown = rehearse(path, arguments=["{model}"], steps=["run"], check=lambda result, _: result.stdout)
    assert shown.verdict("run").reason == f"{len(tiny_model()['model.safetensors'])}\n", to_text(shown)
