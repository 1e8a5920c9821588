"""How fast train_sft.py trains, beside TRL's own command with equal settings.

    uv run python bench/train_sft.py [--quick] [--rounds N] [--model DIR]

The commands run in turns, in the environment of the script's header (on a machine without a GPU with the CPU builds of
tests/index), on a random Llama (29 M parameters, 7 M with --quick) and conversations of very different lengths. Every run
prints each step; what is compared are medians of seconds from the start to the first step, and of tokens of the data
(padding not counted) a second after it. Exits 1 when it trains
slower than the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from jobshelf.rehearse.environment import synced
from jobshelf.rehearse.tiny_model import tiny_model
from jobshelf.sample_data import questions
from jobshelf.script import read_script

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "catalog" / "train_sft.py"
LEAST_EQUAL = 0.98
SIZES = {True: (256, 768, 4), False: (512, 1536, 8)}  # hidden, inner, layers
MAKE_MODEL = """
import sys
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, set_seed
folder, hidden, inner, layers = sys.argv[1], *map(int, sys.argv[2:])
set_seed(0)
config = LlamaConfig.from_pretrained(folder, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers, head_dim=64,
                                     num_attention_heads=hidden // 64, num_key_value_heads=hidden // 128, dtype="float32")
LlamaForCausalLM(config).save_pretrained(folder)
"""
COMMON = (
    "--max_steps {steps} --logging_steps 1 --seed 1 --save_steps 1000 --lr_scheduler_type cosine --warmup_steps 0.1"
)
EQUAL = (
    "--max_length 512 --per_device_train_batch_size 8 --gradient_accumulation_steps 2 --learning_rate 2e-4 --lora_r 16 "
    "--lora_alpha 32 --lora_dropout 0 --gradient_checkpointing false --use_peft"
)
TRL = "--disable_tqdm true --report_to none --eval_strategy no --save_strategy no --use_cpu {cpu} --bf16 {bf16}"
_LOSS = re.compile(r"(?:'loss': '?|: loss )([0-9.]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """One run: seconds to the first step, tokens a second after it, the last loss."""

    start: float
    speed: float
    loss: float


def main() -> int:
    """Measure in turns, print medians and ratios; return 1 when a limit is broken."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a smaller model, fewer steps, three rounds")
    parser.add_argument("--rounds", type=int, help="default: 3 with --quick, else 7")
    parser.add_argument("--model", type=Path, help="folder of a model to train instead of the random one")
    asked = parser.parse_args()
    with builds() as variables, tempfile.TemporaryDirectory() as temporary:
        os.environ.update(variables)
        python = synced(SCRIPT, read_script(SCRIPT).require()).python
        folder = Path(temporary)
        model = asked.model or make_model(python, folder / "model", SIZES[asked.quick])
        write_rows(folder / "data", 400 if asked.quick else 1500)
        commands = all_commands(python, folder, model, steps=8 if asked.quick else 20)
        found: dict[str, list[Timed]] = {name: [] for name in commands}
        for number in range(asked.rounds or (3 if asked.quick else 7)):
            for name, argv in commands.items():
                found[name].append(run(argv, folder, f"{name}-{number}".replace(" ", "-")))
                print(f"{name}: {found[name][-1]}", flush=True)
    return report(found)


@contextmanager
def builds() -> Iterator[Mapping[str, str]]:
    """Yield the variables of the CPU builds where there is no GPU, else none."""
    sys.path.insert(0, str(ROOT / "tests"))
    from index import cpu_index

    if on_gpu():
        yield {}
    else:
        with cpu_index() as variables:
            yield variables


def on_gpu() -> bool:
    """Whether there is a GPU."""
    return shutil.which("nvidia-smi") is not None


def make_model(python: Path, folder: Path, size: Sequence[int]) -> Path:
    """Write a random model with the tokenizer of the rehearsals."""
    folder.mkdir()
    for name, data in tiny_model().items():
        (folder / name).write_bytes(data)
    subprocess.run([python, "-c", MAKE_MODEL, folder, *map(str, size)], check=True, capture_output=True)
    return folder


def write_rows(folder: Path, count: int) -> None:
    """Write conversations of one to sixteen questions, short ones more often; the same on every run."""
    folder.mkdir()
    rng = random.Random(0)
    asked = list(questions(200))
    with (folder / "train.jsonl").open("w") as stream:
        for _ in range(count):
            rows = rng.choices(asked, k=min(16, 1 + int(rng.expovariate(0.4))))
            turns = [
                {"role": role, "content": row[key]}
                for row in rows
                for role, key in (("user", "question"), ("assistant", "answer"))
            ]
            stream.write(json.dumps({"messages": turns}) + "\n")


def all_commands(python: Path, folder: Path, model: Path, *, steps: int) -> dict[str, list[str]]:
    """Return the command lines by name; `OUT` stands for a folder of each run."""
    cpu = str(not on_gpu()).lower()
    trl = [
        str(python.with_name("trl")),
        "sft",
        "--model_name_or_path",
        str(model),
        "--dataset_name",
        str(folder / "data"),
    ]
    ours = [str(python), str(SCRIPT), "--model_name_or_path", str(model), "--dataset_name", str(folder / "data")]
    common = COMMON.format(steps=steps).split()
    theirs = [*TRL.format(cpu=cpu, bf16=str(cpu == "false").lower()).split(), "--output_dir", "OUT"]
    equal = EQUAL.split()
    return {
        "train_sft": [*ours, *common, *equal, "--output_dir", "OUT"],
        "trl sft": [*trl, *common, *equal, "--lora_target_modules", "all-linear", *theirs],
    }


def run(argv: Sequence[str], folder: Path, name: str) -> Timed:
    """Run once, noting when each step is printed."""
    words = [str(folder / name) if word == "OUT" else word for word in argv]
    env = os.environ | {"PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "NO_COLOR": "1"}
    env["ACCELERATE_USE_CPU"] = str(not on_gpu()).lower()
    env["OMP_NUM_THREADS"] = str(os.cpu_count())  # else accelerate, which starts TRL, gives it one thread
    began = time.monotonic()
    process = subprocess.Popen(words, env=env, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    lines, told = [], []
    for line in process.stdout or ():
        lines.append(line)
        if match := _LOSS.search(line):
            told.append((time.monotonic() - began, float(match[1])))
    if process.wait() or len(told) < 2:
        raise SystemExit(f"{' '.join(words)}\n{''.join(lines)[-3000:]}")
    tokens = [float(match[1]) for line in lines if (match := re.search(r"'num_tokens': '?([0-9.e+]+)", line))]
    return Timed(
        start=told[0][0],
        speed=(tokens[-1] - tokens[0]) / (told[-1][0] - told[0][0]),
        loss=statistics.fmean(loss for _, loss in told[-3:]),
    )


def report(found: Mapping[str, Sequence[Timed]]) -> int:
    """Print medians and their ratio; return 1 when it is below the limit."""

    def median(name: str, figure: str) -> float:
        return statistics.median(getattr(one, figure) for one in found[name])

    for name in found:
        print(
            f"{name:<28}{median(name, 'speed'):>10,.0f} tokens/s{median(name, 'start'):>8.1f} s to the first step"
            f"{median(name, 'loss'):>9.4f} loss at the end"
        )
    equal = median("train_sft", "speed") / median("trl sft", "speed")
    start = median("train_sft", "start") - median("trl sft", "start")
    print(
        f"{equal:.2f}x the tokens a second of trl sft (at least {LEAST_EQUAL}); first step {start:+.1f} s, rehearsal included"
    )
    return int(equal < LEAST_EQUAL)


if __name__ == "__main__":
    raise SystemExit(main())
