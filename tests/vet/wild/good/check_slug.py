# /// script
# requires-python = ">=3.11"
# dependencies = ["pytest", "python-slugify"]
# ///
"""Tests of slugify; run them with `uv run pytest check_slug.py`.

    uv run pytest check_slug.py -k accents
"""

import sys

import pytest
from slugify import slugify


@pytest.mark.parametrize(("text", "slug"), [("Hello, World", "hello-world"), ("Crème brûlée", "creme-brulee")])
def test_slug(text, slug):
    assert slugify(text) == slug


if __name__ == "__main__":
    sys.exit(pytest.main([__file__, "-q"]))
