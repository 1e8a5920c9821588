# block: fit 1
"""What a model needs and takes: parameters from its config, memory by kind of work, the flavors it fits on, time, cost.

Promises: pure arithmetic, no network, no third-party package; a config that says too little raises ValueError and names
the key; memory is an upper estimate of the peak on one GPU (of the RAM where there is none); time and cost are a
low, likely and high figure. What each constant rests on stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .flavors import Flavor

# Dense bfloat16 TFLOP/s (float16 on the T4, which has no bfloat16) and memory GB/s of one GPU, from the vendor's data
# sheets; then the share of the TFLOP/s that training reaches (model FLOPs utilisation): low, likely, high. The shares are
# assumptions after published runs of transformers trainers; they are not measured here, and smaller models reach less.
FIT_GPUS: Mapping[str, tuple[float, float, tuple[float, float, float]]] = {
    "T4": (65, 320, (0.15, 0.25, 0.40)),
    "L4": (121, 300, (0.20, 0.35, 0.50)),
    "A10G": (70, 600, (0.30, 0.45, 0.60)),
    "L40S": (362, 864, (0.20, 0.32, 0.45)),
    "A100": (312, 2039, (0.25, 0.40, 0.55)),
    "H100": (989, 3350, (0.20, 0.35, 0.50)),
    "H200": (989, 4800, (0.20, 0.35, 0.50)),
    "RTX PRO 6000": (500, 1597, (0.20, 0.33, 0.45)),
}
# float32 TFLOP/s and memory GB/s of one vCPU, and the share that training reaches (bench/calibrate_cost.py).
FIT_VCPU = (0.05, 4.0, (0.40, 0.70, 0.95))
FIT_SECONDS_A_LAYER = (0.0005, 0.001, 0.002)  # starting the kernels of a layer, all passes of one step on a GPU
FIT_SCALING = (0.80, 0.90, 0.97)  # of each GPU's speed when several work together
FIT_PADDING = (1.0, 1.1, 1.3)  # tokens computed for one token of data; more without packing and with mixed lengths
FIT_START_SECONDS = (60.0, 180.0, 480.0)  # billed before the script runs: image, packages
FIT_NETWORK_GB_S = (0.10, 0.25, 0.60)  # from the Hub to the machine, and back
FIT_DISK_GB_S = (0.3, 0.8, 2.0)
FIT_QUANTIZE_GB_S = (0.004, 0.008, 0.015)  # of the 16-bit file, for one vCPU
FIT_BUILD_SECONDS = (60.0, 180.0, 480.0)  # the converter, from its source
FIT_BANDWIDTH_SHARE = (0.40, 0.60, 0.80)  # of the memory's GB/s that decoding reaches
FIT_DECODE_SECONDS = (0.002, 0.004, 0.008)  # scheduling and sampling of one step for all running sequences
FIT_LONGEST_ANSWER_SHARE = (0.25, 0.60, 1.0)  # of the longest answer allowed that the average one is
FIT_SEQUENCES = 256  # decoded at once, at most (vLLM's default)
FIT_LOGITS_TILE = 4096 * 32768 * 4  # TRL 1.16 computes logits in tiles of so many tokens, words and bytes
FIT_GPU_SHARE, FIT_GPU_TAKEN_GB = 0.94, 0.8  # what the allocator loses between blocks; the driver's own context
FIT_CPU_SHARE, FIT_CPU_TAKEN_GB = 0.94, 2.0  # Python with its packages
FIT_SERVER_SHARE = 0.90  # of a GPU that vLLM takes (gpu_memory_utilization)
FIT_LARGEST_BATCH = 8
FIT_LONGEST_SECONDS = 86_400.0  # nobody waits longer to save a dollar
FIT_QUANTS_BYTES = 0.61 + 0.71 + 1.06  # of one parameter in Q4_K_M, Q5_K_M and Q8_0 together
FIT_LARGEST_QUANT_BYTES, FIT_CONVERTED_COPIES = 1.06, 3  # copies of a tensor in float32 while it is converted
FIT_BUFFER, FIT_SHORTEST_MINUTES = 1.3, 10
_BYTES_IN_GB = 1e9

# What configs do not say: (queries, keys and values have biases; norms a layer; norms of a head; the embedding is tied).
# From the models' own code in transformers 5.23; "whole" norms go over all heads together.
FIT_FAMILIES: Mapping[str, tuple[bool, int, str, bool]] = {
    "llama": (False, 2, "", False),
    "mistral": (False, 2, "", False),
    "ministral": (False, 2, "", False),
    "mixtral": (False, 2, "", False),
    "granite": (False, 2, "", False),
    "smollm3": (False, 2, "", True),
    "phi3": (False, 2, "", False),
    "qwen2": (True, 2, "", False),
    "qwen2_moe": (True, 2, "", False),
    "qwen3": (False, 2, "head", False),
    "qwen3_moe": (False, 2, "head", False),
    "gemma": (False, 2, "", True),
    "gemma2": (False, 4, "", True),
    "gemma3_text": (False, 4, "head", True),
    "olmo2": (False, 2, "whole", False),
}
# Families whose MLP has two matrices, not three; and those of unlisted families whose head is not the embedding.
FIT_PLAIN = frozenset({"gpt2", "gpt_neox", "gptj", "gpt_bigcode", "opt", "falcon", "bloom", "phi", "starcoder2"})
FIT_UNTIED = frozenset({"gpt_neox", "gptj", "phi", "gpt_oss", "deepseek_v2", "deepseek_v3", "glm4", "glm4_moe"})
# hidden, layers, heads, key-value heads, inner, words of models of about so many billion parameters (Qwen2.5, Llama 3.1)
FIT_TYPICAL: Mapping[float, tuple[int, int, int, int, int, int]] = {
    0.13: (576, 30, 9, 3, 1536, 49152),
    0.49: (896, 24, 14, 2, 4864, 151936),
    1.5: (1536, 28, 12, 2, 8960, 151936),
    3.1: (2048, 36, 16, 2, 11008, 151936),
    8.0: (4096, 32, 32, 8, 14336, 128256),
    14.8: (5120, 48, 40, 8, 13824, 152064),
    32.8: (5120, 64, 40, 8, 27648, 152064),
    70.6: (8192, 80, 64, 8, 28672, 128256),
    405.9: (16384, 126, 128, 8, 53248, 128256),
}

Span = tuple[float, float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A decoder as its config describes it. Widths in numbers; `exact`: the family is known, so the count is too."""

    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    inner: int
    vocabulary: int
    context: int
    tied: bool
    biases: int = 0
    norms: int = 2
    head_norms: str = ""
    gated: bool = True
    experts: int = 0
    experts_used: int = 0
    expert_inner: int = 0
    shared_inner: int = 0
    dense_layers: int = 0
    exact: bool = False

    @property
    def queries(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.head_dim

    @property
    def values(self) -> int:
        """Width of all key (or value) heads together."""
        return self.kv_heads * self.head_dim


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model to be trained or run. `parameters` is its true size where that is known better than from the config.

    `active` are those that one token goes through; `weight_bytes` is what a stored weight takes (2 for bfloat16).
    """

    parameters: int
    active: int
    shape: Architecture
    weight_bytes: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model is trained. `length`: tokens of the longest sequence; `batch`: sequences a GPU takes at once, 0 for as
    many as fit; `sharded`: weights, gradients and optimizer are spread over the GPUs (FSDP, ZeRO-3)."""

    method: str = "sft"
    tuning: str = "lora"
    length: int = 1024
    batch: int = 0
    rank: int = 16
    checkpointing: bool = True
    sharded: bool = False
    generations: int = 8
    answer: int = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How much there is to do, all epochs together. `tokens` are those of the data, with their uncertainty."""

    rows: int
    tokens: Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes at the peak, of one GPU or of the machine."""

    weights: float = 0.0
    gradients: float = 0.0
    optimizer: float = 0.0
    activations: float = 0.0
    cache: float = 0.0

    @property
    def total(self) -> float:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations + self.cache


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a run would be on a flavor. Bytes, seconds, dollars (low, likely, high); `batch` sequences at once on a GPU.

    `short` says what there is too little of, "" when it fits. Where it does not fit, seconds and dollars are zero.
    """

    flavor: Flavor
    memory: Memory
    usable: float
    batch: int
    seconds: Span = (0.0, 0.0, 0.0)
    usd: Span = (0.0, 0.0, 0.0)
    short: str = ""

    @property
    def timeout_minutes(self) -> int:
        """The timeout to ask for."""
        return timeout_minutes(self.seconds[2])


def read_architecture(config: Mapping[str, Any]) -> Architecture:
    """Return what `config.json` says of the language model. Raises ValueError when it lacks what the sizes follow from."""
    text = config.get("text_config")
    told = {**config, **text} if isinstance(text, Mapping) else dict(config)
    family = str(told.get("model_type") or "unknown")
    biased, norms, head_norms, tied = FIT_FAMILIES.get(family, (False, 2, "", family not in FIT_UNTIED))
    hidden = _told(told, "hidden_size", "n_embd", "d_model")
    heads = _told(told, "num_attention_heads", "n_head", "num_heads")
    head_dim = _told(told, "head_dim", default=0) or hidden // heads
    kv_heads = _told(told, "num_key_value_heads", "num_kv_heads", default=0) or (
        1 if told.get("multi_query") else heads
    )
    experts = _told(told, "num_experts", "num_local_experts", "n_routed_experts", default=0)
    inner = _told(told, "intermediate_size", "n_inner", "ffn_dim", default=4 * hidden) or 4 * hidden
    attention_biases = (heads + 2 * kv_heads) * head_dim if biased else 0
    if told.get("attention_bias") and not biased:
        attention_biases = (heads + 2 * kv_heads) * head_dim + hidden
    return Architecture(
        family=family,
        hidden=hidden,
        layers=(layers := _told(told, "num_hidden_layers", "n_layer", "num_layers")),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        inner=inner,
        vocabulary=_told(told, "vocab_size"),
        context=_told(told, "max_position_embeddings", "n_positions", default=0),
        tied=bool(told.get("tie_word_embeddings", tied)),
        biases=attention_biases + (2 * inner + hidden if told.get("mlp_bias") else 0),
        norms=norms,
        head_norms=head_norms,
        gated=family not in FIT_PLAIN,
        experts=experts,
        experts_used=_told(told, "num_experts_per_tok", "experts_per_token", default=1) if experts else 0,
        expert_inner=(_told(told, "moe_intermediate_size", default=0) or inner) if experts else 0,
        shared_inner=_shared_inner(told) if experts else 0,
        dense_layers=_dense_layers(told, layers) if experts else 0,
        exact=family in FIT_FAMILIES and not isinstance(text, Mapping),
    )


def typical_architecture(parameters: float) -> Architecture:
    """Return the shape that models of about so many parameters have, for when the config cannot be read."""
    nearest = min(FIT_TYPICAL, key=lambda billions: abs(math.log(billions * 1e9 / parameters)))
    hidden, layers, heads, kv_heads, inner, vocabulary = FIT_TYPICAL[nearest]
    return Architecture(
        family="typical",
        hidden=hidden,
        layers=layers,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=hidden // heads,
        inner=inner,
        vocabulary=vocabulary,
        context=0,
        tied=parameters < 4e9,
    )


def count_parameters(shape: Architecture, *, active: bool = False) -> int:
    """Return the parameters of `shape`; with `active`, without the experts that a token does not go through."""
    experts = shape.experts_used if active else shape.experts
    hidden, layers, expert_layers = shape.hidden, shape.layers, shape.layers - shape.dense_layers
    per_expert_layer = 3 * hidden * (experts * shape.expert_inner + shape.shared_inner) + hidden * shape.experts
    per_expert_layer += hidden if shape.shared_inner else 0  # the gate of the shared expert
    dense = (3 if shape.gated else 2) * hidden * shape.inner * (shape.dense_layers if shape.experts else layers)
    inner = dense + (per_expert_layer * expert_layers if shape.experts else 0)
    norms = hidden * shape.norms + {"head": 2 * shape.head_dim, "whole": shape.queries + shape.values}.get(
        shape.head_norms, 0
    )
    attention = 2 * hidden * (shape.queries + shape.values)
    words = shape.vocabulary * hidden * (1 if shape.tied else 2)
    return layers * (attention + norms + shape.biases) + inner + words + hidden


def model_of(shape: Architecture, *, parameters: int = 0, weight_bytes: int = 2) -> Model:
    """Return the model of this shape, whose true size is `parameters` where that is given."""
    counted, active = count_parameters(shape), count_parameters(shape, active=True)
    total = parameters or counted
    return Model(
        parameters=total, active=max(1, round(active * total / counted)), shape=shape, weight_bytes=weight_bytes
    )


def adapter_parameters(shape: Architecture, rank: int) -> int:
    """Return the parameters of LoRA adapters on every linear layer but the head (experts, fused, get none)."""
    hidden, queries, values = shape.hidden, shape.queries, shape.values
    attention = (hidden + queries) * 2 + (hidden + values) * 2
    inner = shape.inner if not shape.experts else shape.shared_inner
    return rank * (shape.layers * (attention + ((3 if shape.gated else 2) * (hidden + inner) if inner else 0)))


def training_memory(model: Model, run: Training, *, batch: int, gpus: int = 1) -> Memory:
    """Return what training takes at its peak on one GPU.

    Weights, gradients and AdamW's two moments have the stored dtype in full tuning (TRL 1.16); adapters have float32.
    A second copy of the weights is the reference model of DPO and KTO in full tuning.
    """
    full = run.tuning == "full"
    weights = _stored_weights(model, run.tuning) * (2 if full and run.method in {"dpo", "kto"} else 1)
    trained = model.parameters if full else adapter_parameters(model.shape, run.rank)
    each = model.weight_bytes if full else 4
    spread = gpus if run.sharded else 1
    weights += 0 if full else 4 * trained
    sequences = batch * (2 if run.method in {"dpo", "reward"} else 1)
    cached = batch * (run.length + run.answer) * cache_bytes(model.shape) if run.method == "grpo" else 0
    length = run.length + (run.answer if run.method == "grpo" else 0)
    return Memory(
        weights=weights / spread + (_layer_weights(model) if spread > 1 else 0),
        gradients=trained * each / spread,
        optimizer=2 * trained * each / spread,
        activations=_activations(model, run, sequences * length),
        cache=cached,
    )


def cache_bytes(shape: Architecture) -> int:
    """Return the bytes of keys and values that one token leaves behind in all layers, in 16 bits."""
    return 2 * 2 * shape.layers * shape.values


def usable_memory(flavor: Flavor) -> float:
    """Return the bytes that a run can have: of one GPU, or of the machine when it has none."""
    if flavor.gpus:
        return flavor.vram_gb * _BYTES_IN_GB * FIT_GPU_SHARE - FIT_GPU_TAKEN_GB * _BYTES_IN_GB
    return flavor.ram_gb * _BYTES_IN_GB * FIT_CPU_SHARE - FIT_CPU_TAKEN_GB * _BYTES_IN_GB


def largest_batch(model: Model, run: Training, flavor: Flavor) -> int:
    """Return the largest power of two, at most 8, of sequences that fit on one GPU at once; 0 when not even one does."""
    batch = FIT_LARGEST_BATCH
    while batch and training_memory(model, run, batch=batch, gpus=flavor.gpus or 1).total > usable_memory(flavor):
        batch //= 2
    return batch


def training_flops(model: Model, run: Training, tokens: float, *, average: float) -> float:
    """Return the floating-point operations of training on `tokens` in sequences of `average` tokens.

    Forward: 2 for each active weight that is multiplied, and 4 times the width of the queries for each earlier token
    that is attended to (Kaplan et al. 2020, https://arxiv.org/abs/2001.08361, section 2.1). Backward is twice the
    forward, once with frozen weights; checkpointing adds one forward; reference models add theirs.
    """
    shape = model.shape
    looked_up = 0 if shape.tied else shape.vocabulary * shape.hidden
    forward = 2 * (model.active - looked_up) + 4 * shape.queries * shape.layers * average / 2
    passes = (3 if run.tuning == "full" else 2) + (1 if run.checkpointing else 0)
    passes += {"dpo": 1, "kto": 3}.get(run.method, 0)
    return tokens * forward * passes


def estimate_training(model: Model, run: Training, work: Work, flavor: Flavor) -> Estimate:
    """Return memory, time and cost of the training on `flavor`."""
    gpus = flavor.gpus or 1
    batch = run.batch or largest_batch(model, run, flavor)
    memory, usable = training_memory(model, run, batch=max(batch, 1), gpus=gpus), usable_memory(flavor)
    short = _short_of_memory(memory, usable, flavor) or _short_of_disk(model, flavor)
    speed = _speed(flavor)
    if short or speed is None:
        reason = short or f"the speed of {flavor.gpu} is not known"
        return Estimate(flavor=flavor, memory=memory, usable=usable, batch=batch, short=reason)
    steps = math.ceil(work.rows / (batch * gpus))
    generated = _generation(model, flavor, work.rows * run.generations, run.length, run.answer, batch)
    seconds = [
        _training_seconds(model, run, work, speed, gpus, steps, case) + (generated[case] if run.method == "grpo" else 0)
        for case in range(3)
    ]
    return _estimate(flavor, memory, usable, batch, seconds, model)


def estimate_generation(model: Model, *, rows: int, prompt: Span, answer: int, flavor: Flavor) -> Estimate:
    """Return memory, time and cost of answering `rows` prompts of `prompt` tokens with at most `answer` tokens.

    With continuous batching, as vLLM does it; on several GPUs each layer is split over all of them.
    """
    gpus = flavor.gpus or 1
    sequence = (prompt[2] + answer) * cache_bytes(model.shape) / gpus
    weights = _stored_weights(model, "lora") / gpus
    share = FIT_SERVER_SHARE if flavor.gpus else FIT_CPU_SHARE
    taken = FIT_GPU_TAKEN_GB if flavor.gpus else FIT_CPU_TAKEN_GB
    usable = ((flavor.vram_gb if flavor.gpus else flavor.ram_gb) * share - taken) * _BYTES_IN_GB
    batch = min(FIT_SEQUENCES, rows, int((usable - weights) // sequence))
    memory = Memory(weights=weights, cache=sequence * max(batch, 1))
    short = _short_of_memory(memory, usable, flavor) or _short_of_disk(model, flavor)
    if short or _speed(flavor) is None:
        reason = short or f"the speed of {flavor.gpu} is not known"
        return Estimate(flavor=flavor, memory=memory, usable=usable, batch=max(batch, 0), short=reason)
    seconds = _generation(model, flavor, rows, prompt[1], answer, batch)
    return _estimate(flavor, memory, usable, batch, seconds, model)


def estimate_conversion(model: Model, flavor: Flavor) -> Estimate:
    """Return memory, time and cost of merging adapters into the model and writing it as GGUF in 16 bits and three quants.

    As convert_to_gguf does it: a GPU is not used; the weights stay on the disk, and pass through RAM tensor by tensor,
    each several times in float32; the disk holds the download and the 16-bit file, and each quant until it is uploaded.
    """
    shape, size = model.shape, 2.0 * model.parameters
    largest = max(
        shape.vocabulary * shape.hidden, shape.hidden * shape.inner, shape.hidden * shape.experts * shape.expert_inner
    )
    memory = Memory(weights=FIT_CONVERTED_COPIES * 4.0 * largest)
    usable = flavor.ram_gb * _BYTES_IN_GB * FIT_CPU_SHARE - FIT_CPU_TAKEN_GB * _BYTES_IN_GB
    disk = 2 * size + FIT_LARGEST_QUANT_BYTES * model.parameters
    short = f"{memory.total / 1e9:.1f} GB of RAM needed, {usable / 1e9:.1f} usable" if memory.total > usable else ""
    if not short and disk > flavor.disk_gb * _BYTES_IN_GB * 0.9:
        short = f"{disk / 1e9:.0f} GB of disk needed, {flavor.disk_gb:g} there"
    if short:
        return Estimate(flavor=flavor, memory=memory, usable=usable, batch=0, short=short)
    upload = size + FIT_QUANTS_BYTES * model.parameters
    seconds = [
        FIT_BUILD_SECONDS[case]
        + 6 * size / _BYTES_IN_GB / FIT_DISK_GB_S[2 - case]
        + 3 * size / _BYTES_IN_GB / (FIT_QUANTIZE_GB_S[2 - case] * flavor.vcpus)
        + upload / _BYTES_IN_GB / FIT_NETWORK_GB_S[2 - case]
        for case in range(3)
    ]
    return _estimate(flavor, memory, usable, 0, seconds, model)


def rank_estimates(estimates: Iterable[Estimate]) -> list[Estimate]:
    """Return those that fit and take less than a day by their likely cost, then the slower ones, then the others."""
    return sorted(
        estimates,
        key=lambda one: (bool(one.short), one.seconds[1] > FIT_LONGEST_SECONDS, one.usd[1], one.flavor.usd_per_hour),
    )


def timeout_minutes(seconds: float) -> int:
    """Return a timeout for a run of at most `seconds`: 30 % more, rounded up to a round figure, 10 minutes at least."""
    minutes = seconds * FIT_BUFFER / 60
    step = 5 if minutes <= 120 else 15 if minutes <= 480 else 60
    return max(FIT_SHORTEST_MINUTES, math.ceil(round(minutes / step, 9)) * step)


def _told(config: Mapping[str, Any], *names: str, default: int | None = None) -> int:
    for name in names:
        value = config.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
            if value or default is not None:
                return value
        elif value is not None:
            raise ValueError(f"{name} is {value!r}, expected a whole number")
    if default is None:
        raise ValueError(f"it has no {names[0]}")
    return default


def _shared_inner(told: Mapping[str, Any]) -> int:
    shared = _told(told, "shared_expert_intermediate_size", default=0)
    return shared or _told(told, "n_shared_experts", default=0) * _told(told, "moe_intermediate_size", default=0)


def _dense_layers(told: Mapping[str, Any], layers: int) -> int:
    """Return how many layers have one plain MLP instead of experts."""
    named = told.get("mlp_only_layers")
    if isinstance(named, list):
        return len(named)
    return min(layers, _told(told, "first_k_dense_replace", default=0))


def _stored_weights(model: Model, tuning: str) -> float:
    """Return the bytes of the frozen or trained weights. NF4 has half a byte and its constants; embeddings keep 16 bits."""
    if tuning != "qlora":
        return float(model.parameters * model.weight_bytes)
    words = model.shape.vocabulary * model.shape.hidden * (1 if model.shape.tied else 2)
    return 0.53 * max(0, model.parameters - words) + 2.0 * words


def _layer_weights(model: Model) -> float:
    """Return the bytes of the two layers that sharded training gathers at once."""
    return 2.0 * model.weight_bytes * model.parameters / model.shape.layers


def _activations(model: Model, run: Training, tokens: float) -> float:
    """Return the bytes that the backward pass needs of `tokens` tokens.

    A layer keeps what its backward reads: counted with saved-tensor hooks on transformers 5.23 (float32 copies in norms,
    and in adapters of a 16-bit model). With checkpointing only the inputs of layers stay, and one layer is whole.
    """
    shape, each = model.shape, model.weight_bytes
    inner = shape.inner
    if shape.experts:
        inner = shape.experts_used * shape.expert_inner + shape.shared_inner
    if run.tuning == "full" or each == 4:
        layer = (8 + 4 * each) * shape.hidden + 2 * each * (shape.queries + shape.values) + 4 * each * inner
    else:
        layer = 28 * shape.hidden + 8 * shape.queries + 4 * shape.values + 10 * inner
    passing = 3 * each * inner  # gradients on their way through the MLP
    kept = layer + shape.layers * each * shape.hidden if run.checkpointing else shape.layers * layer
    logits = min(FIT_LOGITS_TILE, 4 * tokens * min(shape.vocabulary, 32768))
    return tokens * (kept + passing) + logits


def _short_of_memory(memory: Memory, usable: float, flavor: Flavor) -> str:
    what = "a GPU" if flavor.gpus else "RAM"
    if memory.total <= usable:
        return ""
    return f"{memory.total / _BYTES_IN_GB:.1f} GB of {what} needed, {max(usable, 0) / _BYTES_IN_GB:.1f} usable"


def _short_of_disk(model: Model, flavor: Flavor) -> str:
    """The weights pass through RAM shard by shard, but lie on the disk whole."""
    needed = model.parameters * model.weight_bytes * 1.1 / _BYTES_IN_GB
    return f"{needed:.0f} GB of disk needed, {flavor.disk_gb:g} there" if needed > 0.9 * flavor.disk_gb > 0 else ""


def _speed(flavor: Flavor) -> tuple[float, float, Span] | None:
    """Return FLOP/s and bytes/s of one GPU (of all vCPUs without one), and the share reached; None for an unknown GPU."""
    if not flavor.gpus:
        peak, bandwidth, share = FIT_VCPU
        return peak * 1e12 * flavor.vcpus, bandwidth * 1e9 * flavor.vcpus, share
    words = flavor.gpu.upper().replace("-", " ").replace("NVIDIA", "").split()
    for name, (peak, bandwidth, share) in FIT_GPUS.items():
        if name.split() == words[: len(name.split())]:
            return peak * 1e12, bandwidth * 1e9, share
    return None


def _training_seconds(
    model: Model, run: Training, work: Work, speed: tuple[float, float, Span], gpus: int, steps: int, case: int
) -> float:
    peak, _, shares = speed
    tokens = work.tokens[case] * FIT_PADDING[case]
    if run.method == "grpo":
        tokens = run.generations * (tokens + work.rows * run.answer * FIT_LONGEST_ANSWER_SHARE[case])
        steps *= run.generations
    share = shares[2 - case] * (0.8 if run.tuning == "qlora" else 1.0)  # unpacking 4 bits takes its share
    together = gpus * (FIT_SCALING[2 - case] if gpus > 1 else 1.0)
    flops = training_flops(model, run, tokens, average=min(run.length, tokens / max(work.rows, 1)))
    starting = steps * model.shape.layers * FIT_SECONDS_A_LAYER[case]
    return max(flops / (peak * share * together), starting)


def _generation(model: Model, flavor: Flavor, rows: int, prompt: float, answer: int, batch: int) -> Span:
    """Return the seconds of generating: prompts at the GPU's compute, then steps that read the weights and the cache."""
    speed = _speed(flavor)
    if speed is None or not batch:
        return (0.0, 0.0, 0.0)
    peak, bandwidth, shares = speed
    gpus = flavor.gpus or 1
    read = _weights_read(model, batch)
    low, likely, high = (
        _generation_seconds(
            compute=2 * model.active / (peak * shares[2 - case] * gpus),
            reading=1 / (bandwidth * FIT_BANDWIDTH_SHARE[2 - case] * gpus),
            overhead=FIT_DECODE_SECONDS[case],
            rows=rows,
            prompt=prompt,
            answer=answer * FIT_LONGEST_ANSWER_SHARE[case],
            batch=batch,
            weights=read,
            cache=cache_bytes(model.shape),
        )
        for case in range(3)
    )
    return low, likely, high


def _generation_seconds(
    *,
    compute: float,
    reading: float,
    overhead: float,
    rows: int,
    prompt: float,
    answer: float,
    batch: int,
    weights: float,
    cache: float,
) -> float:
    steps = math.ceil(rows / batch) * answer
    step = max(reading * (weights + batch * (prompt + answer / 2) * cache), batch * compute) + overhead
    return rows * prompt * compute + steps * step


def _weights_read(model: Model, batch: int) -> float:
    """Return the bytes of weights that one step reads: of the experts those that at least one of `batch` tokens uses."""
    shape = model.shape
    total = float(model.parameters * model.weight_bytes)
    if not shape.experts:
        return total
    unused = (1 - shape.experts_used / shape.experts) ** batch
    experts = 3 * shape.hidden * shape.experts * shape.expert_inner * (shape.layers - shape.dense_layers)
    return total - unused * experts * model.weight_bytes


def _estimate(
    flavor: Flavor, memory: Memory, usable: float, batch: int, seconds: Iterable[float], model: Model
) -> Estimate:
    """Add the start and the download to the seconds of the work, and the price, billed by the minute."""
    download = model.parameters * model.weight_bytes / _BYTES_IN_GB
    low, likely, high = (
        work + FIT_START_SECONDS[case] + download / FIT_NETWORK_GB_S[2 - case] for case, work in enumerate(seconds)
    )
    dollars = [math.ceil(one / 60) / 60 * flavor.usd_per_hour for one in (low, likely, high)]
    return Estimate(
        flavor=flavor,
        memory=memory,
        usable=usable,
        batch=batch,
        seconds=(low, likely, high),
        usd=(dollars[0], dollars[1], dollars[2]),
    )
