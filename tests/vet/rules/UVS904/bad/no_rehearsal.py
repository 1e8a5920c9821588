# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# version = "0.1.0"
# ///
