"""Every combination of the answers that change what is rendered, and what is expected of each."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from copier import run_copy
from jinja2 import Environment

KINDS = ("dataset", "inference", "training", "artifact", "utility")
PERSISTENCE = ("none", "hub-dataset", "hub-model", "hub-file", "bucket", "s3", "gcs", "http")
TOKENS = ("none", "read", "write")
TRIGGERS = ("none", "schedule", "webhook")
EXTRAS = ((), ("test",), ("ci",), ("test", "ci"))
# Written out once more, so that a slip in the question files does not agree with itself.
KEEPS = {
    "dataset": {"hub-dataset", "bucket", "s3", "gcs", "http"},
    "inference": {"hub-dataset", "bucket", "s3", "gcs", "http"},
    "training": {"hub-model", "bucket", "s3", "gcs"},
    "artifact": {"hub-model", "hub-file", "bucket", "s3", "gcs", "http"},
    "utility": {"none"},
}
ON_THE_HUB = {"hub-dataset", "hub-model", "hub-file", "bucket"}


@dataclass(frozen=True, slots=True, order=True)
class Choice:
    """One combination of answers."""

    kind: str
    persistence: str
    token: str
    trigger: str
    extras: tuple[str, ...]

    @property
    def is_possible(self) -> bool:
        """Whether such a script makes sense: its result has a place, and the token is what that place needs."""
        tokens = {"write"} if self.persistence in ON_THE_HUB else {"none", "read"}
        return self.persistence in KEEPS[self.kind] and self.token in tokens

    @property
    def folder(self) -> str:
        """A name of its own for the folder that it is rendered to."""
        return "-".join((self.kind, self.persistence, self.token, self.trigger, *self.extras))

    @property
    def files(self) -> set[str]:
        """The files that it must give, and no others."""
        extra = {"test": "tests/test_my_script.py", "ci": ".github/workflows/my-script.yml"}
        return {"my-script.py", ".copier/my-script.yml", *(extra[name] for name in self.extras)}


def every_choice() -> Iterator[Choice]:
    """Yield the full cross product."""
    for choice in itertools.product(KINDS, PERSISTENCE, TOKENS, TRIGGERS, EXTRAS):
        yield Choice(*choice)


def each_answer() -> Iterator[Choice]:
    """Yield every (kind, persistence, token) once; triggers and extras, which nothing else depends on, take turns."""
    turns = itertools.cycle(itertools.product(TRIGGERS, EXTRAS))
    for answers, others in zip(itertools.product(KINDS, PERSISTENCE, TOKENS), turns, strict=False):
        yield Choice(*answers, *others)


def render(choices: list[Choice], template: Path, folder: Path) -> dict[Choice, str | None]:
    """Render each choice to a folder of its own in `folder`; return why it was refused, None where it was not."""
    # Copier makes an environment for each copy, and Jinja would compile the same few hundred texts 1,440 times.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Environment, "compile", _compile_once(Environment.compile))
        return {choice: _refusal(choice, template, folder / choice.folder) for choice in choices}


def _compile_once(compile_: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[tuple[Any, ...], Any] = {}

    def compile_text(environment: Environment, *words: Any, **options: Any) -> Any:
        key = (*words, *sorted(options.items()))
        if not isinstance(words[0], str):
            return compile_(environment, *words, **options)
        if key not in known:
            known[key] = compile_(environment, *words, **options)
        return known[key]

    return compile_text


def _refusal(choice: Choice, template: Path, folder: Path) -> str | None:
    answers = {
        "kind": choice.kind,
        "persistence": choice.persistence,
        "token": choice.token,
        "trigger": choice.trigger,
        "extras": list(choice.extras),
    }
    try:
        run_copy(str(template), folder, data=answers, defaults=True, quiet=True)
    except ValueError as error:
        return str(error)
    return None
