"""Tiny models of real architectures, what they say, and what their GGUF files say: run by the script's own Python.

`gguf_models.py make BASE FOLDER` makes them beside each other in FOLDER, with answers.json; BASE is the tiny model of the
rehearsals, whose tokenizer they all have. `gguf_models.py read FILE...` prints what llama.cpp says for each file.

The converter knows a byte-level BPE by the hash of a real vocabulary only, and reads the tokenizer of Qwen and Gemma from
tokenizer.model where there is one: so they get the same words as a SentencePiece model.
"""

from __future__ import annotations

import json
import math
import shutil
import sys
import urllib.request
from pathlib import Path
from typing import Any

PROMPT = [1, 305, 75, 288, 292, 295, 302, 308]
LENGTH = 12
LEARNT = 0.5
SMALL = {
    "vocab_size": 512,
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 64,
    "max_position_embeddings": 2048,
    "initializer_range": 0.1,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
MODELS = {
    "llama": ("LlamaConfig", {"tie_word_embeddings": False}),
    "qwen2": ("Qwen2Config", {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", {"tie_word_embeddings": False}),
    "gemma": ("GemmaConfig", {"hidden_activation": "gelu_pytorch_tanh"}),
}


def make(base: Path, folder: Path) -> None:
    """Make all models, an adapter of the first, and what each says."""
    answers = {}
    for number, (name, (config, options)) in enumerate(MODELS.items()):
        place = folder / name
        model = build(config, options)
        # a shard of its own for half of them: what has several files is read as one model
        model.save_pretrained(place, max_shard_size="1MB" if number % 2 == 0 else "1GB")
        tokenizer(base, place, name)
        answers[name] = greedy(model.float())
    tuned = adapted(folder / "llama")
    tuned.save_pretrained(folder / "adapter")
    answers["adapter"] = greedy(tuned)
    answers["padded"] = greedy(padded(folder / "llama", folder / "padded"))
    answers["worded"] = greedy(worded(folder / "llama", folder / "worded"))
    pickled(folder / "gemma", folder / "pickled")
    answers["pickled"] = answers["gemma"]
    (folder / "answers.json").write_text(json.dumps(answers))


def build(config: str, options: dict[str, Any]) -> Any:
    """Return a model in bfloat16 that knows what to say."""
    import torch
    import transformers

    torch.manual_seed(0)
    made = getattr(transformers, config)(**{**SMALL, **options})
    return taught(transformers.AutoModelForCausalLM.from_config(made, dtype=torch.float32)).to(torch.bfloat16)


def taught(model: Any) -> Any:
    """Return the model, trained to say random tokens after the prompt: rounding its weights must not change any."""
    import torch

    said = torch.randint(3, SMALL["vocab_size"], (LENGTH,)).tolist()
    tokens = torch.tensor([[*PROMPT, *said]])
    model.train()
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=1e-3)
    loss = torch.tensor(math.inf)
    while loss > LEARNT:  # and no further: a model that knows nothing else is not like any that people have
        loss = model(input_ids=tokens, labels=tokens).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert greedy(model.eval()) == said
    return model


def adapted(base: Path) -> Any:
    """Return the model with an adapter of every kind of scaling, which says something else."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    options = {"r": 8, "lora_alpha": 16, "use_rslora": True, "use_dora": True, "init_lora_weights": False}
    tuned = get_peft_model(model, LoraConfig(target_modules="all-linear", alpha_pattern={"q_proj": 4}, **options))
    return taught(tuned)


def padded(model: Path, folder: Path) -> Any:
    """Write the model with more rows in its embedding than its tokenizer has tokens, and return it."""
    import torch
    from transformers import AutoModelForCausalLM

    padded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.bfloat16)
    padded.resize_token_embeddings(576, mean_resizing=False)
    padded.save_pretrained(folder)
    for path in model.glob("tokenizer*"):
        shutil.copy(path, folder)
    return padded.float()


def worded(model: Path, folder: Path) -> Any:
    """Write an adapter that brings two tokens, with its embedding, its head and its tokenizer, and return the model."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["<one>", "<two>"], special_tokens=True)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    whole = ["embed_tokens", "lm_head"]
    config = LoraConfig(target_modules=["q_proj", "v_proj"], modules_to_save=whole, task_type="CAUSAL_LM")
    tuned = taught(get_peft_model(network, config))
    tuned.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return tuned


def pickled(model: Path, folder: Path) -> None:
    """Copy the model with its weights as old ones were saved."""
    import torch
    from safetensors.torch import load_file

    folder.mkdir()
    shards = [path for path in model.iterdir() if path.suffix == ".safetensors"]
    for path in model.iterdir():
        if not path.name.startswith("model.safetensors") and path not in shards:
            shutil.copy(path, folder)
    weights = {name: tensor for shard in shards for name, tensor in load_file(shard).items()}
    torch.save(weights, folder / "pytorch_model.bin")


def greedy(model: Any) -> list[int]:
    """Return the likeliest tokens, one after the other."""
    import torch

    tokens = list(PROMPT)
    with torch.inference_mode():
        for _ in range(LENGTH):
            tokens.append(int(model(input_ids=torch.tensor([tokens])).logits[0, -1].argmax()))
    return tokens[len(PROMPT) :]


def tokenizer(base: Path, place: Path, name: str) -> None:
    """Give the model the tokenizer of `base`, as its family has it: Gemma puts no space before a text."""
    spaced = name != "gemma"
    content, settings = (json.loads((base / f"tokenizer{end}.json").read_text()) for end in ("", "_config"))
    if not spaced:
        content["normalizer"] = content["normalizer"]["normalizers"][1]
        content["decoder"]["decoders"].pop()
    if name.startswith("qwen"):
        settings["tokenizer_class"] = "LlamaTokenizer"  # else transformers splits as a byte-level BPE; of Qwen2 always
    (place / "tokenizer.json").write_text(json.dumps(content))
    (place / "tokenizer_config.json").write_text(json.dumps(settings))
    if name != "llama":
        (place / "tokenizer.model").write_bytes(sentencepiece(content["model"]["vocab"], spaced=spaced))


def sentencepiece(words: dict[str, int], *, spaced: bool) -> bytes:
    """Return a SentencePiece model with these words; the earlier a word, the sooner it is merged, as in BPE."""
    from sentencepiece import sentencepiece_model_pb2 as proto

    model = proto.ModelProto()
    kinds = proto.ModelProto.SentencePiece
    for word, number in sorted(words.items(), key=lambda item: item[1]):
        kind = {0: kinds.UNKNOWN, 1: kinds.CONTROL, 2: kinds.CONTROL}.get(number, kinds.NORMAL)
        kind = kinds.BYTE if word.startswith("<0x") else kind
        model.pieces.add(piece=word, score=-float(number), type=kind)
    model.trainer_spec.model_type = proto.TrainerSpec.BPE
    model.trainer_spec.byte_fallback = True
    model.trainer_spec.vocab_size = len(words)
    model.normalizer_spec.add_dummy_prefix = spaced
    model.normalizer_spec.remove_extra_whitespaces = False
    return model.SerializeToString()


def read(files: list[Path]) -> None:
    """Print the likeliest tokens that llama.cpp finds with each file."""
    import xllamacpp

    found = {}
    for file in files:
        params = xllamacpp.CommonParams()
        params.model.path = str(file)
        params.n_ctx, params.n_parallel, params.n_gpu_layers, params.verbosity = 128, 1, 0, -1
        server = xllamacpp.Server(params)
        question = {"prompt": PROMPT, "n_predict": LENGTH, "temperature": 0, "return_tokens": True, "ignore_eos": True}
        body = json.dumps(question).encode()
        kind = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"{server.listening_address}/completion", data=body, headers=kind)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
            found[file.name] = json.loads(answer.read())["tokens"]
        del server
    print(json.dumps(found))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        read([Path(word) for word in sys.argv[2:]])
