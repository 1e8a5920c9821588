# /// script
# requires-python = ">=3.11"
# dependencies = ["transformers>=5.19,<6", "peft>=0.21,<1", "torch>=2.8,<3"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Load what a trainer pushed, as its card says, and use it: `load_trained.py KIND BASE REPO`; BASE is "" for whole models."""

import json
import sys

import torch
import transformers
from peft import PeftModel

kind, base, repo = sys.argv[1:]
options = {"num_labels": 1} if kind == "AutoModelForSequenceClassification" and base else {}
model = getattr(transformers, kind).from_pretrained(base or repo, dtype=torch.float32, **options)
if base:
    model = PeftModel.from_pretrained(model, repo)
tokenizer = transformers.AutoTokenizer.from_pretrained(repo)
inputs = tokenizer("What is 2 + 3?", return_tensors="pt")
inputs.pop("token_type_ids", None)
result = {"template": bool(tokenizer.chat_template), "adapters": len(getattr(model, "peft_config", {}))}
with torch.inference_mode():
    if kind == "AutoModelForCausalLM":
        made = model.generate(**inputs, max_new_tokens=8, do_sample=False)
        result["tokens"] = made.shape[1] - inputs["input_ids"].shape[1]
    else:
        result["reward"] = model(**inputs).logits.squeeze().item()
print(json.dumps(result))
