# /// script
# requires-python = ">=3.11"
# dependencies = ["vllm>=0.11,<0.12"]
# [[tool.uv.index]]
# url = "https://wheels.vllm.ai/nightly"
# ///
print("hello")
