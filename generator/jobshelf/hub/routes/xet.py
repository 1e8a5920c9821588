"""The Xet tokens of repos, and their answer, which buckets share."""

from __future__ import annotations

import time

from starlette.responses import JSONResponse, Response

from jobshelf.hub.call import Call, route
from jobshelf.hub.repos import Repo
from jobshelf.hub.xet import TOKEN_LIFETIME_SECONDS


def write_token(call: Call) -> Response:
    """Where to upload the large files of a commit."""
    repo = call.committable_repo()
    return token_answer(call.core.xet.open_upload(xet_owner(repo)))


def xet_owner(repo: Repo) -> str:
    """The name under which the uploads for a repo are kept apart from others."""
    return f"repo-{repo.id}"


def token_answer(address: str) -> Response:
    """An access token for the storage at `address`; `hf_xet` reads the body, Python the headers."""
    expires = int(time.time()) + TOKEN_LIFETIME_SECONDS
    headers = {
        "X-Xet-Cas-Url": address,
        "X-Xet-Access-Token": "local",
        "X-Xet-Token-Expiration": str(expires),
    }
    return JSONResponse({"casUrl": address, "accessToken": "local", "exp": expires}, headers=headers)


ROUTES = [route("/api/{kinds}/{namespace}/{name}/xet-write-token/{revision}", write_token, "GET")]
