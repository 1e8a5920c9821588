"""Block `train_run`: what happens between steps, what is said when resources end, what the log keeps."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from blocks.trainings import LOG, small_plan
from jobshelf import blocks

run, exits, recipe_block, checkpoints = (
    blocks.load(name) for name in ("train_run", "exits", "train_recipe", "checkpoints")
)


@pytest.fixture
def plan(tmp_path: Path) -> Any:
    return small_plan(tmp_path)


class Pusher:
    """Notes what it is given to push."""

    def __init__(self) -> None:
        self.pushed: list[Path] = []

    def push(self, folder: Path) -> None:
        self.pushed.append(folder)


def checkpoint(folder: Path, step: int) -> Path:
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    for name in ("optimizer.pt", "training_args.bin", "trainer_state.json"):
        (path / name).write_text("{}")
    return path


def test_a_checkpoint_is_sealed_with_what_the_next_attempt_needs(plan: Any, tmp_path: Path) -> None:
    pusher = Pusher()
    watcher = run.TrainWatcher(plan, pusher, None)
    path = checkpoint(tmp_path, 3)
    watcher.save(tmp_path, 3, last=False)
    found = checkpoints.newest_here(tmp_path)
    assert (found.step, found.facts["run_name"], found.facts["model_commit"]) == (3, "m-1", "c" * 40)
    assert recipe_block.TrainRecipe.from_json(found.facts["recipe"])["batch"] == 8
    assert not (path / "training_args.bin").exists()
    assert pusher.pushed == [tmp_path]


def test_the_last_checkpoint_is_not_pushed_unless_it_is_to_be_gone_on_from(plan: Any, tmp_path: Path) -> None:
    pusher = Pusher()
    watcher = run.TrainWatcher(plan, pusher, None)
    checkpoint(tmp_path, 4)
    watcher.save(tmp_path, 4, last=True)
    assert pusher.pushed == []
    watcher.stopping = True
    watcher.save(tmp_path, 4, last=True)
    assert pusher.pushed == [tmp_path]


def test_a_sigterm_saves_and_stops_after_the_step(plan: Any) -> None:
    watcher = run.TrainWatcher(plan, None, None)
    control = SimpleNamespace(should_save=False, should_log=False, should_training_stop=False)
    watcher.end_step(control)
    assert not (control.should_save or control.should_log or control.should_training_stop)
    watcher.stopping = True
    watcher.end_step(control)
    assert control.should_save
    assert control.should_log
    assert control.should_training_stop


def test_the_loss_is_looked_at_before_it_is_saved(plan: Any) -> None:
    control = SimpleNamespace(should_save=True, should_log=False, should_training_stop=False)
    run.TrainWatcher(plan, None, None).end_step(control)
    assert control.should_log


@pytest.mark.parametrize("figures", [{"loss": float("nan")}, {"loss": float("inf")}, {"eval_loss": float("nan")}])
def test_a_loss_that_is_no_number(plan: Any, figures: dict[str, float]) -> None:
    with pytest.raises(exits.Stop) as stop:
        run.TrainWatcher(plan, None, None).log(figures, 7, first=True)
    assert stop.value.code == 4
    assert "at step 7" in str(stop.value)
    assert "--learning-rate 2e-05" in str(stop.value)


def test_figures_are_told(plan: Any, capsys: pytest.CaptureFixture[str]) -> None:
    logged = []
    trackio = SimpleNamespace(log=lambda figures, step: logged.append((figures, step)))
    run.TrainWatcher(plan, None, trackio).log(
        {"loss": 2.0, "learning_rate": 1e-4, "eval_loss": 3.0, "x": "no"}, 5, first=True
    )
    assert "step 5: loss 2, eval_loss 3, learning_rate 0.0001" in capsys.readouterr().err
    assert logged == [({"train/loss": 2.0, "train/learning_rate": 1e-4, "eval/loss": 3.0}, 5)]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "out of memory"),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
            "out of memory",
        ),
        (MemoryError(), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "is full"),
    ],
)
def test_what_ran_out_and_what_to_change(plan: Any, error: Exception, said: str, tmp_path: Path) -> None:
    checkpoint(tmp_path / "checkpoints", 3)
    checkpoints.seal_checkpoint(tmp_path / "checkpoints" / "checkpoint-3", {})
    with pytest.raises(exits.Stop) as stop, run._explained(plan):
        raise error
    assert stop.value.code == 5
    assert said in str(stop.value)
    assert "the checkpoint of step 3 stays" in str(stop.value)
    if said == "out of memory":
        advice = ("--per-device-train-batch-size 4", "--max-length 256", "--gradient-checkpointing")
        assert all(word in str(stop.value) for word in advice)


def test_any_other_error_passes(plan: Any) -> None:
    with pytest.raises(RuntimeError, match="shapes"), run._explained(plan):
        raise RuntimeError("shapes do not fit")


def test_the_log_has_nothing_that_differs_by_nature() -> None:
    assert list(run._steady_log(LOG)) == [*LOG[:2], {"step": 2, "eval_loss": 2.5}]


def test_an_adapter_is_written_the_same_each_time(tmp_path: Path) -> None:
    config = tmp_path / "adapter_config.json"
    for names in (["v_proj", "q_proj"], ["q_proj", "v_proj"]):
        config.write_text(json.dumps({"target_modules": names, "modules_to_save": None, "r": 16}))
        run._sort_layers(config)
        content = {"modules_to_save": None, "r": 16, "target_modules": ["q_proj", "v_proj"]}
        assert config.read_text() == json.dumps(content, indent=2)
    config.write_text('{"target_modules": "all-linear"}')
    run._sort_layers(config)
    assert json.loads(config.read_text()) == {"target_modules": "all-linear"}
