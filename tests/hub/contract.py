"""What the contract tests share: the callers, raw answers, request bodies."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jobshelf.hub import Account, Scope

ADA = Account(name="ada", token="token-of-ada", orgs=("acme",))
READER = Account(name="ada", token="token-of-ada-to-read", role="read", orgs=("acme",))
BOB = Account(name="bob", token="token-of-bob")
FINE = Account(
    name="ada",
    token="token-of-ada-for-one-dataset",
    role="fineGrained",
    orgs=("acme",),
    scopes=(Scope(entity="dataset/ada/one", permissions=("repo.content.read", "repo.write")),),
)
ACCOUNTS = (ADA, READER, BOB, FINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A raw HTTP answer; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Ask = Callable[..., Answer]
Python = Callable[..., str]


def ndjson(*lines: dict[str, Any]) -> bytes:
    """The body of a commit or batch request."""
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def commit_of(files: dict[str, bytes], *, summary: str = "test", **header: Any) -> bytes:
    """The body of a commit that writes small files."""
    puts = [
        {
            "key": "file",
            "value": {"path": path, "content": base64.b64encode(content).decode(), "encoding": "base64"},
        }
        for path, content in files.items()
    ]
    return ndjson({"key": "header", "value": {"summary": summary, **header}}, *puts)
