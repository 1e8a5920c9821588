"""The documentation of the rules, made from their docstrings: the pages, their table, `rules --json`.

`python -m jobshelf.vet.docs` writes `docs/rules/` of the checkout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from jobshelf.errors import UsageError
from jobshelf.shelf import own_shelf
from jobshelf.vet.rule import Audience, FixKind, Rule
from jobshelf.vet.rules import all_rules

_FIX_WORDS = {
    FixKind.NONE: "by hand",
    FixKind.SAFE: "`jobshelf vet --fix`",
    FixKind.UNSAFE: "`jobshelf vet --fix --unsafe-fixes`",
}

_AUDIENCE_WORDS = {
    Audience.DEFECTS: "applied to every script",
    Audience.HUB: "applied to scripts that use the Hub or have `[tool.hf-jobs]`",
    Audience.COMMAND: "applied to scripts that parse arguments",
    Audience.SHELF: "applied on a shelf and by `--strict`",
}


def explain(code: str) -> str:
    """Return the page of one rule, by code or name; raise UsageError when there is none."""
    rules = all_rules()
    by_name = {made.name: made for made in rules.values()}
    made = rules.get(code.upper()) or by_name.get(code)
    if made is None:
        raise UsageError(f"there is no rule '{code}'", fix="jobshelf rules")
    return page(made)


def page(made: Rule) -> str:
    """Return the Markdown page of a rule."""
    facts = [f"Severity: {made.severity}", f"tier: {made.tier}", f"fix: {_FIX_WORDS[made.fix]}", f"since {made.since}"]
    facts += [_AUDIENCE_WORDS[made.audience]] if not made.catalogue else ["for scripts of the shelf only"]
    facts += ["cannot be suppressed in a script"] if made.security else []
    needs = f"\nAsked only when {', '.join(made.requires)} found no error.\n" if made.requires else ""
    documentation = made.documentation.replace("```python name=", "```python title=")
    return f"# {made.code} {made.name}\n\n{made.summary}\n\n{'; '.join(facts)}.\n{needs}\n{documentation}"


def pages() -> dict[str, str]:
    """Return the whole of `docs/rules/`: file name to text."""
    written = {f"{made.code}.md": page(made) for made in all_rules().values()}
    return {"README.md": f"# Rules of `jobshelf vet`\n\n{_table()}", **written}


def write_pages(folder: Path) -> tuple[str, ...]:
    """Write the pages into `folder` and remove the pages of rules that are gone; return the names that changed."""
    wanted = pages()
    folder.mkdir(parents=True, exist_ok=True)
    changed = list(stale_pages(folder))
    for name in changed:
        if name in wanted:
            (folder / name).write_text(wanted[name], encoding="utf-8")
        else:
            (folder / name).unlink()
    return tuple(changed)


def stale_pages(folder: Path) -> Iterator[str]:
    """Yield the names of the pages that are missing, different, or of no rule."""
    wanted = pages()
    present = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")} if folder.is_dir() else {}
    yield from (name for name in sorted({*wanted, *present}) if wanted.get(name) != present.get(name))


def _table() -> str:
    """Return the Markdown table of all rules."""
    head = "| Rule | Name | Severity | For | Tier | Fix | What it finds |\n|---|---|---|---|---|---|---|\n"
    rows = (
        f"| [{made.code}]({made.code}.md) | {made.name} | {made.severity} | {made.audience} | {made.tier} "
        f"| {'' if made.fix is FixKind.NONE else made.fix} | {made.summary} |\n"
        for made in all_rules().values()
    )
    return head + "".join(rows)


def rules_text() -> str:
    """Return one line a rule: code, severity, tier, fix, name, summary."""
    return "".join(
        f"{made.code}  {made.severity:7s}  {made.tier:7s}  {made.fix:6s}  {made.name}: {made.summary}\n"
        for made in all_rules().values()
    )


def rules_json() -> str:
    """Return all rules with their documentation as JSON, in the order of their codes."""
    document = [
        {
            "code": made.code,
            "name": made.name,
            "severity": made.severity.value,
            "tier": made.tier.value,
            "audience": made.audience.value,
            "fix": made.fix.value,
            "requires": list(made.requires),
            "since": made.since,
            "security": made.security,
            "catalogue": made.catalogue,
            "summary": made.summary,
            "documentation": made.documentation,
        }
        for made in all_rules().values()
    ]
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def main() -> int:
    """Write the pages into the checkout around the working folder."""
    changed = write_pages(own_shelf().root / "docs" / "rules")
    print(f"{len(all_rules())} rules; written: {', '.join(changed) or 'nothing'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
