"""A package index on loopback under which unchanged scripts get CPU builds of torch and vLLM.

`with cpu_index() as variables:` is the whole of it; for people, `python tests/index/serve.py -- uv run script.py`.
"""

from index.server import NotHere, cpu_index

__all__ = ["NotHere", "cpu_index"]
