"""Block `fit`: parameter counts of published models, memory and time by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobshelf import blocks

fit, flavors = blocks.load("fit"), blocks.load("flavors")
F = flavors.FLAVORS


def config(
    family: str,
    hidden: int,
    inner: int,
    layers: int,
    heads: int,
    kv_heads: int,
    words: int,
    *,
    tied: bool | None = False,
    **more: Any,
) -> dict[str, Any]:
    told = {} if tied is None else {"tie_word_embeddings": tied}
    return {
        "model_type": family,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "vocab_size": words,
        **told,
        **more,
    }


# What their config.json files say, and the number of parameters that the Hub shows for their safetensors files.
EXPERTS = {"moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "head_dim": 128}
SHARED = {
    "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632,
    "num_experts": 60,
    "num_experts_per_tok": 4,
}
PUBLISHED = {
    "meta-llama/Llama-3.1-8B": (config("llama", 4096, 14336, 32, 32, 8, 128256), 8_030_261_248),
    "Qwen/Qwen2.5-0.5B": (config("qwen2", 896, 4864, 24, 14, 2, 151936, tied=True), 494_032_768),
    "Qwen/Qwen3-30B-A3B": (config("qwen3_moe", 2048, 6144, 48, 32, 4, 151936, **EXPERTS), 30_532_122_624),
    "Qwen/Qwen3-0.6B": (config("qwen3", 1024, 3072, 28, 16, 8, 151936, tied=True, head_dim=128), 596_049_920),
    "google/gemma-2-2b": (config("gemma2", 2304, 9216, 26, 8, 4, 256000, tied=None, head_dim=256), 2_614_341_888),
    "google/gemma-3-1b-it": (
        config("gemma3_text", 1152, 6912, 26, 4, 1, 262144, tied=None, head_dim=256),
        999_885_952,
    ),
    "mistralai/Mistral-7B-v0.1": (config("mistral", 4096, 14336, 32, 32, 8, 32000), 7_241_732_096),
    "mistralai/Mixtral-8x7B-v0.1": (
        config("mixtral", 4096, 14336, 32, 32, 8, 32000, num_local_experts=8, num_experts_per_tok=2),
        46_702_792_704,
    ),
    "microsoft/Phi-3-mini-4k-instruct": (config("phi3", 3072, 8192, 32, 32, 32, 32064), 3_821_079_552),
    "HuggingFaceTB/SmolLM2-135M": (config("llama", 576, 1536, 30, 9, 3, 49152, tied=True), 134_515_008),
    "Qwen/Qwen1.5-MoE-A2.7B": (config("qwen2_moe", 2048, 5632, 24, 16, 16, 151936, **SHARED), 14_315_784_192),
    "allenai/OLMo-2-1124-7B": (config("olmo2", 4096, 11008, 32, 32, 32, 100352), 7_298_617_344),
}
LLAMA, QWEN, MOE = (PUBLISHED[name][0] for name in list(PUBLISHED)[:3])


def model(told: dict[str, Any], **more: Any) -> Any:
    return fit.model_of(fit.read_architecture(told), **more)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts_are_met_exactly(name: str) -> None:
    told, published = PUBLISHED[name]
    shape = fit.read_architecture(told)
    assert fit.count_parameters(shape) == published
    assert shape.exact


def test_active_parameters() -> None:
    # By hand: 30,532,122,624 less 120 of 128 experts of 3 x 2048 x 768 in each of 48 layers.
    moe = model(MOE)
    assert moe.active == 30_532_122_624 - 48 * 120 * 3 * 2048 * 768 == 3_353_032_704
    assert model(LLAMA).active == 8_030_261_248


def test_a_count_that_is_known_better_wins() -> None:
    moe = model(MOE, parameters=31_000_000_000)
    assert moe.parameters == 31_000_000_000
    assert moe.active == pytest.approx(3_353_032_704 * 31_000_000_000 / 30_532_122_624)


def test_other_names_of_keys_and_nested_configs() -> None:
    gpt2 = {"model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}
    shape = fit.read_architecture(gpt2)
    assert (shape.hidden, shape.inner, shape.kv_heads, shape.context, shape.exact) == (768, 3072, 12, 1024, False)
    nested = {"model_type": "gemma3", "text_config": PUBLISHED["google/gemma-3-1b-it"][0], "vision_config": {}}
    inside = fit.read_architecture(nested)
    assert fit.count_parameters(inside) == 999_885_952
    assert not inside.exact


# Families that are not in the table: counted by transformers 5.23 from the same values.
OTHERS = {
    "gpt2": ({"n_embd": 768, "n_layer": 12, "n_head": 12, "vocab_size": 50257, "n_positions": 1024}, 124_439_808),
    "gpt_neox": (config("gpt_neox", 768, 3072, 12, 12, 12, 50304, tied=None), 162_322_944),
    "opt": (
        {"hidden_size": 768, "ffn_dim": 3072, "num_hidden_layers": 12, "num_attention_heads": 12, "vocab_size": 50272},
        125_239_296,
    ),
    "falcon": (
        {
            "hidden_size": 4544,
            "num_hidden_layers": 32,
            "num_attention_heads": 71,
            "vocab_size": 65024,
            "multi_query": True,
        },
        6_921_720_704,
    ),
    "gpt_oss": (
        config("gpt_oss", 2880, 2880, 24, 64, 8, 201088, head_dim=64, num_local_experts=32, num_experts_per_tok=4),
        20_914_757_184,
    ),
}


@pytest.mark.parametrize("family", OTHERS)
def test_other_families_within_two_percent(family: str) -> None:
    told, counted = OTHERS[family]
    shape = fit.read_architecture(told | {"model_type": family})
    assert fit.count_parameters(shape) == pytest.approx(counted, rel=0.02)
    assert not shape.exact


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
@pytest.mark.parametrize("value", [None, "many", 1.5, -1, True, 10**12])
def test_a_config_that_does_not_say_it_names_the_key(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=key):
        fit.read_architecture(LLAMA | {key: value})


def test_adapters_by_hand() -> None:
    # Llama-3.1-8B, rank 16, a layer: q and o 2 x (4096 + 4096), k and v 2 x (4096 + 1024), three of 4096 + 14336.
    shape = fit.read_architecture(LLAMA)
    assert fit.adapter_parameters(shape, 16) == 16 * 32 * (16384 + 10240 + 55296) == 41_943_040
    # What PEFT prints for rank 16 on all linear layers of it: trainable params: 41,943,040.


def test_full_training_memory_by_hand() -> None:
    run = fit.Training(tuning="full", length=1024)
    memory = fit.training_memory(model(LLAMA), run, batch=1)
    assert memory.weights == 2 * 8_030_261_248
    assert memory.gradients == 2 * 8_030_261_248
    assert memory.optimizer == 4 * 8_030_261_248
    # A layer in 16 bits keeps 16 h + 4 (q + kv) + 8 i bytes a token, 6 i pass through, and 32 inputs of 2 h stay.
    token = 16 * 4096 + 4 * (4096 + 1024) + 8 * 14336 + 6 * 14336 + 32 * 2 * 4096
    assert memory.activations == 1024 * token + 4 * 1024 * 32768
    kept = fit.training_memory(model(LLAMA), fit.Training(tuning="full", length=1024, checkpointing=False), batch=1)
    assert kept.activations > 5 * memory.activations
    assert fit.training_memory(model(LLAMA, weight_bytes=4), run, batch=1).optimizer == 8 * 8_030_261_248


def test_qlora_weights_by_hand() -> None:
    memory = fit.training_memory(model(LLAMA), fit.Training(tuning="qlora"), batch=1)
    words = 2 * 128256 * 4096
    assert memory.weights == pytest.approx(0.53 * (8_030_261_248 - words) + 2 * words + 4 * 41_943_040)
    assert memory.optimizer == 8 * 41_943_040


def test_reference_models_and_pairs() -> None:
    sft, dpo, lora = (
        fit.training_memory(model(QWEN), fit.Training(tuning=tuning, method=method), batch=1)
        for tuning, method in (("full", "sft"), ("full", "dpo"), ("lora", "dpo"))
    )
    assert dpo.weights == 2 * sft.weights
    assert dpo.activations > 1.5 * sft.activations
    assert lora.weights < 1.1 * sft.weights


def test_sharding_divides_what_it_spreads() -> None:
    run = fit.Training(tuning="full", sharded=True)
    one, four = (fit.training_memory(model(LLAMA), run, batch=1, gpus=gpus) for gpus in (1, 4))
    assert four.optimizer == one.optimizer / 4
    assert one.weights / 4 < four.weights < one.weights / 2
    assert fit.estimate_training(model(LLAMA), run, WORK, F["a100x4"]).short == ""


def test_cache_by_hand() -> None:
    # 2 (keys, values) x 2 bytes x 32 layers x 8 heads x 128.
    assert fit.cache_bytes(fit.read_architecture(LLAMA)) == 131_072


def test_flops_by_hand() -> None:
    # Without attention (length 0): 2 for each parameter but the embedding, forward; three times that with backward.
    run = fit.Training(tuning="full", checkpointing=False)
    weights = 8_030_261_248 - 128256 * 4096
    assert fit.training_flops(model(LLAMA), run, 10, average=0) == 10 * 6 * weights
    attended = 4 * 4096 * 32 * 1024 / 2
    assert fit.training_flops(model(LLAMA), run, 1, average=1024) == 3 * (2 * weights + attended)
    lora = fit.Training(tuning="lora", checkpointing=True)
    assert fit.training_flops(model(LLAMA), lora, 10, average=0) == 10 * 3 * 2 * weights


WORK = fit.Work(rows=48_000, tokens=(48_000 * 380.0, 48_000 * 400.0, 48_000 * 420.0))


def test_what_fits_where() -> None:
    lora, full, qlora = (fit.Training(tuning=tuning) for tuning in ("lora", "full", "qlora"))
    fits = {
        run.tuning: {
            name for name, flavor in F.items() if not fit.estimate_training(model(LLAMA), run, WORK, flavor).short
        }
        for run in (lora, full, qlora)
    }
    assert {"l4x1", "a10g-large", "a100-large"} <= fits["lora"]
    assert not {"t4-small", "t4-medium", "cpu-basic"} & fits["lora"]
    assert {"a100-large", "h200"} <= fits["full"]
    assert not {"l4x4", "a10g-largex4", "l40sx8"} & fits["full"]
    assert "t4-small" in fits["qlora"]


def test_what_does_not_fit_says_what_is_missing() -> None:
    estimate = fit.estimate_training(model(LLAMA), fit.Training(tuning="full"), WORK, F["a10g-large"])
    assert (estimate.usd, estimate.batch) == ((0, 0, 0), 0)
    assert estimate.short == "64.9 GB of a GPU needed, 21.8 usable"


def test_time_and_cost_by_hand() -> None:
    run = fit.Training(tuning="lora", batch=8)
    estimate = fit.estimate_training(model(LLAMA), run, WORK, F["a100-large"])
    tokens = 48_000 * 400 * 1.1
    flops = fit.training_flops(model(LLAMA), run, tokens, average=440)
    seconds = flops / (312e12 * 0.40) + 180 + 2 * 8_030_261_248 / 0.25e9
    assert estimate.seconds[1] == pytest.approx(seconds)
    assert estimate.usd[1] == pytest.approx((int(seconds // 60) + 1) / 60 * 2.50)
    assert estimate.seconds[0] < estimate.seconds[1] < estimate.seconds[2]
    assert estimate.timeout_minutes * 60 >= 1.3 * estimate.seconds[2]


def test_tiny_models_wait_for_their_kernels() -> None:
    tiny = model(config("llama", 64, 128, 30, 2, 2, 512))
    work = fit.Work(rows=8000, tokens=(8e3, 8e3, 8e3))
    estimate = fit.estimate_training(tiny, fit.Training(batch=8), work, F["h200"])
    assert estimate.seconds[1] == pytest.approx(1000 * 30 * 0.001 + 180, rel=0.01)


def test_an_unknown_gpu_has_memory_but_no_speed() -> None:
    flavor = flavors.Flavor(
        name="x", vcpus=8, ram_gb=100, disk_gb=900, usd_per_hour=1, gpus=1, vram_gb=80, gpu="Xyzzy 9"
    )
    assert fit.estimate_training(model(QWEN), fit.Training(), WORK, flavor).short == "the speed of Xyzzy 9 is not known"
    named = fit.estimate_training(model(QWEN), fit.Training(), WORK, F["a100-large"])
    for gpu in ("NVIDIA A100-SXM4-80GB", "Nvidia A100", "a100"):
        same = flavors.Flavor(
            name="x", vcpus=12, ram_gb=142, disk_gb=1000, usd_per_hour=2.5, gpus=1, vram_gb=80, gpu=gpu
        )
        assert fit.estimate_training(model(QWEN), fit.Training(), WORK, same).seconds == named.seconds


def test_generation_by_hand() -> None:
    llama = model(LLAMA)
    estimate = fit.estimate_generation(
        llama, rows=1000, prompt=(200.0, 200.0, 256.0), answer=768, flavor=F["a100-large"]
    )
    assert estimate.batch == 256  # 1,024 tokens of 131,072 bytes are 134 MB; 55 GB are left
    assert estimate.memory.cache == 256 * 1024 * 131_072
    answer, compute = 768 * 0.6, 2 * 8_030_261_248 / (312e12 * 0.40)
    read = (2 * 8_030_261_248 + 256 * (200 + answer / 2) * 131_072) / (2039e9 * 0.6)
    seconds = 1000 * 200 * compute + 4 * answer * (max(read, 256 * compute) + 0.004)
    start = 180 + 2 * 8_030_261_248 / 0.25e9
    assert estimate.seconds[1] == pytest.approx(seconds + start)
    assert fit.estimate_generation(llama, rows=9, prompt=(9, 9, 9), answer=9, flavor=F["t4-small"]).short


def test_a_mixture_reads_fewer_experts_in_small_batches() -> None:
    moe = model(MOE)
    assert fit._weights_read(moe, 1) == pytest.approx(2 * 3_353_032_704)
    assert fit._weights_read(moe, 256) == pytest.approx(2 * 30_532_122_624, rel=1e-6)


def test_conversion_needs_ram_and_disk() -> None:
    llama = model(LLAMA)
    small = fit.estimate_conversion(llama, F["cpu-basic"])
    assert (small.short, small.memory.total) == ("", 3 * 4 * 128_256 * 4096)  # its embedding, in float32, three times
    large = fit.model_of(fit.typical_architecture(70e9))
    assert "disk" in fit.estimate_conversion(large, F["cpu-basic"]).short
    assert fit.estimate_conversion(large, F["cpu-xl"]).short == ""
    wide = replace(large, shape=replace(large.shape, experts=256, expert_inner=2048))
    assert "RAM" in fit.estimate_conversion(wide, F["cpu-upgrade"]).short


def test_ranking() -> None:
    ranked = fit.rank_estimates(
        fit.estimate_training(model(LLAMA), fit.Training(), WORK, flavor) for flavor in F.values()
    )
    fitting = [one for one in ranked if not one.short]
    assert ranked[: len(fitting)] == fitting
    quick = [one for one in fitting if one.seconds[1] <= 86_400]
    assert fitting[: len(quick)] == quick == sorted(quick, key=lambda one: (one.usd[1], one.flavor.usd_per_hour))


@pytest.mark.parametrize(
    ("seconds", "minutes"),
    [(0, 10), (60, 10), (461, 10), (462, 15), (3600, 80), (3600 * 1.6, 135), (3600 * 10, 780), (3600 * 10 + 1, 840)],
)
def test_timeouts(seconds: float, minutes: int) -> None:
    assert fit.timeout_minutes(seconds) == minutes


@given(seconds=st.floats(0, 1e7))
def test_a_timeout_holds_the_run_and_its_buffer(seconds: float) -> None:
    minutes = fit.timeout_minutes(seconds)
    assert minutes >= 10
    assert minutes * 60 >= 1.3 * seconds - 1e-6
    assert minutes <= max(10, 1.3 * seconds / 60 + 60)


@given(st.floats(1e7, 5e12))
def test_a_typical_shape_for_every_size(parameters: float) -> None:
    shape = fit.typical_architecture(parameters)
    assert fit.model_of(shape, parameters=int(parameters)).active == int(parameters)


@given(
    tuning=st.sampled_from(["full", "lora", "qlora"]),
    method=st.sampled_from(["sft", "dpo", "kto", "reward", "grpo"]),
    length=st.integers(1, 10**6),
    flavor=st.sampled_from(sorted(F)),
    told=st.sampled_from([LLAMA, QWEN, MOE]),
)
def test_any_training_has_an_estimate_or_a_reason(
    tuning: str, method: str, length: int, flavor: str, told: dict[str, Any]
) -> None:
    run = fit.Training(tuning=tuning, method=method, length=length)
    estimate = fit.estimate_training(model(told), run, WORK, F[flavor])
    assert bool(estimate.short) != (0 < estimate.usd[0] <= estimate.usd[1] <= estimate.usd[2])
