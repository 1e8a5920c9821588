"""The parts of one Hub, put together."""

from __future__ import annotations

from dataclasses import dataclass

from jobshelf.hub.account import Accounts
from jobshelf.hub.blobs import Blobs
from jobshelf.hub.buckets import Buckets
from jobshelf.hub.jobs import Jobs
from jobshelf.hub.journal import Journal
from jobshelf.hub.repos import Repos
from jobshelf.hub.runner import Runner
from jobshelf.hub.signing import Signer
from jobshelf.hub.xet import Xet


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What every route works with. `endpoint` is the Hub's own address, `alias` the same server under another name."""

    endpoint: str
    alias: str
    accounts: Accounts
    journal: Journal
    blobs: Blobs
    repos: Repos
    buckets: Buckets
    xet: Xet
    jobs: Jobs
    runner: Runner
    signer: Signer

    def origin(self, host: str) -> str:
        """The origin by which a client reached the Hub, from its Host header; the endpoint when that is not ours."""
        return self.alias if self.alias.endswith(f"//{host}") else self.endpoint

    def other_origin(self, origin: str) -> str:
        """Where signed URLs point: the same server under its other name, which is another origin for every client."""
        return self.endpoint if origin == self.alias else self.alias
