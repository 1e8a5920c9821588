"""The machines of Jobs and their prices: the Hub's list of this moment, else the dated one; and advice.

The one dated list is the constant `FLAVORS` of `catalog/estimate_cost.py`, read here as data. What fits on a machine and
what it costs is that script's own arithmetic.
"""

from __future__ import annotations

import ast
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from jobshelf.errors import EnvironmentFault, InputError, UsageError
from jobshelf.shelf import Shelf, installed_shelf

if TYPE_CHECKING:
    from huggingface_hub import HfApi

SCRIPT: Final = "estimate_cost.py"
# What advice is given for: sizes in billions of parameters, kinds of work in the words of estimate_cost, rows and tokens.
ADVICE_SIZES: Final = (0.5, 1.5, 3, 8, 14, 32, 70)
ADVICE_WORK: Final[Mapping[str, tuple[str, ...]]] = {
    "SFT, LoRA": (),
    "SFT, full": ("--tuning", "full", "--fsdp"),
    "DPO, LoRA": ("--method", "dpo"),
    "GRPO, LoRA": ("--method", "grpo"),
    "generate": ("--job", "generate"),
    "GGUF": ("--job", "convert"),
}
ADVICE_ROWS, ADVICE_TOKENS, ADVICE_LENGTH = 10_000, 500, 1024
_TABLE = re.compile(r'^(PRICES_DATE = ")[^"]*("\nFLAVORS = \{\n)(.*?)(^\}\n)', re.DOTALL | re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavor:
    """A machine. Memory and disk in GB (10**9 bytes), `vram_gb` that of one GPU; `gpu` is its model, "" for none."""

    name: str
    vcpus: int
    ram_gb: float
    disk_gb: float
    usd_per_hour: float
    gpus: int = 0
    vram_gb: float = 0.0
    gpu: str = ""

    @property
    def chips(self) -> str:
        """The accelerators as people name them: `2x A10G 24 GB`, or `-`."""
        return f"{self.gpus}x {self.gpu} {self.vram_gb:g} GB" if self.gpus else "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Flavors by name; where the prices come from, and whether they are live."""

    flavors: Mapping[str, Flavor]
    origin: str
    live: bool

    def find(self, name: str) -> Flavor:
        """Return the flavor called `name`. Raises UsageError that names the nearest one and why."""
        if name in self.flavors:
            return self.flavors[name]
        nearest, reason = nearest_flavor(name, self.flavors)
        raise UsageError(f"there is no flavor {name!r}; the nearest is {nearest}: {reason}", fix=f"name {nearest}")

    def with_at_least(self, *, ram_gb: float = 0, vram_gb: float = 0) -> Hardware:
        """Return only the machines with so much RAM, and so much memory on all their GPUs together.

        Raises UsageError when no machine has that much.
        """
        fitting = {
            name: flavor
            for name, flavor in self.flavors.items()
            if flavor.ram_gb >= ram_gb and flavor.gpus * flavor.vram_gb >= vram_gb
        }
        if not fitting:
            message = f"no flavor has {ram_gb:g} GB of RAM and {vram_gb:g} GB of GPU memory"
            raise UsageError(message, fix="ask for less: jobshelf hardware lists what there is")
        return Hardware(flavors=fitting, origin=self.origin, live=self.live)


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTable:
    """The flavors as read on the day `date`."""

    date: str
    flavors: Mapping[str, Flavor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """The flavor on which a kind of work with a model of `size` billions of parameters is likely to cost least.

    `estimate` is estimate_cost's own, None where it recommends no flavor.
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
        return "-" if self.estimate is None else str(self.estimate.timeout)


@cache
def estimator() -> ModuleType:
    """Return the installed shelf's estimate_cost.py as a module, for its arithmetic."""
    path = installed_shelf().catalog / SCRIPT
    spec = spec_from_file_location("jobshelf_estimate_cost", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a script", fix="install jobshelf again")
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    return module


def price_table(shelf: Shelf | None = None) -> PriceTable:
    """Return the dated flavors of the shelf's estimate_cost.py, or of the installed one where the shelf has none.

    The script is read as data, never run. Raises InputError for a script without the two constants.
    """
    own = (shelf or installed_shelf()).catalog / SCRIPT
    return read_table(own if own.is_file() else installed_shelf().catalog / SCRIPT)


def read_table(path: Path) -> PriceTable:
    """Return the constants PRICES_DATE and FLAVORS of a script. Raises InputError where they are not there as data."""
    found: dict[str, Any] = {}
    try:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            name = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
            if isinstance(node, ast.Assign) and name in {"PRICES_DATE", "FLAVORS"}:
                found[name] = ast.literal_eval(node.value)
        flavors = {name: _flavor(name, *cells) for name, cells in found["FLAVORS"].items()}
        return PriceTable(date=date.fromisoformat(found["PRICES_DATE"]).isoformat(), flavors=flavors)
    except (KeyError, ValueError, TypeError, AttributeError, SyntaxError) as error:
        message = f"{path} has no readable PRICES_DATE and FLAVORS ({type(error).__name__}: {error})"
        raise InputError(message, fix=f"restore {SCRIPT} from the project") from error


def read_listing(listing: Iterable[Any]) -> dict[str, Flavor]:
    """Return the flavors of the Hub's list, as `HfApi.list_jobs_hardware` gives it. Raises ValueError for anything else."""
    try:
        flavors = {str(item.name): _listed(item) for item in listing}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a list of flavors ({type(error).__name__}: {error})") from error
    if not flavors:
        raise ValueError("it lists no flavor")
    return flavors


def list_flavors(client: HfApi) -> dict[str, Flavor]:
    """Ask the Hub for its list. Raises ValueError for an answer in another form, and what the client raises."""
    try:
        return read_listing(client.list_jobs_hardware())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it is not a list of flavors ({type(error).__name__}: {error})") from error


def nearest_flavor(asked: str, flavors: Mapping[str, Flavor]) -> tuple[str, str]:
    """Return the name of the flavor nearest to `asked`, which does not exist, and why that one."""
    nearest, reason = estimator().nearest_flavor(asked, flavors)
    return str(nearest), str(reason)


def find_hardware() -> Hardware:
    """Return what Jobs offer: the environment's Hub is asked, with the token of the login where there is one.

    A Hub that does not answer usably is a note on stderr and the dated list, not an error.
    """
    from huggingface_hub import HfApi

    client = HfApi()
    try:
        return Hardware(flavors=list_flavors(client), origin="the Hub's list of now", live=True)
    except Exception as error:  # noqa: BLE001 -- whatever is wrong with the list, the dated one is there
        status = getattr(getattr(error, "response", None), "status_code", None)
        reason = f"the server answered {status}" if status else " ".join(str(error).split())
    table = price_table()
    print(f"note: no price list from {client.endpoint}: {reason}; using the one of {table.date}", file=sys.stderr)
    return Hardware(flavors=table.flavors, origin=f"list of {table.date}", live=False)


def advise(flavors: Mapping[str, Flavor]) -> Iterator[Advice]:
    """Yield the advice for each size and kind of work: ADVICE_ROWS rows once, sequences of ADVICE_LENGTH tokens."""
    script = estimator()
    machines = {
        name: script.Flavor(**asdict(flavor))
        for name, flavor in flavors.items()
        if not flavor.gpus or flavor.gpu in script.GPU_SPEED
    }
    data = ("--dataset-size", str(ADVICE_ROWS), "--tokens-per-row", str(ADVICE_TOKENS), "--epochs", "1")
    for size in ADVICE_SIZES:
        for work, words in ADVICE_WORK.items():
            length = ("--max-length", str(ADVICE_LENGTH))
            args = script.parse_arguments(["--model", f"{size:g}B", *data, *length, *words])
            model = script.look_up_model(args.model)
            job = script.Job(args, model) if args.job == "convert" else script.measure_data(args, model)
            best = script.rank_flavors(job, machines)[0]
            yield Advice(size=size, work=work, estimate=best if best.recommended else None)


def advice_text(hardware: Hardware) -> str:
    """Return the advice as a ruled table."""
    rows = [f"{'model':<7}{'work':<12}{'flavor':<16}{'likely':<22}timeout", "-" * 64]
    for one in advise(hardware.flavors):
        flavor = one.estimate.flavor.name if one.estimate else "none"
        rows.append(f"{f'{one.size:g}B':<7}{one.work:<12}{flavor:<16}{one.likely:<22}{one.timeout}")
    rows.append(f"{ADVICE_ROWS:,} rows of {ADVICE_TOKENS} tokens, once; prices: {hardware.origin}")
    rows.append("estimates: jobshelf estimate --model M --dataset D says it for yours")
    return "\n".join(rows) + "\n"


def refreshed(source: str, hardware: Hardware, today: date) -> str:
    """Return the source of estimate_cost.py with the machines and prices of a live list, dated.

    Machines that are known keep their order, others follow. Raises EnvironmentFault for a list that is not live, InputError
    for a source without a list.
    """
    if not hardware.live:
        raise EnvironmentFault(
            "the Hub gave no list of machines", fix="check the network and HF_ENDPOINT, then run it again"
        )
    match = _TABLE.search(source)
    if match is None:
        raise InputError(f"{SCRIPT} has no dated table", fix=f"restore catalog/{SCRIPT}")
    known = re.findall(r'^    "([^"]+)"', match[3], re.MULTILINE)
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


def _by_price(hardware: Hardware) -> list[Flavor]:
    return sorted(hardware.flavors.values(), key=lambda flavor: (flavor.usd_per_hour, flavor.name))


def _flavor(
    name: str, vcpus: int, ram: float, disk: float, usd: float, gpus: int = 0, vram: float = 0, gpu: str = ""
) -> Flavor:
    return Flavor(
        name=name,
        vcpus=vcpus,
        ram_gb=float(ram),
        disk_gb=float(disk),
        usd_per_hour=float(usd),
        gpus=gpus,
        vram_gb=float(vram),
        gpu=gpu,
    )


def _listed(item: Any) -> Flavor:  # noqa: ANN401 -- JobHardwareInfo, not yet checked
    chips = item.accelerator
    gpus = int(_amount(chips.quantity)) if chips else 0
    usd = {"minute": 60, "hour": 1}[item.unit_label] * float(item.unit_cost_usd)
    if not (math.isfinite(usd) and usd >= 0):
        raise ValueError(f"the price of {item.name!r} is {usd}")
    ram, disk = _amount(item.ram), _amount(item.ephemeral_storage)
    # The list gives the memory of all GPUs together.
    vram = _amount(chips.vram) / gpus if gpus else 0.0
    gpu = str(chips.model).strip() if gpus else ""
    return _flavor(item.name, int(_amount(item.cpu)), ram, disk, round(usd, 4), gpus, vram, gpu)


def _amount(text: object) -> float:
    """Return the number that `16 GB`, `1.5 TB` or `2 vCPU` begins with; terabytes as gigabytes."""
    match = re.match(r"\s*(\d+(?:\.\d+)?)\s*(T?)", str(text))
    if match is None:
        raise ValueError(f"{text!r} is not an amount such as 16 GB")
    return float(match[1]) * (1000 if match[2] else 1)


def _line(flavor: Flavor) -> str:
    usd = f"{flavor.usd_per_hour:.2f}"
    usd = usd if float(usd) == flavor.usd_per_hour else f"{flavor.usd_per_hour:g}"
    cells = f"{flavor.vcpus}, {flavor.ram_gb:g}, {flavor.disk_gb:g}, {usd}, {flavor.gpus}, {flavor.vram_gb:g}"
    return f'    "{flavor.name}": ({cells}, "{flavor.gpu}"),'
