# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8,<3", "transformers>=5,<6"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Continue a text with transformers: `load.py MODEL`."""

import json
import sys
from importlib.metadata import distributions

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

model = AutoModelForCausalLM.from_pretrained(sys.argv[1])
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
prompt = tokenizer("What is 2 + 3?", return_tensors="pt")
written = model.generate(**prompt, max_new_tokens=8, min_new_tokens=8, do_sample=False)
result = {
    "accelerator": torch.cuda.is_available(),
    "parameters": model.num_parameters(),
    "prompt": prompt.input_ids.shape[1],
    "tokens": written.shape[1],
    "packages": {found.name: found.version for found in distributions()},
}
print(json.dumps(result))
