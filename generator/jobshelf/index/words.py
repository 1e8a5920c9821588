"""What is known of a script, in words for a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobshelf.index.entry import Entry


def vetting(entry: Entry) -> str:
    """Return what the rules found."""
    if entry.vetting is None:
        return "not recorded"
    found = [f"{count} {severity}" for severity, count in sorted(entry.vetting["counts"].items()) if count]
    undecided = len(entry.vetting["inconclusive"])
    words = [*(found or ["nothing found"]), *([f"{undecided} undecided"] if undecided else [])]
    return f"{'passed' if entry.vetting['passed'] else 'not passed'} ({entry.vetting['profile']}): {', '.join(words)}"


def rehearsal(entry: Entry) -> str:
    """Return what the last rehearsal showed."""
    record = entry.rehearsal
    if record is None:
        return "never rehearsed"
    steps = [step["verdict"] for step in record["steps"]]
    failed = f", {steps.count('failed')} failed" if "failed" in steps else ""
    stale = "; the script has changed since" if record["stale"] else ""
    return f"{steps.count('passed')} steps passed{failed} on {record['date']}{stale}"


def machine(entry: Entry) -> str:
    """Return where its Job runs, and what that costs at most."""
    cost, where = entry.cost, f"{entry.hardware['flavor']}, timeout {entry.hardware['timeout']}"
    if cost is None:
        return where
    most = f"${cost['usd_at_timeout']:.2f}" if cost["usd_at_timeout"] >= 0.005 else "less than a cent"
    return f"{where}: at most {most} (${cost['usd_per_hour']:.2f} an hour on {cost['as_of']})"


def commands(entry: Entry) -> Iterator[Mapping[str, Any]]:
    """Yield the command line of a script, then its subcommands; nothing where it could not be captured."""
    pending = [entry.interface] if entry.interface else []
    while pending:
        command = pending.pop(0)
        yield command
        pending = [*command["commands"], *pending]


def argument(data: Mapping[str, Any]) -> tuple[str, str]:
    """Return an argument of an interface as two columns: how it is written, and what it means."""
    named = ", ".join(data.get("flags", [data["name"]]))
    told = "(default" in data["help"] or data.get("default") in (None, "", [])
    default = "" if told else f" (default: {data['default']})"
    choices = f" One of {', '.join(map(str, data['choices']))}." if data.get("choices") else ""
    return named, f"{'required. ' if data['required'] and data.get('flags') else ''}{data['help']}{choices}{default}"
