"""What the tool finds out about a script: its command line, how it behaves when it is bare, what the rules say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobshelf.interface import Argument, Command, Interface, Probe, Run, probe
from jobshelf.script import Script
from jobshelf.shelf import Shelf
from jobshelf.vet import Config, Profile, Report, load_config, vet_scripts
from jobshelf.vet.rule import Severity
from jobshelf.vet.rules import all_rules
from jobshelf.vet.suppression import read_suppressions

# What these two say depends on other files than the script; the index itself says it, of names and of records.
BESIDE_THE_SCRIPT = ("UVS602", "UVS904")


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """JSON data for an entry. `settled` is false when a run had to be stopped, so that another try may show more."""

    interface: Mapping[str, Any] | None
    behaviour: Mapping[str, Any]
    vetting: Mapping[str, Any]
    settled: bool


def vetting_config(shelf: Shelf) -> Config:
    """Return the choice of rules for the scripts of a shelf, which its pyproject.toml may narrow."""
    return load_config(shelf.root, ignore=BESIDE_THE_SCRIPT)


def examine(scripts: Sequence[Script], shelf: Shelf, config: Config) -> list[Findings]:
    """Vet and run the scripts with stubbed imports, each run once; return what was found, in the same order.

    `Script.path` is relative to the shelf's root. Raises EnvironmentFault where no process can be forked or ruff does not run.
    """
    probes: dict[str, Probe] = {}

    def watched(script: Script) -> Probe:
        probes[script.path] = probe(script)
        return probes[script.path]

    placed = [replace(script, path=str(shelf.root / script.path)) for script in scripts]
    report = vet_scripts(placed, config, shelf=shelf, probe_with=watched)
    return [_findings(script, probes.get(script.path) or probe(script), report, config) for script in placed]


def _findings(script: Script, shown: Probe, report: Report, config: Config) -> Findings:
    runs = (shown.help, shown.unknown_option, shown.missing_required, shown.without_token)
    own = replace(
        report,
        profile=Profile.STRICT,
        paths=(script.path,),
        findings=tuple(one for one in report.findings if one.path == script.path),
        inconclusive=tuple(one for one in report.inconclusive if one.path == script.path),
    )
    return Findings(
        interface=_interface(shown.interface) if shown.interface else None,
        behaviour={
            "inconclusive": shown.interface_inconclusive,
            "exit_codes": {
                "help": _exit(shown.help),
                "unknown_option": _exit(shown.unknown_option),
                "missing_required": _exit(shown.missing_required),
                "no_token": _exit(shown.without_token),
            },
        },
        vetting=_vetting(script, own, config),
        settled=not any(run and run.ended for run in runs),
    )


def _exit(run: Run | None) -> int | None:
    return None if run is None or run.inconclusive else run.exit


def _vetting(script: Script, report: Report, config: Config) -> dict[str, Any]:
    asked = {made.code for made in config.chosen(all_rules().values(), script.path)}
    tiers = config.tiers()
    left_out = [
        {"rule": code, "reason": "left out by [tool.jobshelf.vet] of the shelf"}
        for code, made in all_rules().items()
        if made.tier in tiers and code not in asked and code not in BESIDE_THE_SCRIPT
    ]
    suppressed = {(one.code, one.reason) for one in read_suppressions(script)}
    counts = report.counts()
    return {
        "profile": report.profile.value,
        "passed": report.passed,
        "counts": {severity.value: counts[severity] for severity in Severity},
        "inconclusive": [{"rule": one.code, "reason": one.reason} for one in report.inconclusive],
        "ignored": left_out + [{"rule": code, "reason": reason} for code, reason in sorted(suppressed)],
    }


def _interface(interface: Interface) -> dict[str, Any]:
    return {"library": interface.library, **_command(interface.command)}


def _command(command: Command) -> dict[str, Any]:
    named = {"name": command.name, "help": command.help} if command.name else {}
    return named | {
        "usage": command.usage,
        "description": command.description,
        "arguments": [_argument(argument) for argument in command.arguments],
        "commands": [_command(inner) for inner in command.commands],
    }


def _argument(argument: Argument) -> dict[str, Any]:
    """Return an argument without what is not set, which is most of it."""
    always = ("name", "kind", "type", "required", "help")
    data = argument.as_data() | {"default": _finite(argument.default)}
    return {key: value for key, value in data.items() if key in always or value not in (None, False, [])}


def _finite(value: object) -> object:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
