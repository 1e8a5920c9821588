"""Count.

    hf jobs uv run -e HF_TOKEN=$HF_TOKEN https://example.org/count.py
"""
