"""The parts of one Hub, put together."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobshelf.hub.access import Access
from jobshelf.hub.account import Accounts
from jobshelf.hub.blobs import Blobs
from jobshelf.hub.buckets import Buckets
from jobshelf.hub.clock import Clock
from jobshelf.hub.discussions import Discussions
from jobshelf.hub.faults import FaultPlan
from jobshelf.hub.happenings import Happenings
from jobshelf.hub.jobs import Jobs
from jobshelf.hub.journal import Journal
from jobshelf.hub.limits import Limits
from jobshelf.hub.parts import Parts
from jobshelf.hub.publishers import Publishers
from jobshelf.hub.repos import Repos
from jobshelf.hub.runner import Runner
from jobshelf.hub.schedules import Schedules
from jobshelf.hub.signing import Signer
from jobshelf.hub.tls import FILES_HOST, HOSTS
from jobshelf.hub.vault import Vault
from jobshelf.hub.webhooks import Webhooks
from jobshelf.hub.xet import Xet


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """What every route works with.

    `endpoint` is the Hub's own address, `alias` the same server under another name, `origins` all names that it answers
    to. `instruments_secret` opens the journal and the fault plan.
    """

    endpoint: str
    alias: str
    origins: tuple[str, ...]
    instruments_secret: str = field(repr=False)
    accounts: Accounts
    journal: Journal
    faults: FaultPlan
    limits: Limits
    blobs: Blobs
    parts: Parts
    repos: Repos
    access: Access
    discussions: Discussions
    buckets: Buckets
    xet: Xet
    jobs: Jobs
    schedules: Schedules
    webhooks: Webhooks
    vault: Vault
    time: Clock
    happenings: Happenings
    runner: Runner
    signer: Signer
    publishers: Publishers

    def origin(self, host: str) -> str:
        """The origin by which a client reached the Hub, from its Host header; the endpoint when that is not ours."""
        if host in HOSTS:
            return f"https://{host}"
        return self.alias if self.alias.endswith(f"//{host}") else self.endpoint

    def other_origin(self, origin: str) -> str:
        """Where signed URLs point: the same server under its other name, which is another origin for every client."""
        if origin.startswith("https://"):
            return f"https://{FILES_HOST}"
        return self.endpoint if origin == self.alias else self.alias
