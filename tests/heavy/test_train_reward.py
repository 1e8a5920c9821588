"""train_reward.py with TRL itself: the losses of TRL alone, a model that scores, and refusals before the first step."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.conftest import CATALOG
from heavy.conftest import Installed
from heavy.pairs import Case, dry_runs, fill, losses, plain_losses, run_all

pytestmark = [pytest.mark.heavy, pytest.mark.training, pytest.mark.timeout(900)]

NAME = "train_reward.py"
STEPS = ["--max_steps", "5", "--logging_steps", "1", "--learning_rate", "1e-3", "--per_device_train_batch_size", "2"]
LORA = ["--use_peft", "--lora_target_modules", "all-linear", "--lora_task_type", "SEQ_CLS"]
TRAININGS = {
    "adapter": ("text", [*LORA, "--lora_modules_to_save", "score"]),
    "all weights": ("chats", ["--use_peft", "false"]),
    "margins": ("margins", ["--use_peft", "false"]),
    "centred": ("implicit chats", ["--use_peft", "false", "--center_rewards_coefficient", "0.01"]),
}
REFUSED = {
    "long pairs": Case(words=["--max_length", "4"], said="each pair has an answer of more than 4 tokens, row 0 of "),
    "a head of words": Case(words=["--lora_task_type", "CAUSAL_LM"], said="prepare_inputs_for_generation"),
    "no such module": Case(words=["--lora_target_modules", "q"], said="No modules were targeted for adaptation"),
    "no such token": Case(words=["--eos_token", "<stop>"], said="The specified `eos_token` ('<stop>') is not found"),
    "no such template": Case(words=["--chat_template_path", "./missing"], said="./missing"),
    "8-bit AdamW": Case(words=["--optim", "adamw_8bit"], code=5, said="bitsandbytes"),
    "a margin": Case(rows="a margin is missing", said="row 7 of a margin is missing.jsonl: margin is None"),
    "fewer tokens": Case(rows="chats", model="few tokens", said="the model has 300 tokens"),
    "refused by the template": Case(rows="chats", model="refusing", said="row 9: TemplateError('I refuse')"),
    "no template": Case(rows="chats", model="no template", said="row 0: ValueError('Cannot use chat template"),
    "tools": Case(rows="tools that are no JSON", said="row 3: JSONDecodeError"),
    "mixed": Case(rows="a prompt in text, answers in messages", said="prompt is text, expected messages"),
    "no such option": Case(words=["--max_seq_length", "512"], code=2, said="did you mean --max_length?"),
}
SCORE = """
import sys, torch
from peft import AutoPeftModelForSequenceClassification
from transformers import AutoTokenizer
model = AutoPeftModelForSequenceClassification.from_pretrained(sys.argv[1], num_labels=1).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model.config.pad_token_id = tokenizer.pad_token_id
texts = tokenizer(sys.argv[2:], return_tensors="pt", padding=True, return_token_type_ids=False)
with torch.no_grad():
    print(*model(**texts).logits.squeeze(-1).tolist())
"""


@pytest.fixture
def python(installed: Installed) -> Path:
    return installed(CATALOG / NAME)


@pytest.fixture
def env(user: dict[str, str]) -> dict[str, str]:
    return {**user, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def test_it_stops_before_the_first_step(python: Path, env: dict[str, str], tmp_path: Path) -> None:
    """Each in one line that ends with a fix, and without a traceback."""
    for name, ended in dry_runs(python, NAME, REFUSED, tmp_path, env).items():
        lines = [line for line in ended["said"].splitlines() if line.startswith("error: ")]
        assert ended["code"] == REFUSED[name].code, (name, ended["said"][-2000:])
        assert len(lines) == 1, name
        assert REFUSED[name].said in lines[0], name
        assert ". Fix: " in lines[0], name
        assert "Traceback" not in ended["said"], name
    assert not (tmp_path / "out").exists()


def test_five_steps_have_the_losses_of_trl_alone(
    python: Path, env: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Of an adapter, all weights, with margins and with rewards around zero; then the adapter scores."""
    fill(tmp_path)
    lines = [
        [f"{rows}.jsonl", f"./{name}", "--model", "tiny", *STEPS, *words] for name, (rows, words) in TRAININGS.items()
    ]
    longer = ["text.jsonl", "./trained", "--model", "tiny", "--num_train_epochs", "20", "--learning_rate", "3e-3"]
    longer += ["--eval_strategy", "epoch", "--dataset_test_split", "train", "--logging_steps", "1000"]
    for line, ended in zip([*lines, longer], run_all(python, NAME, [*lines, longer], tmp_path, env), strict=True):
        assert ended["code"] == 0, (line, ended["said"][-2000:])
    alone = [["tiny", f"{rows}.jsonl", *STEPS, *words] for rows, words in TRAININGS.values()]
    worst = 0.0
    for name, expected in zip(TRAININGS, plain_losses(python, "reward", alone, tmp_path, env), strict=True):
        assert losses(tmp_path / name) == pytest.approx(expected, abs=1e-5), name
        assert len(expected) == 5
        assert max(expected) - min(expected) > 1e-4, name
        worst = max(worst, *(abs(a - b) for a, b in zip(losses(tmp_path / name), expected, strict=True)))
    record_property("figure", f"heavy: losses of {NAME} beside TRL alone: {worst:.1e} apart at most")

    log = [json.loads(line) for line in (tmp_path / "trained" / "training_log.jsonl").read_text().splitlines()]
    assert [entry["eval_accuracy"] for entry in log if "eval_accuracy" in entry][-1] == 1
    row = json.loads((tmp_path / "text.jsonl").read_text().splitlines()[0])
    words = [row["prompt"] + row[name] for name in ("chosen", "rejected")]
    argv = [python, "-c", SCORE, "./trained", *words]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    better, worse = map(float, done.stdout.split())
    assert better > worse


def test_every_option_of_trl(
    python: Path, env: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each is taken as TRL's parser takes it, spelt with underscores or dashes, or refused by TRL."""
    argv = [python, Path(__file__).with_name("option_sweep.py"), CATALOG / NAME, "RewardConfig"]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    taken, refused = len(found["accepted"]), len(found["refused"])
    record_property("figure", f"heavy: RewardConfig and ModelConfig: {taken} options taken, {refused} refused by TRL")
    assert found["different"] == []
    assert taken > 130
    assert refused < 15
