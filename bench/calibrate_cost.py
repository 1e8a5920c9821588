"""How far the estimates of estimate_cost are from TRL: trains tiny and small models here, prints predicted and measured.

    uv run --find-links DIR --with torch==2.13.0+cpu --with "trl>=1.16,<2" --with "peft<1" python bench/calibrate_cost.py

DIR holds a CPU build of torch for this Python ($PIP_FIND_LINKS, say); with a CUDA build and a GPU, it measures there.
A few optimizer steps of SFTTrainer on random tokens, each case in two processes: one for the speed, one for the peak of
memory beyond what the imports took. On a CPU one thread works and its processor time counts, so that other
work on the machine does not; the speed of a float32 matrix product there stands for the data sheet's figure; memory is
measured with the C library told to give back what is freed, else the peak is mostly what it keeps.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STEPS, WARM_UP = 3, 1
WORDS = 4096
# Makes the C library return freed memory at once.
TRIMMED = {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
# hidden, inner, layers, heads, key-value heads, length, batch, tuning, type of the weights
CASES = (
    (512, 1536, 8, 8, 4, 256, 4, "full", "float32"),
    (768, 2304, 12, 12, 4, 64, 1, "full", "float32"),
    (768, 2304, 12, 12, 4, 64, 1, "full", "bfloat16"),
    (768, 2304, 12, 12, 4, 256, 8, "lora", "float32"),
    (768, 2304, 12, 12, 4, 256, 8, "lora", "bfloat16"),
)


def main() -> None:
    """Measure every case and print one line each, then the worst ratios."""
    import torch

    from jobshelf.hardware import estimator

    script = estimator()
    peak = matrix_product_flops(torch)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else ""
    flavor = next((name for name, cells in script.FLAVORS.items() if cells[4] == 1 and cells[6] in gpu), "cpu-basic")
    script.VCPU_SPEED = (peak / 1e12, *script.VCPU_SPEED[1:])
    script.PADDING = (1, 1, 1)  # every row has the same length
    machine = script.Flavor(flavor, 1, *script.FLAVORS[flavor][1:])
    print(f"{gpu or 'one core'}: {peak / 1e12:.2f} TFLOP/s in a matrix product; torch {torch.__version__}")
    print(
        f"{'model':<32}{'tokens/s':>9}{'predicted low-likely-high':>28}{'ratio':>7}{'MB':>8}{'predicted':>11}{'ratio':>7}"
    )
    ratios: list[tuple[float, float]] = []
    for case in CASES:
        tokens, megabytes = measured(case, "speed"), measured(case, "memory")
        job = described(script, case)
        speed = [job.rows * case[5] / seconds for seconds in script.training_seconds(machine, job, case[6])]
        memory = sum(script.training_memory(machine, job, case[6]).values()) / 1e6
        ratios.append((tokens / speed[1], memory / megabytes))
        name = f"{job.model.parameters / 1e6:.1f} M {case[7]} {case[8]} {case[6]}x{case[5]}"
        shown = "{2:,.0f} - {1:,.0f} - {0:,.0f}".format(*speed)
        print(
            f"{name:<32}{tokens:>9,.0f}{shown:>28}{ratios[-1][0]:>7.2f}"
            f"{megabytes:>8,.0f}{memory:>11,.0f}{ratios[-1][1]:>7.2f}",
            flush=True,
        )
    speeds, memories = zip(*ratios, strict=True)
    print(f"speed: measured / likely {min(speeds):.2f} to {max(speeds):.2f}; ", end="")
    print(f"memory: predicted / measured {min(memories):.2f} to {max(memories):.2f}")


def described(script: Any, case: tuple[Any, ...]) -> Any:
    *_, length, batch, tuning, dtype = case
    size = ["--dataset-size", str(64 * batch), "--tokens-per-row", str(length), "--epochs", "1"]
    how = ["--max-length", str(length), "--tuning", tuning, "--dtype", dtype, "--batch-size", str(batch)]
    args = script.parse_arguments(["--model", "m", *size, *how])
    shape = script.read_shape(config(case) | {"max_position_embeddings": 0})
    return script.measure_data(args, script.Model("m", shape.count(1), shape, ""))


def config(case: tuple[Any, ...]) -> dict[str, Any]:
    hidden, inner, layers, heads, kv_heads, length, *_ = case
    return {
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": WORDS,
        "max_position_embeddings": length,
        "tie_word_embeddings": False,
    }


def matrix_product_flops(torch: Any) -> float:
    """Return the FLOP/s of the best of a few large products, in the dtype that the cases train in."""
    device, dtype, size = ("cuda", torch.bfloat16, 8192) if torch.cuda.is_available() else ("cpu", torch.float32, 2048)
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    torch.set_num_threads(1)
    for _ in range(6):
        began = now(torch)
        (left @ right).sum().item()
        best = max(best, 2 * size**3 / (now(torch) - began))
    return best


def now(torch: Any) -> float:
    """Return seconds: of the clock on a GPU, of this process's work on a CPU."""
    return time.perf_counter() if torch.cuda.is_available() else time.process_time()


def status_megabytes(key: str) -> float:
    """Return a figure of this process's status (Linux): `VmRSS`, memory now; `VmHWM`, its peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024 / 1e6


def measured(case: tuple[Any, ...], what: str) -> float:
    """Return tokens a second or megabytes at the peak (`what`), from a process of its own."""
    argv = [sys.executable, __file__, what, json.dumps(case)]
    environment = {**os.environ, **(TRIMMED if what == "memory" else {})}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def train(case: tuple[Any, ...], what: str) -> float:
    """Train one case in this process; return tokens a second after the warm-up, or megabytes at the peak."""
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    *_, length, batch, tuning, dtype = case
    on_gpu = torch.cuda.is_available()
    words = {"<pad>": 0, "<eos>": 1, "<unk>": 2} | {f"w{number}": number for number in range(3, WORDS)}
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(WordLevel(words, unk_token="<unk>")), pad_token="<pad>", eos_token="<eos>"
    )
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rows = torch.randint(3, WORDS, ((STEPS + WARM_UP) * batch, length)).tolist()
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            if on_gpu:
                torch.cuda.synchronize()
            times.append(now(torch))

    before = status_megabytes("VmRSS")
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config(case)), dtype=getattr(torch, dtype))
    with tempfile.TemporaryDirectory() as folder:
        trainer = SFTTrainer(
            model,
            args=SFTConfig(
                output_dir=folder,
                max_steps=STEPS + WARM_UP,
                per_device_train_batch_size=batch,
                max_length=length,
                bf16=on_gpu or dtype == "bfloat16",
                use_cpu=not on_gpu,
                report_to="none",
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_dict({"input_ids": rows}),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=16, target_modules="all-linear") if tuning == "lora" else None,
            callbacks=[Clock()],
        )
        Path("/proc/self/clear_refs").write_text(
            "5"
        )  # the peak counts from here (proc(5)), without that of the imports
        trainer.train()
    taken = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else status_megabytes("VmHWM") - before
    passed = times[-1] - times[WARM_UP - 1]
    return taken if what == "memory" else STEPS * batch * length / passed


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(train(tuple(json.loads(sys.argv[2])), sys.argv[1])))
    else:
        main()
