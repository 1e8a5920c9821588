"""What a Job is likely to take, and whether its rows suit it: asked of the shelf's own estimate_cost and dataset_inspector.

A script says in its header what it does, in estimate_cost's words: `estimate = ["--job", "train", "--method", "sft"]`.
The rest comes from the command line that is to be started.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from jobshelf.errors import InputError, UsageError
from jobshelf.interface import captured_interface
from jobshelf.jobs.local import uv_program
from jobshelf.jobs.prices import Cost, duration
from jobshelf.jobs.roles import Roles, assign
from jobshelf.script import Script

SECONDS: Final = 120  # for each of the two scripts; their packages may have to be installed first
# An option of the shelf's scripts, and the same of estimate_cost.
_SAME: Final = {
    "config": "--config",
    "split": "--split",
    "revision": "--revision",
    "max_samples": "--dataset-size",
    "num_train_epochs": "--epochs",
    "per_device_train_batch_size": "--batch-size",
    "max_length": "--max-length",
    "dtype": "--dtype",
    "lora_r": "--lora-r",
    "num_generations": "--num-generations",
    "max_completion_length": "--max-new-tokens",
    "max_tokens": "--max-new-tokens",
}
_TUNINGS: Final = {"full": "full", "load_in_4bit": "qlora"}
_INSPECTED: Final = ("config", "split")
_SMOKE: Final = "max_steps"
_MAPPED: Final = ("map", "as_chat")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What was estimated for one machine: seconds and US dollars (low, likely, high).

    `short` says why the work does not fit there, and `better` names the machine on which it is likely to cost least.
    """

    flavor: str
    seconds: tuple[float, float, float]
    usd: tuple[float, float, float]
    timeout: str
    short: str | None = None
    better: str | None = None

    def __str__(self) -> str:
        low, likely, high = (duration(60 * max(1, round(seconds / 60))) for seconds in self.seconds)
        return f"about {likely} and ${self.usd[1]:.2f} ({low} to {high}, ${self.usd[0]:.2f} to ${self.usd[2]:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """What was found out before the start: the outlook, None where it could not be had, and what a person should know."""

    outlook: Outlook | None = None
    warnings: tuple[str, ...] = ()


def foresee(
    script: Script | None, arguments: Sequence[str], roles: Roles, cost: Cost, helpers: Mapping[str, Path]
) -> Foreseen:
    """Return what is to be expected of a Job on the flavor and with the timeout of `cost`.

    `helpers` are the files of estimate_cost and dataset_inspector by their ids. Nothing is asked for a script that does
    not say what it does, nor for a smoke run. Raises UsageError when the model does not fit on the flavor or cannot be
    done within the timeout, InputError when no row suits the method; what could not be found out is a warning.
    """
    declared = _declared(script)
    interface = captured_interface(script) if script is not None and declared else None
    if interface is None or not helpers or not roles.models:
        return Foreseen()
    given = assign(interface.command.arguments, arguments)
    if _SMOKE in given:
        return Foreseen(warnings=(f"time and cost of a run with --{_SMOKE.replace('_', '-')} are not estimated",))
    with ThreadPoolExecutor(2) as together:
        estimated = together.submit(_asked, helpers["estimate-cost"], estimate_words(declared, given, roles, cost))
        inspected = together.submit(_asked, helpers["dataset-inspector"], inspect_words(declared, given, roles))
    warnings: list[str] = []
    if isinstance(rows := inspected.result(), dict):
        warnings += _judge_rows(rows, _method(declared), given)
    found = estimated.result()
    if not isinstance(found, dict):
        return Foreseen(warnings=(*warnings, f"time and cost could not be estimated: {found}"))
    outlook = read_outlook(found, cost.flavor)
    warnings += _judge_outlook(outlook, cost)
    return Foreseen(outlook=outlook, warnings=tuple(warnings))


def estimate_words(declared: Sequence[str], given: Mapping[str, Sequence[str]], roles: Roles, cost: Cost) -> list[str]:
    """Return the command line of estimate_cost for a command line of the script."""
    words = [*declared, "--model", roles.models[0], "--hardware", cost.flavor]
    words += ["--dataset", roles.inputs[0]] if roles.inputs else []
    for name, flag in _SAME.items():
        if given.get(name) and given[name][-1] != "auto":  # --dtype auto leaves the choice to the trainer
            words += [flag, given[name][-1]]
    words += [word for name, tuning in _TUNINGS.items() if name in given for word in ("--tuning", tuning)]
    return [*words, "--json"]


def inspect_words(declared: Sequence[str], given: Mapping[str, Sequence[str]], roles: Roles) -> list[str]:
    """Return the command line of dataset_inspector for a trainer that reads the newest rows; none for anything else."""
    if _method(declared) is None or not roles.inputs or given.get("revision"):
        return []
    named = [word for name in _INSPECTED if given.get(name) for word in (f"--{name}", given[name][-1])]
    return [roles.inputs[0], *named, "--json"]


def read_outlook(report: Mapping[str, Any], flavor: str) -> Outlook:
    """Return what estimate_cost says of one flavor."""
    asked, best = report["asked"], report["best"]
    if not asked["fits"]:
        nothing = (0.0, 0.0, 0.0)
        return Outlook(flavor=flavor, seconds=nothing, usd=nothing, timeout="", short=asked["reason"], better=best)
    return Outlook(
        flavor=flavor,
        seconds=_span(asked["seconds"]),
        usd=_span(asked["usd"]),
        timeout=asked["timeout"],
        better=best,
    )


def _declared(script: Script | None) -> list[str]:
    table = script.header.tool("jobshelf") if script is not None and script.header is not None else {}
    return list(table.get("estimate", ()))


def _method(declared: Sequence[str]) -> str | None:
    return declared[declared.index("--method") + 1] if "--method" in declared else None


def _span(told: Mapping[str, float]) -> tuple[float, float, float]:
    return float(told["low"]), float(told["likely"]), float(told["high"])


def _asked(script: Path, words: Sequence[str]) -> dict[str, Any] | str:
    """Return what a script of the shelf answers as JSON, or its last line where it has no answer."""
    if not words:
        return "nothing to ask"
    command = [uv_program(), "run", "--quiet", str(script), *words]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return f"{script.name} took more than {SECONDS} s"
    if ended.returncode:
        return (ended.stderr.strip().splitlines() or [f"{script.name} ended with {ended.returncode}"])[-1]
    return dict(json.loads(ended.stdout))


def _judge_rows(report: Mapping[str, Any], method: str | None, given: Mapping[str, Sequence[str]]) -> list[str]:
    verdict = next((one for one in report.get("methods", ()) if one["method"].lower() == method), None)
    if verdict is None or verdict["status"] == "READY" or any(name in given for name in _MAPPED):
        return []
    if verdict["status"] == "NEEDS MAPPING":
        code = (
            f"`jobshelf run dataset_inspector -- {shlex.quote(report['dataset'])} --require {method}` prints the code"
        )
        return [f"the rows are not yet what {method} takes ({verdict['reason']}): {code} that maps them"]
    message = f"the rows are not what {method} takes: {verdict['reason']}"
    raise InputError(message, fix="use other rows or another trainer, or add --no-estimate to start it all the same")


def _judge_outlook(outlook: Outlook, cost: Cost) -> list[str]:
    anyway = "or add --no-estimate to start it all the same"
    if outlook.short:
        fix = f"--flavor {outlook.better}, {anyway}" if outlook.better else f"choose a smaller model, {anyway}"
        raise UsageError(f"this does not fit on {outlook.flavor}: {outlook.short}", fix=fix)
    if outlook.seconds[0] > cost.timeout_seconds * cost.attempts:
        message = f"this takes {outlook}, and ends after {duration(cost.timeout_seconds)}"
        raise UsageError(message, fix=f"--timeout {outlook.timeout}, {anyway}")
    if outlook.seconds[2] > cost.timeout_seconds:
        return [f"it may take {duration(outlook.seconds[2])}, and is ended after {duration(cost.timeout_seconds)}"]
    return []
