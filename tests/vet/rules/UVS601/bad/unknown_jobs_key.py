# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.hf-jobs]
# gpu = "a10g-small"
# ///
print("hello")
