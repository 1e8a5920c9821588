# /// script
# requires-python = ">=3.11"
# dependencies = ["trl @ git+https://github.com/huggingface/trl@main"]
# ///
print("hello")
