"""Count."""
# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# title = "Count rows"
# ///
print("hello")
