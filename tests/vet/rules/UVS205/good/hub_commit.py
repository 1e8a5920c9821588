# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "x @ https://huggingface.co/datasets/a/wheels/resolve/0123456789012345678901234567890123456789/x-1.0-py3-none-any.whl",
# ]
# ///
print("hello")
