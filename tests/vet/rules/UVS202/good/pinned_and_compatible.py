# /// script
# requires-python = ">=3.11"
# dependencies = ["polars==2.1.0", "trl~=1.2", "vllm>=0.11,<0.12"]
# ///
print("hello")
