# /// script
# requires-python = ">=3.11"
# dependencies = ["trl>=1.16,<2", "torch>=2.8,<3", "pillow>=11"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Ask TRL which rows it takes, by one training step a case: `trl_accepts.py CASES.json ANSWERS.json`.

A case is {"method", "rows", "mapping", "strict"}: rows, the code to map them with (or null), and whether the chat
template refuses roles it does not know, as most do. Its answer is null, or why TRL does not take it.
"""

from __future__ import annotations

import base64
import contextlib
import gc
import io
import json
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

import datasets
import torch
import transformers
from datasets import Dataset
from PIL import Image
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
)
from trl import (
    DPOConfig,
    DPOTrainer,
    GRPOConfig,
    GRPOTrainer,
    KTOConfig,
    KTOTrainer,
    RewardConfig,
    RewardTrainer,
    RLOOConfig,
    RLOOTrainer,
    SFTConfig,
    SFTTrainer,
)

TEMPLATE = (
    "{% for m in messages %}"
    "<|{{ m.role }}|>{% if m.content is string %}{{ m.content }}{% elif m.content %}"
    "{% for part in m.content %}{{ part.text or '<image>' }}{% endfor %}{% endif %}"
    "{% for call in m.tool_calls or [] %}{{ call | tojson }}{% endfor %}<e>"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
STRICT = (
    "{% for m in messages %}{% if m.role not in ['system', 'developer', 'user', 'assistant', 'tool'] %}"
    "{{ raise_exception('role ' ~ m.role) }}{% endif %}{% endfor %}"
)
END, PAD, IMAGE = range(3)
SMALL: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
TRAINERS = {
    "SFT": (SFTConfig, SFTTrainer),
    "DPO": (DPOConfig, DPOTrainer),
    "KTO": (KTOConfig, KTOTrainer),
    "Reward": (RewardConfig, RewardTrainer),
    "GRPO": (GRPOConfig, GRPOTrainer),
    "RLOO": (RLOOConfig, RLOOTrainer),
}


def make_tokenizer(*, strict: bool) -> PreTrainedTokenizerFast:
    """One token a byte."""
    words = ["<e>", "<p>", "<image>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[]))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<e>", pad_token="<p>", additional_special_tokens=["<image>"]
    )
    made.chat_template = (STRICT if strict else "") + TEMPLATE
    return made


def make_processor(tokenizer: PreTrainedTokenizerFast) -> LlavaProcessor:
    size = {"shortest_edge": 4}
    return LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size=size, crop_size={"height": 4, "width": 4}),
        tokenizer=tokenizer,
        patch_size=2,
        vision_feature_select_strategy="default",
        image_token="<image>",
        num_additional_image_tokens=1,
        chat_template=tokenizer.chat_template,
    )


def text_config(**extra: Any) -> LlamaConfig:
    ends = {"eos_token_id": END, "pad_token_id": PAD, "bos_token_id": None}
    return LlamaConfig(vocab_size=259, num_key_value_heads=1, max_position_embeddings=2048, **SMALL, **ends, **extra)


def make_model(*, sees: bool) -> LlamaForCausalLM | LlavaForConditionalGeneration:
    """A new model that writes; it sees images too, or reads text only."""
    if not sees:
        return LlamaForCausalLM(text_config())
    vision = CLIPVisionConfig(image_size=4, patch_size=2, projection_dim=8, **SMALL)
    parts = {"text_config": text_config(), "vision_config": vision, "vision_feature_layer": -1}
    return LlavaForConditionalGeneration(LlavaConfig(**parts, image_token_index=IMAGE, image_token_id=IMAGE))


def length_of(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(completion)) for completion in completions]


def settings(method: str, rows: int, folder: str) -> dict[str, Any]:
    common = {
        "output_dir": folder,
        "max_steps": 1,
        "per_device_train_batch_size": 4,
        "train_sampling_strategy": "sequential",
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }
    if method not in {"GRPO", "RLOO"}:
        return common | {"max_length": 512}
    online = {"max_completion_length": 2, "num_generations": 2, "beta": 0.0}
    return common | online | {"per_device_train_batch_size": 2 * min(rows, 4)}


def make_trainer(method: str, dataset: Dataset, *, strict: bool, folder: str) -> transformers.Trainer:
    sees = method != "Reward" and not {"image", "images"}.isdisjoint(dataset.column_names)
    tokenizer = make_tokenizer(strict=strict)
    config, trainer = TRAINERS[method]
    given: dict[str, Any] = {
        "model": make_model(sees=sees),
        "args": config(**settings(method, len(dataset), folder)),
        "train_dataset": dataset,
        "processing_class": make_processor(tokenizer) if sees else tokenizer,
    }
    if method == "Reward":
        given["model"] = LlamaForSequenceClassification(text_config(num_labels=1))
    if method in {"GRPO", "RLOO"}:
        given["reward_funcs"] = length_of
    if method in {"DPO", "KTO"}:
        given["ref_model"] = make_model(sees=sees)
    return trainer(**given)


def refusal(case: dict[str, Any], folder: str) -> str | None:
    """Return why TRL does not take the case, None when it made a step on it."""
    scope = {"dataset": None}
    try:
        scope["dataset"] = Dataset.from_list(case["rows"])
        exec(case["mapping"] or "", scope)
        trainer = make_trainer(case["method"], scope["dataset"], strict=case["strict"], folder=folder)
        loss = trainer.train().training_loss
    except Exception as error:  # noqa: BLE001 -- whatever TRL raises is its answer
        return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return None if torch.isfinite(torch.tensor(loss)) else f"the loss is {loss}"


def with_images(value: dict[str, Any]) -> Any:
    """JSON has no bytes: they come as {"base64": ...}; a struct of bytes and path is an image."""
    if value.keys() == {"base64"}:
        return base64.b64decode(value["base64"])
    return Image.open(io.BytesIO(value["bytes"])) if value.keys() == {"bytes", "path"} else value


def main() -> None:
    cases, answers = json.loads(Path(sys.argv[1]).read_text(), object_hook=with_images), []
    datasets.disable_caching()
    datasets.disable_progress_bars()
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    gc.collect()
    gc.freeze()  # each training collects garbage: it need not look through all of torch
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        for case in cases:
            answers.append(refusal(case, folder))
    Path(sys.argv[2]).write_text(json.dumps(answers))
    print(json.dumps({"answers": len(answers)}))


main()
