"""A trainer as the trainers' checks see it: tokenised rows, and a model that knows so many tokens."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from datasets import Dataset

END = 3


def trainer(rows: list[dict[str, list[int]]], *, tokens: int = 100) -> Any:
    """Return what `check_rows` looks at."""
    weight = SimpleNamespace(shape=(tokens, 8))
    model = SimpleNamespace(get_input_embeddings=lambda: SimpleNamespace(weight=weight))
    tokenizer = SimpleNamespace(eos_token_id=END, eos_token="</s>", decode=lambda tokens: f"tokens {tokens}")
    return SimpleNamespace(train_dataset=Dataset.from_list(rows), model=model, processing_class=tokenizer)
