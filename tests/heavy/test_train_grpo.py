"""train_grpo.py with TRL itself: its losses, its options, what is refused in time, and what a reward teaches."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from catalog.conftest import CATALOG, jsonl
from heavy.conftest import Installed
from jobshelf import sample_data

pytestmark = [pytest.mark.heavy, pytest.mark.training, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
SCRIPT = CATALOG / "train_grpo.py"
# Eight of 512 tokens are sampled at random: about every second answer has an `a` in it, until that is learned.
JUDGE = """
def has_a(completions, answer, **columns):
    assert len(answer) == len(completions)
    return [float("a" in text) for text in completions]
"""
SHORT = ("--max_completion_length", "8", "--logging_steps", "1", "--disable_tqdm", "true")
FIVE = (*SHORT, "--max_steps", "5", "--save_steps", "5", "--learning_rate", "1e-3", "--eval_on_start", "false")
LORA = ("--use_peft", "true", "--lora_target_modules", "all-linear")
SUMS = [{"prompt": f"What is {number} + 1?", "solution": number + 1} for number in range(12)]


@pytest.fixture
def python(installed: Installed) -> Path:
    return installed(SCRIPT)


@pytest.fixture
def here(tmp_path: Path, user: Mapping[str, str]) -> Path:
    """A folder with questions and a module that judges."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.jsonl").write_bytes(
        jsonl([{"prompt": row["question"], "answer": row["answer"]} for row in sample_data.questions(40)])
    )
    (tmp_path / "judge.py").write_text(JUDGE)
    return tmp_path


@pytest.fixture
def run(here: Path, user: Mapping[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def start(*words: str | Path) -> subprocess.CompletedProcess[str]:
        argv = [*map(str, words)]
        return subprocess.run(argv, env={**user, "OMP_NUM_THREADS": "1"}, cwd=here, capture_output=True, text=True)

    return start


def trained(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("words", [LORA, ("--use_peft", "false")], ids=["lora", "full"])
def test_five_steps_are_those_of_trls_own_script(
    words: Sequence[str], run: Any, here: Path, python: Path, model: Path
) -> None:
    words = [*FIVE, *words, "--reward_funcs", "judge.has_a"]
    trl = next(python.parents[1].glob("lib/*/site-packages/trl/scripts/grpo.py"))
    place = ("--dataset_name", "./data", "--output_dir", "theirs", "--model_name_or_path", model)
    trained(run(python, trl, *place, *words, "--use_cpu", "true", "--bf16", "false", "--report_to", "none"))
    trained(run(python, SCRIPT, "./data", "./ours", "--model", model, *words))
    theirs = json.loads((here / "theirs/checkpoint-5/trainer_state.json").read_text())["log_history"]
    ours = [json.loads(line) for line in (here / "ours/training_log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in ours] == [1, 2, 3, 4, 5]
    for expected, found in zip(theirs, ours, strict=False):
        names = ("loss", "grad_norm", "entropy", "reward", "rewards/has_a/mean")
        assert [found[name] for name in names] == pytest.approx([expected[name] for name in names], abs=1e-5)
    (weights,) = (here / "ours").glob("*.safetensors")
    assert weights.read_bytes() == (here / "theirs" / weights.name).read_bytes()


LEARN = ("--reward-file", "judge.py", "--reward_funcs", "length", "--reward_weights", "0.1", "--full")
LEARN += ("--per_device_train_batch_size", "16", "--learning_rate", "3e-3", "--lr_scheduler_type", "constant")
LEARN += ("--warmup_steps", "0", "--max_steps", "16", "--save_steps", "4", *SHORT)


def test_the_reward_rises_killed_and_resumed_or_not(
    run: Any, here: Path, python: Path, model: Path, user: Mapping[str, str], record_property: Callable[..., None]
) -> None:
    argv = [str(word) for word in (python, "-u", SCRIPT, "./data", "./whole", "--model", model, *LEARN)]
    trained(run(*argv))
    killed = [word.replace("./whole", "./killed") for word in argv]
    env = {**user, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        killed, env=env, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as one:
        steps = list(islice((line for line in one.stdout if "'grad_norm'" in line), 8))
        one.kill()
    assert len(steps) == 8
    resumed = run(*killed)
    trained(resumed)
    assert "rehearsal" not in resumed.stdout and resumed.stdout.count("'grad_norm'") in {8, 12}
    whole, again = here / "whole", here / "killed"
    for name in ("model.safetensors", "training_log.jsonl"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    log = [json.loads(line) for line in (whole / "training_log.jsonl").read_text().splitlines()]
    before, after = (entry["eval_rewards/has_a/mean"] for entry in log if "eval_reward" in entry)
    record_property("figure", f"heavy: mean reward of GRPO before and after 16 steps: {before:.2f} and {after:.2f}")
    assert after > before + 0.3
    assert f"| rewards/has_a/mean | {before:.4f} | {after:.4f} |" in (whole / "README.md").read_text()


def test_every_option_is_taken_or_refused_as_trl_does(
    run: Any, python: Path, record_property: Callable[[str, object], None]
) -> None:
    done = run(python, HERE / "option_sweep.py", SCRIPT, "GRPOConfig")
    trained(done)
    found = json.loads(done.stdout.splitlines()[-1])
    record_property("figure", f"heavy: options of GRPOConfig and ModelConfig: {len(found['accepted'])} accepted")
    assert found["different"] == []
    assert len(found["accepted"]) > 200


def write(folder: Path, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    (folder / f"{name}.jsonl").write_bytes(jsonl([dict(row) for row in rows]))
    return f"{name}.jsonl"


def judge(folder: Path, name: str, returned: str) -> tuple[str, str]:
    (folder / f"{name}.py").write_text(f"def {name}(completions, **columns):\n    return {returned}\n")
    return "--reward-file", f"{name}.py"


def test_what_would_fail_late_is_refused_by_the_dry_run(run: Any, here: Path, python: Path, model: Path) -> None:
    asked = [{"role": "user", "content": "What is 1 + 1?"}]
    named = ("--reward_funcs", "accuracy", "format", "length")
    sums = write(here, "sums", SUMS)
    long = write(here, "long", [*SUMS, {"prompt": "word " * 3000, "solution": 1}])
    cases: list[tuple[str, Sequence[str], int, str]] = [
        (sums, named, 0, "accuracy_reward x 1, think_format_reward x 1, soft_overlong_punishment_reward x 1"),
        (write(here, "chats", [{"prompt": asked, "solution": "2", "level": 3}] * 4), named, 0, "4 prompts"),
        (sums, (*named, "--reward_weights", "0.5"), 0, "accuracy_reward x 0.5, think_format_reward x 1"),
        (sums, (*named, "--beta", "0.1", "--full"), 0, "12 prompts"),
        (sums, (*named, "--num-processes", "2", "--per_device_train_batch_size", "4"), 0, "12 prompts"),
        (sums, ("--reward_model_name_or_path", str(model)), 0, "12 prompts"),
        (sums, judge(here, "raises", "[1 / 0]"), 4, "the reward raises failed at raises.py:2: ZeroDivisionError"),
        (sums, judge(here, "few", "[1]"), 4, "the reward few returned 1 numbers for 4 completions"),
        (sums, judge(here, "nan", "[float('nan')] * len(completions)"), 4, "the reward nan returned nan"),
        (write(here, "other", [{"prompt": "a", "answer": "b"}] * 9), named, 4, "--map OLD=solution"),
        (write(here, "own", [{**row, "completions": "a"} for row in SUMS]), named, 4, "--map completions="),
        (write(here, "few", SUMS[:1]), (*named, "--per_device_train_batch_size", "16"), 4, "a step takes 2"),
        (long, named, 4, "row 12 has 12,002 tokens: no 512 more fit in 2,048"),
        (write(here, "empty", [*SUMS, {"prompt": "", "solution": 1}]), named, 4, "the prompt of row 12 is ''"),
        (write(here, "null", [*SUMS, {"prompt": None}]), named, 4, "the prompt of row 12 is None"),
        (write(here, "numbers", [{"prompt": 7, "solution": 1}] * 9), named, 4, "the prompt of row 0 is 7"),
        (
            write(here, "bare", [{"prompt": asked, "solution": 1}] * 9 + [{"prompt": [{"role": "user"}]}]),
            named,
            4,
            "the chat template refuses row 9",
        ),
        (sums, (*named, "--optim", "adamw_8bit"), 5, "bitsandbytes"),
        (sums, (*named, "--use_vllm", "true"), 5, "vllm"),
        (sums, (*named, "--lora_target_modules", "lm_head"), 4, "lm_head"),
        (sums, (*named, "--loss_type", "ppo"), 4, "Unknown loss type: ppo"),
        (sums, (*named, "--num_generations", "3"), 2, "must be divisible by num_generations (3)"),
        (sums, (*named, "--num_generations", "1"), 2, "at least 2 generations"),
        (sums, (*named, "--reward_weights", "1", "1", "1", "1"), 2, "in this order: accuracy_reward"),
        (sums, (), 2, "no reward was given"),
    ]
    lines = [[data, "./out", "--model", str(model), *words, "--dry-run"] for data, words, _, _ in cases]
    (here / "lines.json").write_text(json.dumps(lines))
    trained(run(python, HERE / "one_process.py", SCRIPT, "lines.json", "ends.json"))
    for (_, words, code, said), end in zip(cases, json.loads((here / "ends.json").read_text()), strict=True):
        line = end["said"].splitlines()[-1] if code else end["printed"]
        assert (end["code"], said in line) == (code, True), (words, end["said"][-2000:], end["printed"][-2000:])
        assert not code or re.fullmatch(r"error: .*\. Fix: .*", line)
        assert "Traceback" not in end["said"]
    assert not (here / "out").exists()
