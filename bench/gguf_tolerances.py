"""How far each type of GGUF is off on models that learnt a language: what the tolerances of convert_to_gguf.py rest on.

    python tests/index/serve.py -- uv run python bench/gguf_tolerances.py

Two small Llamas learn the project's own sources and guides for some minutes, so that their weights are shaped by a text as those
of real models are, and not drawn at random. The script converts each to every type; the figure is its own: the RMS
difference of the log-probabilities of the likeliest tokens, as a share of their standard deviation.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "catalog" / "convert_to_gguf.py"
QUANTS = ("f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m", "q3_k_m", "q2_k")
# hidden, inner, layers, steps
MODELS = ((256, 768, 4, 400), (512, 1536, 4, 200))
BATCH, LENGTH, RATE = 16, 128, 2e-3
_OFF = re.compile(r"predictions differ by ([0-9.e-]+)")


def main() -> int:
    """Teach, convert and print a row for each model."""
    root = Path(tempfile.mkdtemp(prefix="bench-tolerances-"))
    try:
        python = own_python()
        base = root / "base"
        base.mkdir()
        from jobshelf.rehearse.tiny_model import tiny_model

        for name, data in tiny_model().items():
            (base / name).write_bytes(data)
        print("| model | loss |" + "".join(f" {quant} |" for quant in QUANTS))
        for hidden, inner, layers, steps in MODELS:
            model = root / f"model-{hidden}"
            words = [str(one) for one in (base, model, hidden, inner, layers, steps)]
            loss = subprocess.run(
                [python, __file__, "teach", *words], check=True, stdout=subprocess.PIPE, text=True
            ).stdout
            found = [error_of(python, model, quant, root) for quant in QUANTS]
            print(f"| {hidden} x {layers} | {loss.strip()} |" + "".join(f" {one} |" for one in found), flush=True)
    finally:
        shutil.rmtree(root)
    return 0


def own_python() -> Path:
    """Return the interpreter of the environment that uv makes for the script."""
    subprocess.run(["uv", "run", SCRIPT, "--help"], check=True, stdout=subprocess.DEVNULL)
    found = subprocess.run(["uv", "python", "find", "--script", SCRIPT], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())


def error_of(python: Path, model: Path, quant: str, root: Path) -> str:
    """Return the figure of one type, also where the script refuses the file for it."""
    out = root / f"{model.name}-{quant}"
    argv = [python, SCRIPT, model, out, "--quants", quant, "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return f"{json.loads(done.stdout)['made'][quant.upper()]['error']:g}"
    refused = _OFF.search(done.stderr)
    return f"{float(refused[1]):g} (refused)" if refused else done.stderr.strip().splitlines()[-1]


def teach(base: Path, folder: Path, hidden: int, inner: int, layers: int, steps: int) -> None:
    """Train a Llama on the project's texts, with the tokenizer of `base`, and print its last loss. Runs in the script's own Python."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForCausalLM, LlamaConfig

    texts = [
        path.read_text("utf-8")
        for name in ("docs", "catalog", "templates/blocks")
        for path in sorted((ROOT / name).glob("*.*"))
    ]
    encode = Tokenizer.from_file(str(base / "tokenizer.json")).encode
    tokens = torch.tensor([number for text in texts for number in encode(text, add_special_tokens=False).ids])
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 128,
        head_dim=64,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=1,
        eos_token_id=2,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    recent: list[float] = []
    for _ in range(steps):
        places = torch.randint(len(tokens) - LENGTH, (BATCH,))
        batch = torch.stack([tokens[place : place + LENGTH] for place in places.tolist()])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        recent = [*recent[-19:], loss.item()]
    model.to(torch.bfloat16).save_pretrained(folder)
    for path in base.glob("tokenizer*"):
        shutil.copy(path, folder)
    print(f"{sum(recent) / len(recent):.2f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["teach"]:
        teach(Path(sys.argv[2]), Path(sys.argv[3]), *(int(word) for word in sys.argv[4:8]))
    else:
        sys.exit(main())
