"""The token assertion: before any work, a token that the Hub accepts and that may write."""

import os
import re
from contextlib import suppress

from .retrying import retrying
from .stop import stop


def require_write(target: str, kind: str = "dataset") -> None:
    """Stop with 3 unless the token may write to `target`; a folder, s3:// and gs:// need none."""
    # The Hub's client gets a timeout, as it has none: a silent Hub would hold a Job until the Job's own.
    if not os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "").isdigit():
        os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = "60"
    import httpx2
    from huggingface_hub import HfApi, constants, get_session, get_token, set_client_factory
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    limit = httpx2.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT).as_dict()
    hooks = [*get_session().event_hooks["request"], lambda request: request.extensions.update(timeout=limit)]
    set_client_factory(lambda: httpx2.Client(event_hooks={"request": hooks}, follow_redirects=True))
    match = re.fullmatch(r"(hf://buckets/)?((\w[\w.-]*)/[\w.-]+)(?(1)(?:/.*)?)", target)
    if match is None:
        return
    if not get_token():
        stop(3, f"no Hub token, needed to write to {target}", "run `hf auth login`; for a Job add `--secrets HF_TOKEN`")
    bucket, repo, owner = match.groups()
    fix = "make a write token at https://huggingface.co/settings/tokens, then run `hf auth login`"
    try:
        account = retrying(HfApi().whoami)
        access = account.get("auth", {}).get("accessToken") or {"role": "write"}
        owners = [account, *account.get("orgs", [])]
        writable = {one["name"] for one in owners if access["role"] == "write" and one.get("roleInOrg") != "read"}
        for scope in access.get("fineGrained", {}).get("scoped", []):
            writable |= {scope["entity"].get("name")} if "repo.write" in scope["permissions"] else set()
        if not writable & {owner, repo}:
            stop(3, f"the token may not write to {target}", fix)
        if not bucket:
            with suppress(RepositoryNotFoundError):  # it will be created
                retrying(HfApi().auth_check, repo, repo_type=kind, write=True)
    except (HfHubHTTPError, UnicodeError):  # refused, or characters that no token has
        stop(3, f"the Hub does not accept the token to write to {target}", fix)
