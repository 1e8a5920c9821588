# /// script
# requires-python = ">=3.11"
# dependencies = ["vllm>=0.20,<1"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Answer three questions with vLLM: `generate.py MODEL [ENGINE_ARGUMENTS as JSON]`."""

import json
import sys
from importlib.metadata import distributions


def main() -> None:
    from vllm import LLM, SamplingParams

    model, engine = sys.argv[1], json.loads(sys.argv[2])
    llm = LLM(model=model, **engine)
    asked = [[{"role": "user", "content": f"What is {number} + 3?"}] for number in range(3)]
    answered = llm.chat(asked, SamplingParams(temperature=0, max_tokens=8, ignore_eos=True))
    result = {
        "tokens": [len(one.outputs[0].token_ids) for one in answered],
        "prompts": [len(one.prompt_token_ids) for one in answered],
        "packages": {found.name: found.version for found in distributions()},
    }
    print(json.dumps(result))


# vLLM may start processes that read this file again
if __name__ == "__main__":
    main()
