"""What machines cost: the Hub's own list, read once a command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobshelf.client import explained
from jobshelf.errors import UsageError
from jobshelf.hardware import list_flavors, nearest_flavor, price_table
from jobshelf.launch import DEFAULT_FLAVOR, DEFAULT_TIMEOUT_SECONDS

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one Job can cost: US dollars an hour, and the seconds after which the Hub ends an attempt."""

    flavor: str
    usd_per_hour: float
    timeout_seconds: int
    attempts: int = 1

    @property
    def most(self) -> float:
        """US dollars for the whole timeout, in every attempt."""
        return self.of(self.timeout_seconds * self.attempts)

    def of(self, seconds: float) -> float:
        """US dollars for so many seconds."""
        return self.usd_per_hour * seconds / 3600

    def __str__(self) -> str:
        tries = f" and {self.attempts} attempts" if self.attempts > 1 else ""
        span = duration(self.timeout_seconds)
        return f"{self.flavor}, ${self.usd_per_hour:.2f} an hour: at most ${self.most:.2f} with the timeout of {span}{tries}"


def read_cost(client: HfApi, flavor: str | None, timeout: int | None, attempts: int | None = None) -> Cost:
    """Return what a Job can cost by the Hub's price list of this moment. Raises UsageError for an unknown flavor."""
    name = flavor or DEFAULT_FLAVOR
    try:
        with explained(client):
            known = list_flavors(client)
    except ValueError:
        known = dict(price_table().flavors)  # a list in another form says nothing against the one we know
    if name not in known:
        nearest, why = nearest_flavor(name, known)
        raise UsageError(f"there is no flavor '{name}' ({why})", fix=f"--flavor {nearest}")
    return Cost(
        flavor=name,
        usd_per_hour=known[name].usd_per_hour,
        timeout_seconds=timeout or DEFAULT_TIMEOUT_SECONDS,
        attempts=attempts or 1,
    )


def duration(seconds: float) -> str:
    """Return seconds as a person says them: `45s`, `90m`, `1h30m`, `2d`."""
    whole = round(seconds)
    units = [(whole // 86400, "d"), (whole % 86400 // 3600, "h"), (whole % 3600 // 60, "m"), (whole % 60, "s")]
    return "".join(f"{count}{unit}" for count, unit in units if count) or "0s"
