# /// script
# requires-python = ">=3.11"
# dependencies = ["huggingface-hub>=2,<3", "huggingface_hub>=2,<3"]
# ///
print("hello")
