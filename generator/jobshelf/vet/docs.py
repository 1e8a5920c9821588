"""The documentation of the rules, made from their docstrings: pages, the table for the README, `rules --json`.

`python -m jobshelf.vet.docs` writes `docs/rules/` and the table between its marks in README.md of the checkout.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from jobshelf.errors import InputError, UsageError
from jobshelf.shelf import find_shelf
from jobshelf.vet.rule import FixKind, Rule
from jobshelf.vet.rules import all_rules

TABLE_START = "<!-- rules: python -m jobshelf.vet.docs -->\n"
TABLE_END = "<!-- end of rules -->\n"
_FIX_WORDS = {
    FixKind.NONE: "by hand",
    FixKind.SAFE: "`jobshelf vet --fix`",
    FixKind.UNSAFE: "`jobshelf vet --fix --unsafe-fixes`",
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
    facts += ["for scripts of the shelf only"] if made.catalogue else []
    facts += ["cannot be suppressed in a script"] if made.security else []
    needs = f"\nAsked only when {', '.join(made.requires)} found no error.\n" if made.requires else ""
    documentation = made.documentation.replace("```python name=", "```python title=")
    return f"# {made.code} {made.name}\n\n{made.summary}\n\n{'; '.join(facts)}.\n{needs}\n{documentation}"


def pages() -> dict[str, str]:
    """Return the whole of `docs/rules/`: file name to text."""
    written = {f"{made.code}.md": page(made) for made in all_rules().values()}
    return {"README.md": f"# Rules of `jobshelf vet`\n\n{table(link='')}", **written}


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


def table(*, link: str = "docs/rules/") -> str:
    """Return the Markdown table of all rules, for the README; `link` is the way to the pages."""
    head = "| Rule | Name | Severity | Tier | Fix | What it finds |\n|---|---|---|---|---|---|\n"
    rows = (
        f"| [{made.code}]({link}{made.code}.md) | {made.name} | {made.severity} | {made.tier} "
        f"| {'' if made.fix is FixKind.NONE else made.fix} | {made.summary} |\n"
        for made in all_rules().values()
    )
    return head + "".join(rows)


def with_table(readme: str) -> str:
    """Return the README with the table of rules between its two marks renewed; raise InputError when they are missing."""
    before, opened, rest = readme.partition(TABLE_START)
    _, closed, after = rest.partition(TABLE_END)
    if not opened or not closed:
        raise InputError("README.md has no place for the table of rules", fix=f"add {TABLE_START}{TABLE_END}")
    return f"{before}{TABLE_START}{table()}{TABLE_END}{after}"


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
    """Write the pages and the table into the checkout around the working folder."""
    root = find_shelf().root
    readme = root / "README.md"
    changed = write_pages(root / "docs" / "rules")
    text = readme.read_text(encoding="utf-8")
    if with_table(text) != text:
        readme.write_text(with_table(text), encoding="utf-8")
        changed = (*changed, readme.name)
    print(f"{len(all_rules())} rules; written: {', '.join(changed) or 'nothing'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
