"""Block `preflight`: what is missing is named before money is spent, with the flavor that has it."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from jobshelf import blocks

preflight, exits = blocks.load("preflight"), blocks.load("exits")
GB = 1_000_000_000


def stopped(call: object, code: int) -> str:
    with pytest.raises(exits.Stop) as stop:
        call()  # type: ignore[operator]
    assert stop.value.code == code
    return str(stop.value)


def test_columns_that_are_there() -> None:
    preflight.require_columns(["a", "b"], ["a", "b", "c"], where="user/data")
    preflight.require_free_columns(["d"], ["a"], where="user/data", flag="--output-column")


@pytest.mark.parametrize(
    ("wanted", "likely"),
    [("promt", "'prompt'"), ("Prompt", "'prompt'"), ("PROMPT", "'prompt'"), ("xyzzy", "name one of")],
)
def test_a_missing_column(wanted: str, likely: str) -> None:
    said = stopped(lambda: preflight.require_columns([wanted], ["id", "prompt"], where="user/data"), 4)
    assert f"user/data has no column {wanted!r}; it has: id, prompt" in said
    assert likely in said


def test_many_columns_are_not_all_listed() -> None:
    said = stopped(lambda: preflight.require_columns(["x"], [f"c{n}" for n in range(50)], where="d"), 4)
    assert "and 30 more" in said


def test_an_output_column_that_is_taken() -> None:
    columns = ["response", "response_2"]
    said = stopped(lambda: preflight.require_free_columns(["response"], columns, where="d", flag="--output-column"), 4)
    assert said.endswith("Fix: add --output-column response_3")


def test_disk(tmp_path: Path) -> None:
    preflight.require_disk(1, tmp_path / "not/yet/there")
    said = stopped(lambda: preflight.require_disk(10**15, tmp_path), 5)
    assert str(tmp_path) in said
    assert "--flavor h200x8" in said


def test_ram_of_this_machine() -> None:
    assert preflight.available_ram() > 100_000_000
    preflight.require_ram(1)


@pytest.mark.parametrize(
    ("limit", "available"), [("4000000000", 4 * GB), ("max", 8 * GB), ("9223372036854771712", 8 * GB)]
)
def test_ram_of_a_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, available: int) -> None:
    (tmp_path / "memory.max").write_text(limit + "\n")
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\nMemAvailable:    7812500 kB\n")
    monkeypatch.setattr(preflight, "PREFLIGHT_CGROUPS", (str(tmp_path / "memory.max"), str(tmp_path / "none")))
    monkeypatch.setattr(preflight, "PREFLIGHT_MEMINFO", str(tmp_path / "meminfo"))
    assert preflight.available_ram() == available
    said = stopped(lambda: preflight.require_ram(31 * GB), 5)
    assert f"31.0 GB of memory needed, {available / GB:.1f} GB found" in said
    assert "--flavor cpu-upgrade" in said


def test_a_machine_that_tells_nothing_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "PREFLIGHT_CGROUPS", (str(tmp_path / "none"),))
    monkeypatch.setattr(preflight, "PREFLIGHT_MEMINFO", str(tmp_path / "none"))
    assert preflight.available_ram() is None
    preflight.require_ram(10**15)


@pytest.fixture
def gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A real program called nvidia-smi that answers as one with two GPUs does."""
    program = tmp_path / "nvidia-smi"
    program.write_text('#!/bin/sh\necho "NVIDIA L4, 23034"\necho "NVIDIA A100-SXM4-80GB, 81920"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return program


def test_gpus(gpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = preflight.require_vram(100 * GB)
    assert [(gpu.name, gpu.memory) for gpu in found] == [
        ("NVIDIA L4", 23034 * 2**20),
        ("NVIDIA A100-SXM4-80GB", 81920 * 2**20),
    ]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert [gpu.name for gpu in preflight.list_gpus()] == ["NVIDIA A100-SXM4-80GB"]


def test_gpus_that_are_too_small(gpus: Path) -> None:
    said = stopped(lambda: preflight.require_vram(120 * GB), 5)
    assert "GPU memory (NVIDIA L4, NVIDIA A100-SXM4-80GB)" in said
    assert "--flavor h200" in said


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_hidden_gpus(gpus: Path, monkeypatch: pytest.MonkeyPatch, hidden: str) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
    assert preflight.list_gpus() == ()


@pytest.mark.parametrize("answer", ["exit 9", 'echo "no devices were found"', 'echo "GPU, [N/A]"'])
def test_no_gpu_names_the_flavor(gpus: Path, answer: str) -> None:
    gpus.write_text(f"#!/bin/sh\n{answer}\n")
    said = stopped(lambda: preflight.require_vram(14 * GB), 5)
    assert "no GPU here" in said
    assert said.endswith("--flavor t4-small")


def test_no_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "--flavor a100-large" in stopped(lambda: preflight.require_vram(70 * GB), 5)


@pytest.mark.parametrize(
    ("needs", "flavor"),
    [
        ({}, "cpu-basic"),
        ({"ram": 100 * GB}, "cpu-xl"),
        ({"vram": 20 * GB}, "l4x1"),
        ({"vram": 20 * GB, "ram": 60 * GB}, "l40sx1"),
        ({"disk": 500 * GB}, "cpu-xl"),
        ({"vram": 10**15}, "h200x8"),
    ],
)
def test_the_cheapest_flavor_that_has_it(needs: dict[str, int], flavor: str) -> None:
    assert preflight.preflight_flavor(**needs) == flavor


def test_flavors_are_those_of_the_client() -> None:
    known = {item.value for item in huggingface_hub.JobHardware}
    assert {name for name, *_ in preflight.PREFLIGHT_FLAVORS} <= known
