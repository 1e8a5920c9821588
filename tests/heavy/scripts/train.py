# /// script
# requires-python = ">=3.11"
# dependencies = ["trl>=1.16,<2", "peft>=0.21,<1", "torch>=2.8,<3"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Take one step of supervised fine-tuning: `train.py MODEL FOLDER`."""

import json
import sys
from contextlib import redirect_stdout
from importlib.metadata import distributions

import torch
from datasets import Dataset
from peft import LoraConfig
from trl import SFTConfig, SFTTrainer

model, folder = sys.argv[1:]
rows = [
    {"messages": [{"role": "user", "content": f"What is {n} + 3?"}, {"role": "assistant", "content": f"{n + 3}"}]}
    for n in range(8)
]
trainer = SFTTrainer(
    model=model,
    train_dataset=Dataset.from_list(rows),
    peft_config=LoraConfig(r=8, target_modules="all-linear"),
    args=SFTConfig(
        output_dir=folder,
        max_steps=1,
        per_device_train_batch_size=4,
        bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
        report_to="none",
    ),
)
before = {name: tensor.clone() for name, tensor in trainer.model.named_parameters() if tensor.requires_grad}
# the trainer reports how long it took: that is not part of the result
with redirect_stdout(sys.stderr):
    loss = trainer.train().training_loss
trainer.save_model(folder)
after = dict(trainer.model.named_parameters())
result = {
    "loss": loss,
    "steps": trainer.state.global_step,
    "trained": len(before),
    "changed": sum(not torch.equal(tensor, after[name]) for name, tensor in before.items()),
    "packages": {found.name: found.version for found in distributions()},
}
print(json.dumps(result))
