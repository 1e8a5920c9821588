"""A small training, planned but not run: what the tests of the blocks train_run and train_card begin with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from jobshelf import blocks

job_block, recipe_block, options = (blocks.load(name) for name in ("train_job", "train_recipe", "train_options"))
SETTINGS = {
    "tuning": "lora",
    "learning_rate": 2e-4,
    "batch": 8,
    "accumulation": 2,
    "max_length": 512,
    "checkpointing": False,
    "grouped": False,
    "steps": 4,
    "dtype": "float32",
}
LOG = [
    {"step": 1, "loss": 3.0, "mean_token_accuracy": 0.1, "epoch": 0.5, "num_tokens": 10.0},
    {"step": 2, "loss": 2.0, "mean_token_accuracy": 0.2, "epoch": 1.0, "num_tokens": 20.0},
    {"step": 2, "eval_loss": 2.5, "eval_runtime": 1.2, "eval_samples_per_second": 3.0},
    {"step": 2, "train_runtime": 9.0, "train_loss": 2.5},
]


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options.add_training_options(parser)
    return options.parse_training(parser, ["d/s", "alice/out", "--model", "m/b", *words])


def small_plan(folder: Path) -> Any:
    settings = {name: recipe_block.TrainSetting(value=value, reason="a reason") for name, value in SETTINGS.items()}
    return job_block.TrainPlan(
        method="SFT",
        model="m/b",
        revision="c" * 40,
        label="d/s@abc",
        folder=str(folder),
        checkpoint=None,
        repo_id="alice/out",
        run={"script": "train_sft.py", "request": {"n": 1}, "source": "a" * 40, "dataset_commit": "a" * 40},
        recipe=recipe_block.TrainRecipe(settings).to_json(),
        options=vars(arguments()),
        run_name="m-1",
        space=None,
        private=False,
        processes=1,
        on_cpu=True,
    )
