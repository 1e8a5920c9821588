# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# title = "My dataset script"
# ///
print("hello")
