# /// script
# requires-python = ">=3.11"
# dependencies = ["trl @ git+https://github.com/huggingface/trl@0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"]
# ///
print("hello")
