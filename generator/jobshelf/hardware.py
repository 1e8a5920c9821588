"""The machines of Jobs and their prices: the Hub's list of this moment, else the dated one that scripts embed; and advice.

What machines are, what fits on them and what it costs is said by the blocks `flavors` and `fit`, which scripts embed; the
tool runs that very code.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from types import ModuleType
from typing import Any, Final

from jobshelf.blocks import load
from jobshelf.errors import EnvironmentFault, InputError, UsageError

# What advice is given for: sizes in billions of parameters, kinds of work, and the rows and their tokens (low, likely, high).
ADVICE_SIZES: Final = (0.5, 1.5, 3, 8, 14, 32, 70)
ADVICE_WORK: Final = ("SFT, LoRA", "SFT, full", "DPO, LoRA", "GRPO, LoRA", "generate", "GGUF")
ADVICE_ROWS, ADVICE_TOKENS, ADVICE_LENGTH = 10_000, (400.0, 500.0, 600.0), 1024
_TRAININGS: Final = (("sft", "lora"), ("sft", "full"), ("dpo", "lora"), ("grpo", "lora"))
_SNAPSHOT = re.compile(r'(FLAVORS_DATE = ")[^"]*("\nFLAVORS_TABLE = """\\\n)(.*?)(""")', re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Flavors by name, as the block `flavors` describes them; where the prices come from, and whether they are live."""

    flavors: Mapping[str, Any]
    origin: str
    live: bool

    def find(self, name: str) -> Any:  # noqa: ANN401 - the block's own class, which is loaded and not imported
        """Return the flavor called `name`. Raises UsageError that names the nearest one and why."""
        if name in self.flavors:
            return self.flavors[name]
        nearest, reason = flavors_block().nearest_flavor(name, self.flavors)
        raise UsageError(f"there is no flavor {name!r}; the nearest is {nearest}: {reason}", fix=f"name {nearest}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The flavor on which a kind of work with a model of `size` billions of parameters is likely to cost least.

    `estimate` is the block `fit`'s own, None where the work fits on no flavor.
    """

    size: float
    work: str
    estimate: Any

    @property
    def likely(self) -> str:
        """The likely time and cost."""
        if self.estimate is None:
            return "-"
        minutes = self.estimate.seconds[1] / 60
        time = f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
        return f"{time}, ${self.estimate.usd[1]:.2f}"

    @property
    def timeout(self) -> str:
        """What `--timeout` takes: the high estimate and 30 % more, rounded up."""
        if self.estimate is None:
            return "-"
        minutes = self.estimate.timeout_minutes
        return f"{minutes // 60}h" if minutes % 60 == 0 else f"{minutes}m"


def flavors_block() -> ModuleType:
    """Return the block `flavors` as a module."""
    return load("flavors")


def fit_block() -> ModuleType:
    """Return the block `fit` as a module; its flavors are those of `flavors_block`."""
    return load("fit")


def find_hardware() -> Hardware:
    """Return what Jobs offer: the environment's Hub is asked, with the token of the login where there is one.

    A Hub that does not answer usably is a note on stderr and the dated list, not an error.
    """
    from huggingface_hub import get_token

    listed = flavors_block().current_flavors(get_token())
    return Hardware(flavors=listed.flavors, origin=listed.origin, live=listed.live)


def advise(flavors: Mapping[str, Any]) -> Iterator[Advice]:
    """Yield the advice for each size and kind of work: ADVICE_ROWS rows once, sequences of ADVICE_LENGTH tokens."""
    for size in ADVICE_SIZES:
        for work, estimates in zip(ADVICE_WORK, _estimates(size, flavors), strict=True):
            best = fit_block().rank_estimates(estimates)[0]
            yield Advice(size=size, work=work, estimate=None if best.short else best)


def advice_text(hardware: Hardware) -> str:
    """Return the advice as a ruled table."""
    rows = [f"{'model':<7}{'work':<12}{'flavor':<16}{'likely':<22}timeout", "-" * 64]
    for one in advise(hardware.flavors):
        flavor = one.estimate.flavor.name if one.estimate else "none"
        rows.append(f"{f'{one.size:g}B':<7}{one.work:<12}{flavor:<16}{one.likely:<22}{one.timeout}")
    rows.append(f"{ADVICE_ROWS:,} rows of {ADVICE_TOKENS[1]:g} tokens, once; prices: {hardware.origin}")
    rows.append("estimates: jobshelf estimate --model M --dataset D says it for yours")
    return "\n".join(rows) + "\n"


def refreshed(source: str, hardware: Hardware, today: date) -> str:
    """Return the source of the block `flavors` with the machines and prices of a live list, dated.

    Machines that are known keep their order, others follow. Raises EnvironmentFault for a list that is not live, InputError
    for a source without a list.
    """
    if not hardware.live:
        raise EnvironmentFault(
            "the Hub gave no list of machines", fix="check the network and HF_ENDPOINT, then run it again"
        )
    match = _SNAPSHOT.search(source)
    if match is None:
        raise InputError("the block 'flavors' has no dated table", fix="restore templates/blocks/flavors.py")
    known = list(flavors_block().read_flavor_table(match[3]))
    order = [name for name in known if name in hardware.flavors] + [
        name for name in hardware.flavors if name not in known
    ]
    table = "".join(f"{_line(hardware.flavors[name])}\n" for name in order)
    return f"{source[: match.start()]}{match[1]}{today.isoformat()}{match[2]}{table}{match[4]}{source[match.end() :]}"


def hardware_json(hardware: Hardware) -> str:
    """Return the list as one JSON object."""
    flavors = [asdict(flavor) for flavor in _by_price(hardware)]
    return json.dumps({"origin": hardware.origin, "live": hardware.live, "flavors": flavors}, indent=2) + "\n"


def hardware_text(hardware: Hardware) -> str:
    """Return the list as a ruled table, cheapest first."""
    rows = [
        f"{'flavor':<16}{'vCPU':>5}{'RAM GB':>8}{'disk GB':>9}  {'accelerator':<23}{'$/minute':>9}{'$/hour':>8}",
        "-" * 78,
    ]
    for flavor in _by_price(hardware):
        rows.append(
            f"{flavor.name:<16}{flavor.vcpus:>5}{flavor.ram_gb:>8g}{flavor.disk_gb:>9g}  {flavor.chips:<23}"
            f"{flavor.usd_per_hour / 60:>9.4f}{flavor.usd_per_hour:>8.2f}"
        )
    rows.append(f"prices: {hardware.origin}")
    return "\n".join(rows) + "\n"


def _by_price(hardware: Hardware) -> list[Any]:
    return sorted(hardware.flavors.values(), key=lambda flavor: (flavor.usd_per_hour, flavor.name))


def _line(flavor: Any) -> str:  # noqa: ANN401 - the block's own class, which is loaded and not imported
    price = (
        f"{flavor.usd_per_hour:.2f}"
        if round(flavor.usd_per_hour, 2) == flavor.usd_per_hour
        else f"{flavor.usd_per_hour:g}"
    )
    line = f"{flavor.name:<16} {flavor.vcpus:>3} {flavor.ram_gb:>4g} {flavor.disk_gb:>5g} {price:>5}"
    return f"{line} {flavor.gpus:>2} {flavor.vram_gb:>3g}  {flavor.gpu}" if flavor.gpus else line


def _estimates(size: float, flavors: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield, for each of ADVICE_WORK, what it would be on every flavor."""
    fit = fit_block()
    model = fit.model_of(fit.typical_architecture(size * 1e9), parameters=round(size * 1e9))
    low, likely, high = (ADVICE_ROWS * tokens for tokens in ADVICE_TOKENS)
    work = fit.Work(rows=ADVICE_ROWS, tokens=(low, likely, high))
    machines = [flavor for flavor in flavors.values() if flavor.gpus]
    for method, tuning in _TRAININGS:
        yield [
            fit.estimate_training(
                model,
                fit.Training(
                    method=method, tuning=tuning, length=ADVICE_LENGTH, sharded=tuning == "full" and flavor.gpus > 1
                ),
                work,
                flavor,
            )
            for flavor in machines
        ]
    yield [
        fit.estimate_generation(model, rows=ADVICE_ROWS, prompt=ADVICE_TOKENS, answer=512, flavor=flavor)
        for flavor in machines
    ]
    yield [fit.estimate_conversion(model, flavor) for flavor in flavors.values()]
