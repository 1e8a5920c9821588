"""The registry: a rule that is not well formed is refused when it is registered."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from jobshelf.vet.rule import SECTIONS, Hit, Inconclusive, Severity, Tier, registered, rule
from jobshelf.vet.rules import all_rules
from jobshelf.vet.subject import Subject

CORE = (
    {f"UVS{n}" for n in (101, 102, 103, 104, 105, 106, 201, 202, 203, 205, 206, 301, 302, 303, 304, 306)}
    | {f"UVS{n}" for n in (401, 402, 403, 501, 504, 601, 602, 603, 604, 901, 902, 903)}
)  # fmt: skip
LATER = {f"UVS{n}" for n in (204, 207, 208, 305, 404, 405, 502, 503, 904)}
DOCSTRING = "Something is wrong.\n\n" + "\n".join(
    f"## {title}\n```python\nprint(1)\n```\n" if title in ("Example", "Use instead") else f"## {title}\nWords.\n"
    for title in SECTIONS
)


def register(docstring: str = DOCSTRING, code: str = "UVS199", name: str = "made-up", since: str = "0.1.0") -> None:
    def check(subject: Subject) -> Iterator[Hit | Inconclusive]:
        yield from ()

    check.__doc__ = docstring
    rule(code, name, severity=Severity.HINT, tier=Tier.STATIC, since=since)(check)


def test_every_rule_of_the_plan_is_registered() -> None:
    assert set(all_rules()) >= CORE | LATER
    assert len(CORE) == 28
    assert len(LATER) == 9


def test_codes_are_in_order_and_names_are_unique() -> None:
    rules = all_rules()
    assert list(rules) == sorted(rules)
    assert len({made.name for made in rules.values()}) == len(rules)


@pytest.mark.parametrize("code", all_rules())
def test_every_rule_is_documented_and_requires_no_dearer_rule(code: str) -> None:
    made, order = all_rules()[code], list(Tier)
    assert all(made.section(title).strip() for title in SECTIONS)
    assert all(order.index(all_rules()[other].tier) <= order.index(made.tier) for other in made.requires)


def test_requirements_have_no_circle() -> None:
    rules = all_rules()

    def depth(code: str, path: tuple[str, ...] = ()) -> int:
        assert code not in path, path
        return 1 + max((depth(other, (*path, code)) for other in rules[code].requires), default=0)

    assert max(depth(code) for code in rules) < 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"code": "UVS1"}, "three digits"),
        ({"code": "ABC101"}, "three digits"),
        ({"name": "Made Up"}, "words joined"),
        ({"code": "UVS101"}, "registered already"),
        ({"name": "syntax-too-new"}, "registered already"),
        ({"since": "now"}, "expected a version"),
        ({"docstring": "Nothing more."}, "sections"),
        ({"docstring": DOCSTRING.replace("wrong.", "wrong")}, "one sentence"),
        ({"docstring": DOCSTRING.replace("## Use instead", "## Instead")}, "sections"),
        ({"docstring": DOCSTRING.replace("```python", "```")}, "no ```python block"),
    ],
)
def test_a_malformed_rule_is_refused(change: dict[str, str], message: str) -> None:
    before = set(registered())
    with pytest.raises(ValueError, match=re.escape(message)):
        register(**change)
    assert set(registered()) == before
