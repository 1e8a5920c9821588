"""Keep an embedded Hub up for a person to use: one user, whose token lies in a file beside the Hub's state."""

from __future__ import annotations

import secrets
import shlex
import sys
from pathlib import Path

from jobshelf.hub import Account, Hub, serve

USER = "me"


def host(root: Path, *, port: int, organisation: str, tls: bool = False) -> None:
    """Serve the Hub whose state is under `root` until interrupted.

    The user is `me`, a member of `organisation` so that the shelf can be published. With `tls`, clients that know
    `https://huggingface.co` only reach it too. Raises EnvironmentFault when the port or the folder is taken, or the
    package for TLS is missing.
    """
    root.mkdir(parents=True, exist_ok=True)
    token_file = root / "token"
    account = Account(name=USER, token=make_token(token_file), orgs=(organisation,))
    with serve(root, port=port, accounts=(account,), tls=tls) as hub:
        announce(hub, token_file)
        hub.run_forever()


def make_token(file: Path) -> str:
    """Return the token that `file` holds; make one on first use, readable by its owner only."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(f"hf_{secrets.token_hex(17)}\n", encoding="ascii")
    return file.read_text(encoding="ascii").strip()


def announce(hub: Hub, token_file: Path) -> None:
    """Print how another terminal uses the Hub."""
    print(f"The Hub is up at {hub.endpoint} until Ctrl-C (that address shows what it holds). From another terminal:")
    print(f'  export HF_ENDPOINT={hub.endpoint} HF_TOKEN="$(cat {token_file})"')
    if hub.tls is not None:
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in hub.tls.environment().items())
        print("For clients that know https://huggingface.co only (polars, uv run URL), in place of HF_ENDPOINT:")
        print(f"  export {variables}")
    sys.stdout.flush()
