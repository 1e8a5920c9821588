# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# title = "MyST to Markdown"
# ///
"""My neighbours' questions, answered one by one by a model of their choice."""


def process(row: dict) -> str:
    """A function of the template's name, with a body of its own."""
    return row["text"].strip()


class Reader:
    def prepare(self, row: dict) -> dict:
        return dict(row)
