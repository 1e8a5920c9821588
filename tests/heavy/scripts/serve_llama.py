# /// script
# requires-python = ">=3.11"
# dependencies = ["gguf>=0.19,<0.20", "safetensors>=0.7", "torch>=2.8,<3", "xllamacpp>=2026.10,<2027"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Serve a Llama with llama.cpp: `serve_llama.py MODEL FILE.gguf`; prints the address and goes on until stdin ends.

The tiny model becomes GGUF here without llama.cpp's converter: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import json
import sys
from pathlib import Path

import gguf
import torch
import xllamacpp
from safetensors.torch import load_file

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def interleaved(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """The rows of a projection in the order that llama.cpp rotates them in: pairs, not halves."""
    rows, columns = weight.shape
    return weight.view(heads, 2, rows // heads // 2, columns).transpose(1, 2).reshape(rows, columns)


def convert(model: Path, path: Path) -> None:
    config = json.loads((model / "config.json").read_text())
    heads, kept = config["num_attention_heads"], config["num_key_value_heads"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kept)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_vocab_size(config["vocab_size"])
    add_tokenizer(writer, model)
    for name, tensor in load_file(model / "model.safetensors").items():
        inside = name.removesuffix(".weight")
        layer = ""
        if inside.startswith("model.layers."):
            _, _, number, inside = inside.split(".", 3)
            layer = f"blk.{number}."
        turned = {"self_attn.q_proj": heads, "self_attn.k_proj": kept}.get(inside)
        weight = interleaved(tensor, turned) if turned else tensor
        writer.add_tensor(f"{layer}{NAMES[inside]}.weight", weight.float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def add_tokenizer(writer: gguf.GGUFWriter, model: Path) -> None:
    known = json.loads((model / "tokenizer.json").read_text())["model"]["vocab"]
    tokens = sorted(known, key=known.__getitem__)
    kinds = [
        gguf.TokenType.UNKNOWN if number == 0 else gguf.TokenType.CONTROL if number < 3
        else gguf.TokenType.BYTE if number < 259 else gguf.TokenType.NORMAL
        for number in range(len(tokens))
    ]  # fmt: skip
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens)
    writer.add_token_scores([float(-number) for number in range(len(tokens))])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(json.loads((model / "tokenizer_config.json").read_text())["chat_template"])


def main() -> None:
    model, path = Path(sys.argv[1]), Path(sys.argv[2])
    convert(model, path)
    options = xllamacpp.CommonParams()
    options.model.path = str(path)
    options.port = 0
    options.n_ctx = 4 * 2048
    options.n_parallel = 4
    options.cpuparams.n_threads = 2
    server = xllamacpp.Server(options)
    print(json.dumps({"url": f"{server.listening_address}/v1"}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
