# /// script
# requires-python = ">=3.11"
# dependencies = []
# [project]
# name = "x"
# ///
print("hello")
