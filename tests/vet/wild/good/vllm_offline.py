# /// script
# requires-python = ">=3.11"
# dependencies = ["vllm"]
# ///
import json
import sys

from vllm import LLM, SamplingParams

prompts = [json.loads(line)["prompt"] for line in open(sys.argv[1], encoding="utf-8")]
engine = LLM("Qwen/Qwen3-0.6B", max_model_len=4096)
for prompt, answer in zip(prompts, engine.generate(prompts, SamplingParams(max_tokens=256)), strict=True):
    print(json.dumps({"prompt": prompt, "answer": answer.outputs[0].text}))
