"""Train on pairs as TRL's own scripts do, and print the losses of each: `python plain_pairs.py dpo|reward LINES.json`.

A line is a model, a jsonl file, and options of TRL.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from datasets import load_dataset
from trl import (
    DPOConfig,
    DPOTrainer,
    ModelConfig,
    RewardConfig,
    RewardTrainer,
    TrlParser,
    get_peft_config,
)

config, trainer = {"dpo": (DPOConfig, DPOTrainer), "reward": (RewardConfig, RewardTrainer)}[sys.argv[1]]
found = []
for model, rows, *words in json.loads(Path(sys.argv[2]).read_text()):
    settings = ["--output_dir", "plain", "--use_cpu", "--bf16", "false", "--save_strategy", "no"]
    args, model_args = TrlParser((config, ModelConfig)).parse_args_and_config([*settings, *words])
    args.model_init_kwargs = {"dtype": model_args.dtype}
    dataset = load_dataset("json", data_files=rows, split="train")
    made = trainer(model, args=args, train_dataset=dataset, peft_config=get_peft_config(model_args))
    made.train()
    found.append([entry["loss"] for entry in made.state.log_history if "loss" in entry])
print(json.dumps(found))
