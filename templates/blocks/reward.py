# block: reward 1
"""A reward model: how good a response to a prompt is, as one number.

Promises: a model that is none is refused by its config, before its weights are loaded; batches as long as memory allows;
the same conversations give the same rewards to 1e-5, whatever they are batched with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from .engine import Conversation, EngineModel
from .exits import EXIT_ENVIRONMENT, EXIT_INPUT, Stop, one_line

if TYPE_CHECKING:
    import torch

REWARD_BATCH = 16


def require_reward_model(model: EngineModel) -> None:
    """Stop with 4 when the config of `model` is not that of a model that gives one number for a text."""
    from transformers import AutoConfig

    options = {"revision": model.commit} if model.commit else {}
    try:
        config = AutoConfig.from_pretrained(model.name, **options)
    except (OSError, ValueError, KeyError) as error:
        message = f"the config of {model.name} cannot be read: {one_line(error)[:300]}"
        raise Stop(EXIT_INPUT, message, fix="name a model that transformers can load") from error
    kinds = config.architectures or []
    if config.num_labels != 1 or not any(kind.endswith("ForSequenceClassification") for kind in kinds):
        message = (
            f"{model.name} is no reward model ({', '.join(kinds) or 'no architecture'}, {config.num_labels} labels)"
        )
        raise Stop(
            EXIT_INPUT, message, fix="name a sequence classification model with one label, trained on preferences"
        )


class RewardModel:
    """A sequence classification model with one label, from transformers."""

    packages = ("transformers", "torch")

    def __init__(self, model: EngineModel) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        options: dict[str, Any] = {"revision": model.commit} if model.commit else {}
        place = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = torch.bfloat16 if place == "cuda" else torch.float32
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(model.name, padding_side="right", **options)
            self._model = AutoModelForSequenceClassification.from_pretrained(model.name, dtype=dtype, **options)
        except (OSError, RuntimeError, ValueError) as error:
            message = f"the reward model {model.name} cannot be loaded: {one_line(error)[:300]}"
            raise Stop(EXIT_ENVIRONMENT, message, fix="check the model and the memory of the machine") from error
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._model.config.pad_token_id = self._tokenizer.pad_token_id
        self._model.to(place).eval()
        self._longest = getattr(self._model.config, "max_position_embeddings", None) or 4096

    def rewards(self, conversations: Sequence[Conversation]) -> list[float]:
        """Return the reward of each conversation, which ends with the response; the start of too long ones counts."""
        texts = [self._tokens(conversation) for conversation in conversations]
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))  # alike lengths make little padding
        found: dict[int, float] = {}
        rest = iter(order)
        while places := list(islice(rest, REWARD_BATCH)):
            found.update(zip(places, self._batch([texts[place] for place in places]), strict=True))
        return [found[place] for place in range(len(texts))]

    def _tokens(self, conversation: Conversation) -> list[int]:
        messages = [dict(message) for message in conversation]
        text = self._tokenizer.apply_chat_template(messages, tokenize=False)
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])[: self._longest]

    def _batch(self, tokens: Sequence[list[int]]) -> Iterator[float]:
        import torch

        padded = self._tokenizer.pad({"input_ids": list(tokens)}, return_tensors="pt")
        inputs: dict[str, torch.Tensor] = {name: value.to(self._model.device) for name, value in padded.items()}
        with torch.inference_mode():
            logits = self._model(**inputs).logits
        yield from (float(value) for value in logits[:, 0])
