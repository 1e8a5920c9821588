"""From what a person asks for to a Job that is checked and can be started."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from jobshelf.errors import UsageError
from jobshelf.jobs.arguments import check_arguments
from jobshelf.jobs.order import Order, order_image, order_script
from jobshelf.jobs.outlook import Foreseen, foresee
from jobshelf.jobs.preflight import Checked, check_order
from jobshelf.jobs.prices import Cost, dated_cost
from jobshelf.jobs.roles import Roles, find_roles
from jobshelf.jobs.target import Target, read_local, read_target
from jobshelf.launch import Launch

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A Job that can be started: `target` is None for an image, `checked` while nobody is logged in.

    `cost` is by the dated price list while nobody is logged in. `foreseen` is empty where nothing could be estimated, or nobody asked.
    """

    target: Target | None
    order: Order
    roles: Roles
    checked: Checked | None
    cost: Cost
    foreseen: Foreseen = field(default_factory=Foreseen)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know before it starts."""
        if self.checked is None:
            return ("not logged in: nothing was checked on the Hub",)
        return (*self.checked.warnings, *self.foreseen.warnings)


def prepare(
    target: Target | None,
    arguments: Sequence[str],
    asked: Launch,
    client: HfApi | None,
    *,
    max_cost: float | None = None,
    helpers: Mapping[str, Path] = MappingProxyType({}),
) -> Prepared:
    """Return the Job that starts `target` (or, with None, the image that was `asked` for), checked as far as can be.

    `helpers` are the scripts that estimate it (see `foresee`); without them it is not estimated. Raises what
    `read_target`, `order_script`, `order_image`, `check_arguments`, `check_order` and `foresee` raise.
    """
    if target is None:
        if asked.image is None:
            raise UsageError("no script or image given", fix="name a script, or give --image IMG -- COMMAND")
        order, roles = order_image(asked.image, arguments, asked), Roles()
    else:
        target = read_target(target, client) if client or target.local is None else read_local(target)
        order, roles = order_script(target, arguments, asked), find_roles(target.script, arguments)
        if target.script is not None:
            check_arguments(target.script, arguments, named=target.called)
    checked = None if client is None else check_order(order, roles, client, max_cost=max_cost)
    cost = checked.cost if checked else dated_cost(order.flavor, order.timeout, order.attempts)
    script = target.script if target is not None else None
    foreseen = foresee(script, arguments, roles, checked.cost, helpers) if checked and helpers else Foreseen()
    return Prepared(target=target, order=order, roles=roles, checked=checked, cost=cost, foreseen=foreseen)


def for_shards(prepared: Prepared) -> tuple[Prepared, str]:
    """Return the Job without attempts of its own (the run in shards counts them) and the dataset that it writes to.

    Raises UsageError for a script that cannot be cut into shards, and when it cannot be told where it writes.
    """
    target, order, outputs = prepared.target, prepared.order, prepared.roles.outputs
    header = target.script.header if target is not None and target.script is not None else None
    if header is None or not header.tool("jobshelf").get("shardable"):
        message = f"{order.name} does not say that it can be cut into shards"
        raise UsageError(message, fix="leave --shards out, or choose a script with 'shardable = true' in its header")
    if "--shard" in order.command:
        raise UsageError("--shards gives every Job its own --shard", fix="leave --shard out of the script's arguments")
    if len(outputs) != 1 or not _REPO.fullmatch(outputs[0]):
        found = f"{outputs[0]!r} is none" if outputs else "none is named"
        raise UsageError(f"shards write to one Hub dataset, and {found}", fix="name user/dataset as the output")
    return replace(prepared, order=replace(order, attempts=None)), outputs[0]
