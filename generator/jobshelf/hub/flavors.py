"""The hardware that Jobs can ask for.

From Hugging Face's Jobs price list (docs `jobs-pricing`, read 2026-11-20). Here it only names what a Job asked for:
the embedded Hub runs every Job on this machine, without an accelerator.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU model; memory in GB."""

    model: str
    vram_gb: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """A machine: cores, memory and disk in GB, price in US dollars an hour."""

    name: str
    cores: int
    memory_gb: int
    disk_gb: int
    usd_per_hour: float
    gpu: Gpu | None = None
    gpus: int = 0

    def as_json(self) -> dict[str, Any]:
        """The flavor as `GET /api/jobs/hardware` lists it; prices there are per minute."""
        return {
            "name": self.name,
            "prettyName": self.name if self.gpu is None else f"{self.gpus}x Nvidia {self.gpu.model}",
            "cpu": f"{self.cores} vCPU",
            "ram": f"{self.memory_gb} GB",
            "ephemeralStorage": f"{self.disk_gb} GB",
            "accelerator": self._accelerator(),
            "unitCostMicroUSD": round(self.usd_per_hour * 1_000_000 / 60),
            "unitCostUSD": self.usd_per_hour / 60,
            "unitLabel": "minute",
        }

    def _accelerator(self) -> dict[str, str] | None:
        if self.gpu is None:
            return None
        return {
            "type": "gpu",
            "model": self.gpu.model,
            "quantity": str(self.gpus),
            "vram": f"{self.gpu.vram_gb * self.gpus} GB",
            "manufacturer": "Nvidia",
        }


_T4, _L4, _A10G = Gpu(model="T4", vram_gb=16), Gpu(model="L4", vram_gb=24), Gpu(model="A10G", vram_gb=24)
_L40S, _A100, _H200 = Gpu(model="L40S", vram_gb=48), Gpu(model="A100", vram_gb=80), Gpu(model="H200", vram_gb=141)
_RTX = Gpu(model="RTX PRO 6000", vram_gb=96)

# name, vCPU, RAM GB, disk GB, $/h, GPU, how many
_TABLE: tuple[tuple[str, int, int, int, float, Gpu | None, int], ...] = (
    ("cpu-basic", 2, 16, 50, 0.01, None, 0),
    ("cpu-upgrade", 8, 32, 50, 0.03, None, 0),
    ("cpu-xl", 16, 124, 1000, 1.00, None, 0),
    ("cpu-performance", 32, 256, 1024, 1.90, None, 0),
    ("t4-small", 4, 15, 50, 0.40, _T4, 1),
    ("t4-medium", 8, 30, 100, 0.60, _T4, 1),
    ("l4x1", 8, 30, 400, 0.80, _L4, 1),
    ("l4x4", 48, 186, 3200, 3.80, _L4, 4),
    ("l40sx1", 8, 62, 380, 1.80, _L40S, 1),
    ("l40sx4", 48, 382, 3200, 8.30, _L40S, 4),
    ("l40sx8", 192, 1534, 6500, 23.50, _L40S, 8),
    ("a10g-small", 4, 15, 110, 1.00, _A10G, 1),
    ("a10g-large", 12, 46, 200, 1.50, _A10G, 1),
    ("a10g-largex2", 24, 92, 1000, 3.00, _A10G, 2),
    ("a10g-largex4", 48, 184, 2000, 5.00, _A10G, 4),
    ("a100-large", 12, 142, 1000, 2.50, _A100, 1),
    ("a100x4", 48, 568, 4000, 10.00, _A100, 4),
    ("a100x8", 96, 1136, 8000, 20.00, _A100, 8),
    ("h200", 23, 256, 3000, 5.00, _H200, 1),
    ("h200x2", 46, 512, 6000, 10.00, _H200, 2),
    ("h200x4", 92, 1024, 12000, 20.00, _H200, 4),
    ("h200x8", 184, 2048, 24000, 40.00, _H200, 8),
    ("rtx-pro-6000", 23, 256, 475, 2.75, _RTX, 1),
    ("rtx-pro-6000x2", 46, 512, 950, 5.50, _RTX, 2),
    ("rtx-pro-6000x4", 92, 1024, 1900, 11.00, _RTX, 4),
    ("rtx-pro-6000x8", 184, 2048, 3800, 22.00, _RTX, 8),
)

FLAVORS: dict[str, Flavor] = {
    name: Flavor(name=name, cores=cores, memory_gb=memory, disk_gb=disk, usd_per_hour=price, gpu=gpu, gpus=count)
    for name, cores, memory, disk, price, gpu, count in _TABLE
}
