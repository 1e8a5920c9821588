"""A model to rehearse with: the architecture of a large one in one small layer, without its weights."""

from contextlib import suppress

SMALL = {"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "intermediate_size": 64}
SMALL |= {"moe_intermediate_size": 64, "shared_expert_intermediate_size": 64, "num_experts_per_tok": 2}
SMALL |= {"num_experts": 4, "num_local_experts": 4, "n_routed_experts": 4, "n_group": 1, "topk_group": 1}
SMALL |= {"first_k_dense_replace": 0, "depth": 1}


def shrink_model(name: str, folder: str, revision: str) -> None:
    """Write a model to `folder`: tokenizer, vocabulary and head size of the model `name`, one layer, random weights."""
    import transformers
    from transformers import AutoConfig, AutoProcessor, GenerationConfig

    config = AutoConfig.from_pretrained(name, revision=revision)
    text = config.get_text_config()
    head = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    for part in filter(None, (text, getattr(config, "vision_config", None))):
        for key, value in SMALL.items():
            if getattr(part, key, None) is not None:
                setattr(part, key, value)
        if getattr(part, "layer_types", None):
            part.layer_types = part.layer_types[:1]
    text.hidden_size = head
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    model = getattr(transformers, config.architectures[0])(config)
    with suppress(OSError):  # not every model has one
        model.generation_config = GenerationConfig.from_pretrained(name, revision=revision)
    model.save_pretrained(folder)
    AutoProcessor.from_pretrained(name, revision=revision).save_pretrained(folder)
