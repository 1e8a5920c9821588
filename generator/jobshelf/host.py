"""Keep an embedded Hub up for a person to use: one user, whose token lies in a file beside the Hub's state.

So does the secret of the Hub's instruments (`instruments-secret`), which is new at every start.
"""

from __future__ import annotations

import secrets
import shlex
import sys
from pathlib import Path

from jobshelf.hub import Account, Hub, serve
from jobshelf.hub.private import claim, tighten

USER = "me"


def host(root: Path, *, port: int, organisation: str, tls: bool = False) -> None:
    """Serve the Hub whose state is under `root` until interrupted.

    The user is `me`, a member of `organisation` so that the shelf can be published. With `tls`, clients that know
    `https://huggingface.co` only reach it too. Raises EnvironmentFault when the port or the folder is taken, or the
    package for TLS is missing.
    """
    token_file, secret_file = root / "token", root / "instruments-secret"
    claim(root)
    tighten((token_file,))
    account = Account(name=USER, token=make_token(token_file), orgs=(organisation,))
    with serve(root, port=port, accounts=(account,), tls=tls) as hub:
        secret_file.unlink(missing_ok=True)
        secret_file.touch(mode=0o600)
        secret_file.write_text(f"{hub.instruments_secret}\n", encoding="ascii")
        announce(hub, token_file, secret_file)
        hub.run_forever()


def make_token(file: Path) -> str:
    """Return the token that `file` holds; make one on first use, readable by its owner only."""
    if not file.exists():
        file.touch(mode=0o600)
        file.write_text(f"hf_{secrets.token_hex(17)}\n", encoding="ascii")
    return file.read_text(encoding="ascii").strip()


def announce(hub: Hub, token_file: Path, secret_file: Path) -> None:
    """Print how another terminal uses the Hub; of the token and the secret, only where they are."""
    print(f"The Hub is up at {hub.endpoint} until Ctrl-C (that address shows what is public). From another terminal:")
    print(f'  export HF_ENDPOINT={hub.endpoint} HF_TOKEN="$(cat {token_file})"')
    if hub.tls is not None:
        variables = " ".join(f"{name}={shlex.quote(value)}" for name, value in hub.tls.environment().items())
        print("For clients that know https://huggingface.co only (polars, uv run URL), in place of HF_ENDPOINT:")
        print(f"  export {variables}")
    print("Its journal; faults are planned the same way (/_hub/faults):")
    print(f'  curl -H "Authorization: Bearer $(cat {secret_file})" {hub.endpoint}/_hub/journal')
    sys.stdout.flush()
