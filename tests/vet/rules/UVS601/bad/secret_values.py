# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.hf-jobs.secrets]
# HF_TOKEN = "x"
# ///
print("hello")
