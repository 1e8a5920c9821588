"""convert_to_gguf.py against llama.cpp's own converter and quantiser on the same files, a plain copy, and its memory bound.

    python tests/index/serve.py -- uv run python bench/gguf.py           # 60 M parameters: f16, q8_0
    python tests/index/serve.py -- uv run python bench/gguf.py --full    # 560 M parameters: q4_k_m as well

A random Llama is written; the script converts it to a folder, with and without an adapter; then llama.cpp's converter,
run by hand in the script's environment, and llama-quantize (of the PATH) make the same files. The script's times are its own of these two steps; the rest (asking the model, verifying) is
told apart. All of it three times, in turns: medians are compared. Memory is the peak of the largest process beyond pages of
mapped files.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from jobshelf.rehearse.tiny_model import tiny_model

SCRIPT = Path(__file__).parents[1] / "catalog" / "convert_to_gguf.py"
# hidden, inner, layers
QUICK, FULL = (512, 1536, 16), (1536, 6144, 14)
RANK = 16
ROUNDS = 3
LIMIT = 1.1
MEMORY_BASE, MEMORY_SHARE = 2e9, 1.3


def main() -> int:
    """Measure once and print a line for each figure; 1 when a limit is not kept."""
    full = "--full" in sys.argv[1:]
    quants = ("f16", "q8_0", "q4_k_m") if full else ("f16", "q8_0")
    root = Path(tempfile.mkdtemp(prefix="bench-gguf-"))
    try:
        model = write_model(root / "model", *(FULL if full else QUICK))
        adapter = write_adapter(root / "adapter", model)
        python = own_python()
        return report(root, model, adapter, python, quants)
    finally:
        shutil.rmtree(root)


def report(root: Path, model: Path, adapter: Path, python: Path, quants: tuple[str, ...]) -> int:
    """Print the comparison for one model and return the exit code."""
    size = (model / "model.safetensors").stat().st_size
    turns = [turn(root, model, python, quants) for _ in range(ROUNDS)]
    copying = median(one["copy"] for one in turns)
    print(f"model: {size / 1e9:.2f} GB; a plain copy of it, flushed: {copying:.2f} s, {size / 1e9 / copying:.2f} GB/s")
    kept = True
    for quant in quants:
        step = step_of(quant)
        taken, peer = (median(one[whose][quant] for one in turns) for whose in ("ours", "by hand"))
        kept = kept and taken <= LIMIT * peer
        print(
            f"{step}: {taken:.2f} s, llama.cpp's own {peer:.2f} s: {taken / peer:.2f}x (limit {LIMIT}x); "
            f"{size / 1e9 / taken:.2f} GB/s of the model, {taken / copying:.1f}x the copy"
        )
    ours, peak = turns[-1]["told"], max(one["peak"] for one in turns)
    rest = {what: seconds for what, seconds in ours["seconds"].items() if not what.startswith(("convert", "quantize"))}
    print(f"the rest: {', '.join(f'{what} {seconds:.1f} s' for what, seconds in rest.items())}")
    bound = memory_bound(*(FULL if "q4_k_m" in quants else QUICK))
    for name, most in (("model", peak), ("adapter", watched(python, adapter, root / "tuned", ("q8_0",))[1])):
        kept = kept and most <= bound
        print(f"peak memory, {name}: {most / 1e9:.2f} GB beyond mapped files (limit {bound / 1e9:.2f} GB)")
    return 0 if kept else 1


def turn(root: Path, model: Path, python: Path, quants: tuple[str, ...]) -> dict[str, Any]:
    """Copy the model, run the script and llama.cpp's own tools once each; every file is on the disk before the next begins."""
    copying = seconds_of(lambda: copied(model / "model.safetensors", root / "copy"))
    os.sync()
    told, peak = watched(python, model, root / "out", quants)
    shutil.rmtree(root / "out")
    os.sync()
    by_hands = {quant: by_hand(quant, model, root, python) for quant in quants}
    ours = {quant: told["seconds"][step_of(quant)] for quant in quants}
    return {"copy": copying, "told": told, "peak": peak, "ours": ours, "by hand": by_hands}


def step_of(quant: str) -> str:
    """Return what the script calls the step that makes the type."""
    return f"{'convert' if quant in {'f16', 'q8_0'} else 'quantize'} {quant.upper()}"


def memory_bound(hidden: int, inner: int, _: int) -> float:
    """Return 1.3 times the largest tensor in float32, and 2 GB."""
    return MEMORY_BASE + MEMORY_SHARE * 4 * hidden * inner


def own_python() -> Path:
    """Return the interpreter of the environment that uv makes for the script."""
    subprocess.run(["uv", "run", SCRIPT, "--help"], check=True, stdout=subprocess.DEVNULL)
    found = subprocess.run(["uv", "python", "find", "--script", SCRIPT], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())


def watched(python: Path, given: Path, out: Path, quants: tuple[str, ...]) -> tuple[dict[str, Any], int]:
    """Run the script; return what it prints as JSON, and the most memory in bytes that one of its processes had."""
    told = out.with_suffix(".peak")
    words = [python, SCRIPT, given, out, "--quants", ",".join(quants), "--json"]
    done = subprocess.run([sys.executable, "-c", WATCH, told, *words], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout), int(told.read_text())


def by_hand(quant: str, model: Path, root: Path, python: Path) -> float:
    """Return the seconds that llama.cpp's own tool takes for the type."""
    target = root / f"by-hand-{quant}.gguf"
    llama_cpp = next(python.parents[1].glob("lib/python*/site-packages/llama.cpp"))
    if quant in {"f16", "q8_0"}:
        argv = [python, llama_cpp / "convert_hf_to_gguf.py", model, "--outfile", target, "--outtype", quant]
        return seconds_of(lambda: subprocess.run(argv, check=True, stderr=subprocess.DEVNULL))
    through = root / "by-hand-bf16.gguf"
    argv = [python, llama_cpp / "convert_hf_to_gguf.py", model, "--outfile", through, "--outtype", "bf16"]
    subprocess.run(argv, check=True, stderr=subprocess.DEVNULL)
    tool = shutil.which("llama-quantize")
    if tool is None:
        sys.exit("--full needs llama-quantize in the PATH")
    return seconds_of(lambda: subprocess.run([tool, through, target, quant], check=True, stderr=subprocess.DEVNULL))


# Runs a command, and writes the most anonymous memory that it or a process below it had at once to a file.
WATCH = """
import subprocess, sys, time
from pathlib import Path
def anonymous(pid):
    try:
        text = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("RssAnon:")), 0)
    return max([own, *map(anonymous, children)])
process, most = subprocess.Popen(sys.argv[2:]), 0
while process.poll() is None:
    most = max(most, anonymous(process.pid))
    time.sleep(0.02)
Path(sys.argv[1]).write_text(str(most))
sys.exit(process.returncode)
"""


def seconds_of(work: Any) -> float:
    """Return the seconds that `work()` takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def copied(source: Path, target: Path) -> None:
    """Copy a file and wait until it is on the disk."""
    with source.open("rb") as reading, target.open("wb") as writing:
        shutil.copyfileobj(reading, writing, 1 << 22)
        writing.flush()
        os.fsync(writing.fileno())


def write_model(folder: Path, hidden: int, inner: int, layers: int) -> Path:
    """Write a random Llama in bfloat16 with the tokenizer of the tiny model."""
    folder.mkdir()
    for name, data in tiny_model().items():
        (folder / name).write_bytes(data)
    config = json.loads((folder / "config.json").read_text())
    shape = {"hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": layers}
    heads = {"num_attention_heads": hidden // 64, "num_key_value_heads": hidden // 64, "head_dim": 64}
    (folder / "config.json").write_text(json.dumps(config | shape | heads))
    write_tensors(folder / "model.safetensors", dict(shapes(hidden, inner, layers, config["vocab_size"])), "BF16")
    return folder


def shapes(hidden: int, inner: int, layers: int, words: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Yield the tensors of a Llama."""
    yield "model.embed_tokens.weight", (words, hidden)
    for layer in range(layers):
        inside = f"model.layers.{layer}"
        yield f"{inside}.input_layernorm.weight", (hidden,)
        yield f"{inside}.post_attention_layernorm.weight", (hidden,)
        for name in ("q", "k", "v", "o"):
            yield f"{inside}.self_attn.{name}_proj.weight", (hidden, hidden)
        for name, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))):
            yield f"{inside}.mlp.{name}_proj.weight", shape
    yield "model.norm.weight", (hidden,)
    yield "lm_head.weight", (words, hidden)


def write_adapter(folder: Path, model: Path) -> Path:
    """Write a random adapter of every linear layer of the model."""
    folder.mkdir()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "r": RANK,
        "lora_alpha": RANK,
        "target_modules": "all-linear",
    }
    (folder / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": str(model)}))
    with (model / "model.safetensors").open("rb") as stream:
        header = json.loads(stream.read(struct.unpack("<Q", stream.read(8))[0]))
    held = {}
    for name, entry in header.items():
        if name.endswith("_proj.weight"):
            rows, columns = entry["shape"]
            module = f"base_model.model.{name.removesuffix('.weight')}"
            held |= {f"{module}.lora_A.weight": (RANK, columns), f"{module}.lora_B.weight": (rows, RANK)}
    write_tensors(folder / "adapter_model.safetensors", held, "F32")
    return folder


def write_tensors(path: Path, held: dict[str, tuple[int, ...]], dtype: str) -> None:
    """Write random tensors; vectors are ones."""
    rng, width = np.random.default_rng(0), {"BF16": 2, "F32": 4}[dtype]
    header, end = {}, 0
    for name, shape in held.items():
        begin, end = end, end + width * math.prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        for shape in held.values():
            numbers = np.ones(shape, "<f4") if len(shape) == 1 else rng.standard_normal(shape, dtype="<f4") * 0.02
            stream.write(numbers.tobytes() if dtype == "F32" else (numbers.view("<u4") >> 16).astype("<u2").tobytes())


if __name__ == "__main__":
    raise SystemExit(main())
