"""Every kind of adapter that PEFT saves, merged by convert_to_gguf.py: run by the script's own Python.

`gguf_adapters.py SCRIPT MODEL FOLDER` saves an adapter of each kind for the Llama in MODEL, merges it as the script does, and
prints for each how far the merged model is from the model with the adapter beside it (in logits), or why it was refused.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

TOKENS = [1, 305, 75, 288, 292, 295, 302, 308]
NEW = 2  # tokens that an adapter brings


def kinds() -> dict[str, Callable[[], Any]]:
    """Return what makes the config of each kind; those that end with `tied` are of a model whose head is its embedding."""
    import peft

    lora = {"r": 4, "init_lora_weights": False}
    linear, words = ["q_proj", "up_proj"], ["embed_tokens", "lm_head"]
    tokens = [75, 288]
    return {
        "lora": lambda: peft.LoraConfig(target_modules=linear, **lora),
        "lora with biases": lambda: peft.LoraConfig(target_modules=linear, lora_bias=True, **lora),
        "rslora and dora": lambda: peft.LoraConfig(target_modules=linear, use_rslora=True, use_dora=True, **lora),
        "lora of the words": lambda: peft.LoraConfig(target_modules=["q_proj", *words], **lora),
        "lora of the words, tied": lambda: peft.LoraConfig(target_modules=["q_proj", "embed_tokens"], **lora),
        "lora of the head, tied": lambda: peft.LoraConfig(target_modules=["q_proj", "lm_head"], **lora),
        "new tokens": lambda: peft.LoraConfig(target_modules=linear, modules_to_save=words, **lora),
        "new tokens, tied": lambda: peft.LoraConfig(target_modules=linear, modules_to_save=words, **lora),
        "new tokens, not trained": lambda: peft.LoraConfig(target_modules=linear, **lora),
        "norms whole": lambda: peft.LoraConfig(target_modules=linear, modules_to_save=["norm"], **lora),
        "trainable tokens": lambda: peft.LoraConfig(target_modules=linear, trainable_token_indices=tokens, **lora),
        "trainable tokens only": lambda: peft.TrainableTokensConfig(token_indices=tokens, init_weights=False),
        "adalora": lambda: peft.AdaLoraConfig(target_modules=linear, init_lora_weights=False, total_step=10),
        "ia3": lambda: peft.IA3Config(
            target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"], init_ia3_weights=False
        ),
        "loha": lambda: peft.LoHaConfig(target_modules=linear, init_weights=False),
        "lokr": lambda: peft.LoKrConfig(target_modules=linear, init_weights=False),
        "oft": lambda: peft.OFTConfig(target_modules=["q_proj"], oft_block_size=8, init_weights=False),
        "hra": lambda: peft.HRAConfig(target_modules=linear, init_weights=False),
        "vera": lambda: peft.VeraConfig(target_modules=["q_proj"], init_weights=False),
        "fourierft": lambda: peft.FourierFTConfig(target_modules=["q_proj"], n_frequency=50, init_weights=False),
        "norms": lambda: peft.LNTuningConfig(target_modules=["input_layernorm"]),
    }


def main(script: Path, base: Path, folder: Path) -> None:
    """Print the outcome of each kind."""
    warnings.simplefilter("ignore")
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    gguf = module(script)
    outcome = {}
    for kind, config in kinds().items():
        model, adapter = folder / "model", folder / "adapter"
        write(base, model, tied=kind.endswith("tied"))
        save(model, adapter, config(), kind)
        outcome[kind] = merged(gguf, model, adapter, kind)
        shutil.rmtree(model)
        shutil.rmtree(adapter)
    print(json.dumps(outcome))


def module(path: Path) -> ModuleType:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("convert_to_gguf", path)
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def load(folder: Path, dtype: str = "auto") -> Any:
    """Return the model in a folder, as it was saved."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype)


def write(base: Path, folder: Path, *, tied: bool) -> None:
    """Write a model of random weights, of the size of `base`."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(base)
    config.tie_word_embeddings = tied
    AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)


def save(model: Path, folder: Path, config: Any, kind: str) -> None:
    """Save an adapter whose weights all say something."""
    import torch
    from peft import get_peft_model

    network = load(model)
    if kind.startswith("new tokens"):
        network.resize_token_embeddings(network.config.vocab_size + NEW, mean_resizing=False)
    tuned = get_peft_model(network, config)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in tuned.parameters():
            if weight.requires_grad:
                weight.add_(0.02 * torch.randn(weight.shape))
    tuned.save_pretrained(folder)


def merged(gguf: ModuleType, model: Path, adapter: Path, kind: str) -> float | str:
    """Return how far the merged model is from the other, or the error that the script ends with."""
    import torch

    tokens = torch.tensor([[*TOKENS, *([513] if kind.startswith("new tokens") else [])]])
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), torch.inference_mode():
            plain = load(model, "float32")(input_ids=tokens[:, : len(TOKENS)]).logits
            network = gguf.attach(load(model), adapter)
            gguf.widen_changed(network, adapter / "widened")
            gguf.widen_in_use(network.eval())
            before = network(input_ids=tokens).logits
            gguf.merge(network, model)
            after = load(model, "float32").eval()(input_ids=tokens).logits
    except SystemExit as left:
        return f"{left.code}: {said.getvalue().strip().splitlines()[-1]}"
    if (before[:, : len(TOKENS), :512] - plain).abs().max() < 1e-3:
        return "this adapter changes nothing"
    return float((before - after).abs().max() / before.std())


if __name__ == "__main__":
    main(*(Path(word) for word in sys.argv[1:4]))
