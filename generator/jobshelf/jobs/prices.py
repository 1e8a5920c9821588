"""What machines cost: by the Hub's own list, or by the dated one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jobshelf.client import explained
from jobshelf.errors import UsageError
from jobshelf.hardware import Flavor, list_flavors, nearest_flavor, price_table
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
    dated: str = ""  # the day of the price list, when it is not the Hub's own of this moment

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
        source = f" (prices of {self.dated})" if self.dated else ""
        most = f"at most ${self.most:.2f} with the timeout of {span}{tries}{source}"
        return f"{self.flavor}, ${self.usd_per_hour:.2f} an hour: {most}"


def read_cost(client: HfApi, flavor: str | None, timeout: int | None, attempts: int | None = None) -> Cost:
    """Return what a Job can cost by the Hub's price list of this moment. Raises UsageError for an unknown flavor."""
    try:
        with explained(client):
            return _cost(list_flavors(client), flavor, timeout, attempts)
    except ValueError:  # a list in another form says nothing against the one we know
        return dated_cost(flavor, timeout, attempts)


def dated_cost(flavor: str | None, timeout: int | None, attempts: int | None = None) -> Cost:
    """Return what a Job can cost by the dated price list, without asking the Hub. Raises UsageError for an unknown flavor."""
    table = price_table()
    return replace(_cost(table.flavors, flavor, timeout, attempts), dated=table.date)


def _cost(known: Mapping[str, Flavor], flavor: str | None, timeout: int | None, attempts: int | None) -> Cost:
    name = flavor or DEFAULT_FLAVOR
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
