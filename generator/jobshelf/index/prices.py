"""What a Job of a script can cost: the dated price of its flavor, for as long as its timeout lets it run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobshelf.hardware import price_table
from jobshelf.launch import timeout_seconds
from jobshelf.shelf import Shelf


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """US dollars an hour by flavor, as read on the day `date`."""

    date: str
    usd_per_hour: Mapping[str, float]


def read_prices(shelf: Shelf) -> Prices:
    """Return the dated prices of the shelf's own estimate_cost.py, else of the installed one."""
    table = price_table(shelf)
    prices = {name: flavor.usd_per_hour for name, flavor in table.flavors.items()}
    return Prices(date=table.date, usd_per_hour=prices)


def cost(flavor: str, timeout: str | int, prices: Prices) -> dict[str, Any] | None:
    """Return the price of the flavor, and what one attempt costs that uses up its timeout; None for a flavor without a price."""
    price = prices.usd_per_hour.get(flavor)
    if price is None:
        return None
    return {
        "flavor": flavor,
        "usd_per_hour": price,
        "usd_at_timeout": round(price * timeout_seconds(timeout) / 3600, 4),
        "as_of": prices.date,
    }
