"""train_dpo.py with TRL itself: the losses of TRL alone, adapters trained further, and refusals before the first step."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.conftest import CATALOG
from heavy.conftest import Installed
from heavy.pairs import Case, dry_runs, fill, losses, plain_losses, run_all
from support import until

pytestmark = [pytest.mark.heavy, pytest.mark.training, pytest.mark.timeout(900)]

NAME = "train_dpo.py"
STEPS = ["--max_steps", "5", "--logging_steps", "1", "--learning_rate", "1e-3", "--per_device_train_batch_size", "2"]
LORA = ["--use_peft", "--lora_target_modules", "all-linear"]
TRAININGS = {
    "adapter": ("text", LORA),
    "all weights": ("chats", ["--use_peft", "false"]),
    "scored before": ("implicit chats", ["--use_peft", "false", "--precompute_ref_log_probs"]),
    "two losses": ("implicit text", [*LORA, "--loss_type", "sigmoid", "sft", "--loss_weights", "1", "0.5"]),
}
REFUSED = {
    "long prompts": Case(words=["--max_length", "4"], said="each prompt has 4 tokens or more, row 0 has "),
    "an adapter on lm_head": Case(words=["--lora_target_modules", "lm_head"], said="Remove `'lm_head'`"),
    "a moving reference": Case(words=["--sync_ref_model"], said="`sync_ref_model=True` while using a PEFT model"),
    "no smoothing": Case(words=["--loss_type", "exo_pair"], said="Label smoothing must be greater than 0.0"),
    "no such loss": Case(words=["--loss_type", "best"], said="Unknown loss type: best"),
    "two that exclude each other": Case(words=["--loss_type", "aot", "--use_weighting"], said="not implemented for"),
    "no expert": Case(words=["--router_aux_loss_coef", "0.1"], said="not a Mixture-of-Experts model"),
    "8-bit AdamW": Case(words=["--optim", "adamw_8bit"], code=5, said="bitsandbytes"),
    "4 bits": Case(words=["--load_in_4bit"], code=5, said="bitsandbytes"),
    "flash attention": Case(words=["--attn_implementation", "flash_attention_2"], code=5, said="flash"),
    "fewer tokens": Case(rows="chats", model="few tokens", said="the model has 300 tokens"),
    "refused by the template": Case(rows="chats", model="refusing", said="row 9: TemplateError('I refuse')"),
    "no template": Case(rows="chats", model="no template", said="row 0: ValueError('Cannot use chat template"),
    "tools": Case(rows="tools that are no JSON", said="row 3: JSONDecodeError"),
    "mixed": Case(rows="a prompt in text, answers in messages", said="prompt is text, expected messages"),
    "empty": Case(rows="an answer is empty", said="row 5: "),
    "apart": Case(rows="without a common prompt", said="row 0: ValueError('Cannot apply chat template to an empty"),
    "no such option": Case(words=["--max_seq_length", "512"], code=2, said="did you mean --max_length?"),
}


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
    fill(tmp_path)
    lines = [
        [f"{rows}.jsonl", f"./{name}", "--model", "tiny", *STEPS, *words] for name, (rows, words) in TRAININGS.items()
    ]
    for line, ended in zip(lines, run_all(python, NAME, lines, tmp_path, env), strict=True):
        assert ended["code"] == 0, (line, ended["said"][-2000:])
    alone = [["tiny", f"{rows}.jsonl", *STEPS, *words] for rows, words in TRAININGS.values()]
    worst = 0.0
    for name, expected in zip(TRAININGS, plain_losses(python, "dpo", alone, tmp_path, env), strict=True):
        assert losses(tmp_path / name) == pytest.approx(expected, abs=1e-5), name
        assert len(expected) == 5
        assert max(expected) - min(expected) > 1e-4, name
        worst = max(worst, *(abs(a - b) for a, b in zip(losses(tmp_path / name), expected, strict=True)))
    record_property("figure", f"heavy: losses of {NAME} beside TRL alone: {worst:.1e} apart at most")


def test_the_command_lines_in_the_docstring_of_trl(python: Path, env: dict[str, str], tmp_path: Path) -> None:
    """In full and with LoRA, as they stand there but for model, dataset and the number of steps."""
    where = "import importlib.util, pathlib; print(pathlib.Path(importlib.util.find_spec('trl').origin).parent)"
    found = subprocess.run([python, "-c", where], capture_output=True, text=True, check=True)
    text = (Path(found.stdout.strip()) / "scripts" / "dpo.py").read_text().replace("\\\n", " ")
    lines = [line.split()[2:] for line in text.splitlines() if line.startswith("python trl/scripts/dpo.py")]
    assert len(lines) == 2
    fill(tmp_path)
    (tmp_path / "rows").mkdir()
    for split in ("train", "test"):
        (tmp_path / "rows" / f"{split}.jsonl").write_bytes((tmp_path / "chats.jsonl").read_bytes())
    changed = {"--dataset_name": "rows", "--model_name_or_path": "tiny", "--max_steps": "3", "--eval_steps": "2"}
    for number, line in enumerate(lines):
        for option, value in {**changed, "--output_dir": f"out{number}"}.items():
            line[line.index(option) + 1] = value
    for number, ended in enumerate(run_all(python, NAME, lines, tmp_path, env)):
        assert ended["code"] == 0, ended["said"][-2000:]
        names = {path.name for path in (tmp_path / f"out{number}").iterdir()}
        assert {"README.md", ["model.safetensors", "adapter_model.safetensors"][number]} <= names
        assert "eval_rewards/accuracies" in (tmp_path / f"out{number}" / "training_log.jsonl").read_text()


def test_an_adapter_is_trained_further_and_resumed(python: Path, env: dict[str, str], tmp_path: Path) -> None:
    """Its reference is the adapter as it was; killed after its second checkpoint, it becomes the same, byte for byte."""
    words = ["text.jsonl", "./adapter", "--model", "tiny", "--max_steps", "3", "--learning_rate", "1e-2"]
    (first,) = run_all(python, NAME, [words], tmp_path, env)
    assert first["code"] == 0, first["said"][-2000:]
    further = ["--model", "./adapter", "--max_steps", "8", "--save_steps", "1", "--logging_steps", "1"]
    argv = [python, CATALOG / NAME, "chats.jsonl", "./killed", *further]
    with subprocess.Popen(argv, env=env, cwd=tmp_path, stdout=-3, stderr=-3) as process:
        until((tmp_path / "killed" / "checkpoint-2" / "trainer_state.json").exists)
        process.kill()
    assert not (tmp_path / "killed" / "training_log.jsonl").exists()
    for output in ("./killed", "./whole"):
        done = subprocess.run(
            [*argv[:3], output, *further], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr[-2000:]
        assert "./adapter is an adapter for tiny" in done.stdout
    whole, killed = ({path.name: path.read_bytes() for path in files(tmp_path / name)} for name in ("whole", "killed"))
    assert killed.pop("README.md") != b""
    assert killed == {name: data for name, data in whole.items() if name != "README.md"}
    assert losses(tmp_path / "whole")[0] == pytest.approx(0.6931, abs=1e-3)
    assert whole["adapter_model.safetensors"] != (tmp_path / "adapter" / "adapter_model.safetensors").read_bytes()
    assert not (tmp_path / "whole" / "ref").exists()
    front = json.loads((tmp_path / "whole" / "README.md").read_text().splitlines()[1])
    assert (front["base_model"], front["library_name"]) == ("tiny", "peft")


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_every_option_of_trl(
    python: Path, env: dict[str, str], tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Each is taken as TRL's parser takes it, spelt with underscores or dashes, or refused by TRL."""
    argv = [python, Path(__file__).with_name("option_sweep.py"), CATALOG / NAME, "DPOConfig"]
    done = subprocess.run(argv, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    record_property(
        "figure",
        f"heavy: options of DPOConfig and ModelConfig: {len(found['accepted'])} accepted, {len(found['refused'])} refused by TRL",
    )
    assert found["different"] == []
    assert len(found["accepted"]) > 140
    assert len(found["refused"]) < 15
