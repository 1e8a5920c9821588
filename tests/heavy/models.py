"""Models for the tests of trainers: the configurations of well-known ones without weights, and tokenizers with a flaw."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from jobshelf.rehearse.tiny_model import tiny_model

LLAMA = {"rms_norm_eps": 1e-5, "hidden_act": "silu", "max_position_embeddings": 32768, "tie_word_embeddings": False}
MODELS: dict[str, dict[str, Any]] = {
    "Llama-3.1-8B": {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "vocab_size": 128256,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "rope_theta": 500000.0,
        "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0},
    },
    "Qwen2.5-7B": {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "vocab_size": 152064,
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
    },
    "Qwen3-8B": {
        "model_type": "qwen3",
        "architectures": ["Qwen3ForCausalLM"],
        "vocab_size": 151936,
        "hidden_size": 4096,
        "intermediate_size": 12288,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
    },
    "Mistral-7B": {
        "model_type": "mistral",
        "architectures": ["MistralForCausalLM"],
        "vocab_size": 32768,
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "sliding_window": None,
        "head_dim": 128,
    },
    "Gemma-3-4B": {
        "model_type": "gemma3_text",
        "architectures": ["Gemma3ForCausalLM"],
        "vocab_size": 262208,
        "hidden_size": 2560,
        "intermediate_size": 10240,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "sliding_window": 1024,
        "tie_word_embeddings": True,
    },
    "Qwen3-30B-A3B": {
        "model_type": "qwen3_moe",
        "architectures": ["Qwen3MoeForCausalLM"],
        "vocab_size": 151936,
        "hidden_size": 2048,
        "intermediate_size": 6144,
        "moe_intermediate_size": 768,
        "num_hidden_layers": 48,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
        "head_dim": 128,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "decoder_sparse_step": 1,
    },
}
MODELS["Llama-3.1-8B"]["rope_scaling"] |= {"high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def without_weights(folder: Path, name: str) -> None:
    """Write the configuration of a well-known model, and the tiny model's tokenizer, to `folder`."""
    folder.mkdir()
    for file, data in tiny_model().items():
        if "token" in file:
            (folder / file).write_bytes(data)
    (folder / "config.json").write_text(json.dumps({**LLAMA, "bos_token_id": 1, "eos_token_id": 2, **MODELS[name]}))


def with_tokenizer(model: Path, folder: Path, change: str) -> None:
    """Copy the model, with a tokenizer that has a flaw."""
    shutil.copytree(model, folder)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    words = tokenizer["model"]["vocab"]
    if change == "no generation":
        template = settings["chat_template"]
        settings["chat_template"] = template.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    elif change == "tools":
        settings["chat_template"] = "{% if tools %}{{ tools | tojson }}{% endif %}" + settings["chat_template"]
    elif change == "extra":
        tokenizer["added_tokens"].append(special("<extra>", len(words)))
    else:
        settings["chat_template"] = CHATML
        for name in ("<|im_start|>", "<|im_end|>"):
            rare = max((word for word in words if len(word) > 4), key=words.__getitem__)
            tokenizer["added_tokens"].append(special(name, words[rare]))
            words[name] = words.pop(rare)
            merges = tokenizer["model"]["merges"]
            parts = [merge if isinstance(merge, list) else merge.split(" ") for merge in merges]
            tokenizer["model"]["merges"] = [part for part in parts if "".join(part) != rare and rare not in part]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))


def special(name: str, number: int) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": name, "special": True, **flags}
