"""The secrets of Jobs, schedules and webhooks: in memory, never on disk."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

from jobshelf.hub.refusal import Refusal


class Vault:
    """Tables of secret environment variables, by the id of what they belong to."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tables: dict[str, dict[str, str]] = {}

    def keep(self, owner: str, table: Mapping[str, str]) -> None:
        """Keep the secrets of `owner` in place of those it had."""
        with self._lock:
            self._tables[owner] = dict(table)

    def of(self, owner: str, names: Sequence[str]) -> dict[str, str]:
        """The secrets of `owner`, which are to be those of these names.

        Raises Refusal (409) when they are gone: a restart of the Hub forgets them.
        """
        with self._lock:
            table = dict(self._tables.get(owner, {}))
        if set(names) != set(table):
            raise Refusal(409, f"The secrets {', '.join(names)} went with the Hub's last stop: pass them anew")
        return table

    def forget(self, owner: str) -> None:
        """Drop the secrets of `owner`."""
        with self._lock:
            self._tables.pop(owner, None)
