# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# title = "Named"
# ///
print("hello")
