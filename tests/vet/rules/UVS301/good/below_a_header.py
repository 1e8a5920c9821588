# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Print the version.

Reads nothing.
"""
