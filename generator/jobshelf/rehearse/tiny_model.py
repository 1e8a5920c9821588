"""Language models of a real architecture that fit in 2 MB and are made in a moment, without any framework.

Llama with grouped-query attention in bfloat16, random weights, and a byte-fallback BPE tokenizer trained on the sample
questions, with a chat template that marks what the assistant says. The sizes are the smallest that real engines take:
heads of 64 (vLLM's CPU attention knows no smaller ones) and rows that are multiples of 256 (K-quants of GGUF); the
tokenizer is of the kind that llama.cpp's converter recognises without knowing its vocabulary.

One of them speaks: its attention and its inner layers are zero, so that the next token depends on the last one alone.
Each line that it is to say is a token; whatever else comes last, the first line follows, and the end follows the last.

Formats: https://huggingface.co/docs/safetensors and the `tokenizer.json` of the tokenizers library. BPE as in Sennrich et
al. 2016, https://arxiv.org/abs/1508.07909.
"""

from __future__ import annotations

import json
import math
import random
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from jobshelf import sample_data

HIDDEN = 256
LAYERS = 2
HEADS = 4
KEY_VALUE_HEADS = 2
INNER = 512
VOCABULARY = 512
CONTEXT = 2048
_SPECIAL = ("<unk>", "<s>", "</s>")
_SPACE = "\u2581"
_TEXTS = 200
_Tensor = tuple[str, tuple[int, ...], bytes]
_ONE = b"\x80\x3f"
_FOUR = (
    b"\x80\x40"  # times 16, the square root of HIDDEN, which the norm makes of a one: all else is out of the question
)
_ZERO = b"\x00\x00"
# Of each random 16 bits the sign and the mantissa are kept: bfloat16 numbers of either sign from 2**-6 to 2**-5.
_RANDOM_BITS = b"\x7f\x80"
_EXPONENT = b"\x80\x3c"

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}{{ '[' + message['role'] + '] ' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}"
    "{% else %}{{ message['content'] }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant] ' }}{% endif %}"
)


def tiny_model() -> dict[str, bytes]:
    """Return the files of the random model's repo, the same bytes every time."""
    return _files(_random_tensors(), (), "Random weights")


def speaking_model(lines: Sequence[str]) -> dict[str, bytes]:
    """Return the files of a model that says these lines to whatever it is asked, and then ends.

    A line is a token with its line break; no text is turned into one of these, the model alone speaks them.
    """
    return _files(_speaking_tensors(len(lines)), [f"{line}\n" for line in lines], "Weights made by hand")


def _files(tensors: Iterator[_Tensor], spoken: Sequence[str], weights: str) -> dict[str, bytes]:
    return {
        "config.json": _json(_config()),
        "generation_config.json": _json({"bos_token_id": 1, "eos_token_id": 2}),
        "model.safetensors": _safetensors(tensors),
        "tokenizer.json": _json(_tokenizer(spoken)),
        "tokenizer_config.json": _json(_tokenizer_config()),
        "README.md": f"---\nlicense: apache-2.0\ntags: [text-generation]\n---\n{weights}, for rehearsals.\n".encode(),
    }


def _config() -> dict[str, object]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_VALUE_HEADS,
        "head_dim": HIDDEN // HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    key_value = HIDDEN // HEADS * KEY_VALUE_HEADS
    yield "model.embed_tokens.weight", (VOCABULARY, HIDDEN)
    for layer in range(LAYERS):
        inside = f"model.layers.{layer}"
        yield f"{inside}.input_layernorm.weight", (HIDDEN,)
        yield f"{inside}.self_attn.q_proj.weight", (HIDDEN, HIDDEN)
        yield f"{inside}.self_attn.k_proj.weight", (key_value, HIDDEN)
        yield f"{inside}.self_attn.v_proj.weight", (key_value, HIDDEN)
        yield f"{inside}.self_attn.o_proj.weight", (HIDDEN, HIDDEN)
        yield f"{inside}.post_attention_layernorm.weight", (HIDDEN,)
        yield f"{inside}.mlp.gate_proj.weight", (INNER, HIDDEN)
        yield f"{inside}.mlp.up_proj.weight", (INNER, HIDDEN)
        yield f"{inside}.mlp.down_proj.weight", (HIDDEN, INNER)
    yield "model.norm.weight", (HIDDEN,)
    yield "lm_head.weight", (VOCABULARY, HIDDEN)


def _random_tensors() -> Iterator[_Tensor]:
    """Yield random weights; norms are ones."""
    rng = random.Random(0)  # noqa: S311 - the same weights every time
    for name, shape in _shapes():
        yield name, shape, _ONE * shape[0] if len(shape) == 1 else _random_numbers(rng, math.prod(shape))


def _speaking_tensors(lines: int) -> Iterator[_Tensor]:
    """Yield weights with which line follows line, the lines being the last tokens of the vocabulary.

    A line is the one in a dimension of its own, any other token the one in the first dimension; the last layer gives
    each token the dimension of what it follows.
    """
    end = 2
    places = {VOCABULARY - lines + line: line + 1 for line in range(lines)}
    followers = [*places, end]
    for name, shape in _shapes():
        data = bytearray((_ONE if len(shape) == 1 else _ZERO) * math.prod(shape))
        if name == "model.embed_tokens.weight":
            for token in range(VOCABULARY):
                _set(data, token, places.get(token, 0), _ONE)
        if name == "lm_head.weight":
            for dimension, token in enumerate(followers):
                _set(data, token, dimension, _FOUR)
        yield name, shape, bytes(data)


def _set(matrix: bytearray, row: int, column: int, number: bytes) -> None:
    place = 2 * (row * HIDDEN + column)
    matrix[place : place + 2] = number


def _safetensors(tensors: Iterator[_Tensor]) -> bytes:
    """Return the tensors in the safetensors format: the header's length, the header, the numbers."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    numbers: list[bytes] = []
    offset = 0
    for name, shape, data in tensors:
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [offset, offset + len(data)]}
        numbers.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(numbers)


def _random_numbers(rng: random.Random, count: int) -> bytes:
    kept = int.from_bytes(rng.randbytes(2 * count), "little") & int.from_bytes(_RANDOM_BITS * count, "little")
    return (kept | int.from_bytes(_EXPONENT * count, "little")).to_bytes(2 * count, "little")


def _tokenizer(spoken: Sequence[str]) -> dict[str, object]:
    words = Counter(_SPACE + word for text in _texts() for word in text.split())
    characters = sorted({character for word in words for character in word})
    tokens = [*_SPECIAL, *(f"<0x{byte:02X}>" for byte in range(256)), *characters]
    merges = list(_merges(words, VOCABULARY - len(tokens) - len(spoken)))
    tokens += [first + second for first, second in merges]
    tokens += [line.replace(" ", _SPACE) for line in spoken]
    return {
        "version": "1.0",
        "added_tokens": [_added(number, token) for number, token in enumerate(_SPECIAL)],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": _SPACE},
                {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [
                {"SpecialToken": {"id": "<s>", "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 1}},
            ],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": _SPACE}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {
            "type": "BPE",
            "unk_token": "<unk>",
            "fuse_unk": True,
            "byte_fallback": True,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [list(pair) for pair in merges],
        },
    }


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<s>",
        "eos_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "</s>",
        "model_max_length": CONTEXT,
        "chat_template": CHAT_TEMPLATE,
    }


def _texts() -> Iterator[str]:
    for row in sample_data.questions(_TEXTS):
        yield f"[user] {row['question']}"
        yield f"[assistant] {row['answer']}"


def _merges(words: Mapping[str, int], count: int) -> Iterator[tuple[str, str]]:
    """Yield the `count` pairs to merge: each time the most frequent one, the first in the alphabet among equals."""
    pieces = {word: list(word) for word in words}
    for _ in range(count):
        pairs: Counter[tuple[str, str]] = Counter()
        for word, parts in pieces.items():
            for pair in pairwise(parts):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        yield best
        pieces = {word: _merged(parts, best) for word, parts in pieces.items()}


def _merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for part in parts:
        if merged and (merged[-1], part) == pair:
            merged[-1] += part
        else:
            merged.append(part)
    return merged


def _added(number: int, token: str) -> dict[str, object]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": token, "special": True, **flags}


def _json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
