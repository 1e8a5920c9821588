"""The embedded Hub: a server on loopback that the real Hub clients talk to.

::

    with serve(root, accounts=[Account(name="ada", token="hf_ada")]) as hub:
        HfApi(endpoint=hub.endpoint, token="hf_ada").create_repo("ada/scripts", repo_type="dataset")

Repos, branches, tags, commits, large files (Xet and LFS), buckets, private repos and the rules of access behave as on
the Hub; Jobs really run, as processes on this machine. State lies under `root` and survives a restart. What is not
implemented answers 501 with the endpoint's name.
"""

from __future__ import annotations

from jobshelf.hub.account import Account
from jobshelf.hub.journal import Request
from jobshelf.hub.server import Hub, serve

__all__ = ["Account", "Hub", "Request", "serve"]
