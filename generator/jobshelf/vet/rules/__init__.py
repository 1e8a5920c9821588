"""The rules, one module a family; `all_rules()` imports them and returns the registry."""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from jobshelf.vet.rule import Rule, registered


@cache
def all_rules() -> dict[str, Rule]:
    """Import every module of this package and return the rules by code; raise ValueError when one requires an unknown code."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    rules = registered()
    for made in rules.values():
        if unknown := set(made.requires) - set(rules):
            raise ValueError(f"{made.code} requires {sorted(unknown)}, which no module registers")
    return rules
