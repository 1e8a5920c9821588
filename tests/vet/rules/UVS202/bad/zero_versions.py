# /// script
# requires-python = ">=3.11"
# dependencies = ["vllm>=0.11,<1"]
# ///
print("hello")
