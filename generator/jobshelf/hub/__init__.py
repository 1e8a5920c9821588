"""The embedded Hub: a server on loopback that the real Hub clients talk to.

::

    with serve(root, accounts=[Account(name="ada", token="hf_ada")]) as hub:
        HfApi(endpoint=hub.endpoint, token="hf_ada").create_repo("ada/scripts", repo_type="dataset")

Repos, pull requests, large files (Xet and LFS), buckets, private and gated repos, tokens, organisations and the rules of
access behave as on the Hub; Jobs really run, as processes on this machine, by a call, by a schedule or by a webhook. State
lies under `root` and survives a restart; secrets do not. What is not implemented answers 501 with the endpoint's name.

What no real Hub has, for tests: `hub.journal()`, `hub.fail(...)`, `hub.limit_commits(...)`, `hub.limit_requests(...)`,
`hub.pass_time(...)`, `hub.trust_publisher(...)`, and `serve(..., tls=True)` for clients that know `https://huggingface.co`
only (`hub.tls.environment()`). Other processes read the journal and plan faults at `/_hub/journal` and `/_hub/faults` with
`Authorization: Bearer <hub.instruments_secret>`.

Web pages have no access: every request must name the Hub as its `Host`, and none may come from another origin.
"""

from __future__ import annotations

from jobshelf.hub.account import Account, Scope
from jobshelf.hub.faults import Fault
from jobshelf.hub.journal import Request
from jobshelf.hub.server import Hub, serve

__all__ = ["Account", "Fault", "Hub", "Request", "Scope", "serve"]
