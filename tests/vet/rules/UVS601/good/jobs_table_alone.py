# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.hf-jobs]
# flavor = "a10g-small"
# timeout = 3600
# env = { LEVEL = "info" }
# ///
print("hello")
