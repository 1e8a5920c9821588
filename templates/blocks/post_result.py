"""The persistence block for a web address: each file is one POST."""

import hashlib
import os
import re
import shlex
from pathlib import Path

from .retrying import retrying
from .stop import stop


def post_result(url: str, name: str, data: bytes) -> None:
    """POST a file to `url`, with RESULT_TOKEN as a bearer token where it is set; keep it here and stop with 6 if refused.

    What is sent twice has the same Idempotency-Key, so that the receiver can drop it. Redirects are not followed.
    """
    import httpx2

    token = os.environ.get("RESULT_TOKEN", "")
    if not re.fullmatch(r"https://[^\s/@\\]+(/\S*)?|http://(127\.0\.0\.1|localhost)(:\d+)?(/\S*)?", url):
        stop(2, "OUTPUT is not an https address without a password", "write https://host/path")
    if not re.fullmatch("[!-~]*", token):
        stop(3, "RESULT_TOKEN has characters that no token has", "set it again")
    headers = {"Idempotency-Key": hashlib.sha256(data).hexdigest(), "Content-Type": "application/octet-stream"}
    headers["X-File-Name"] = name.encode("ascii", "replace").decode()
    secret = {"Authorization": f"Bearer {token}"} if token else {}

    def post() -> None:
        httpx2.post(url, content=data, headers=headers | secret, timeout=60).raise_for_status()

    try:
        retrying(post)
    except Exception as error:  # noqa: BLE001 -- whatever the receiver does, the file is kept
        kept = Path("unsaved", name).absolute()
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(data)
        words = [word for key, value in headers.items() for word in ("-H", f"{key}: {value}")]
        command = shlex.join(["curl", "-f", *words, "--data-binary", f"@{kept}", url])
        fix = command + (' -H "Authorization: Bearer $RESULT_TOKEN"' if token else "")
        stop(6, f"{url} refused {name}, kept in {kept}: {error}", fix)
