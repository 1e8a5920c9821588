"""Helpers for the tests of other people's scripts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from jobshelf.hub import Account, Hub, serve
from jobshelf.rehearse import Rehearsal, to_text
from jobshelf.rehearse import rehearse as _rehearse
from jobshelf.rehearse.stage import Check
from jobshelf.script import parse_script
from jobshelf.vet import Config, Profile, Report, vet_scripts


def vet_text(
    source: str | bytes,
    *,
    path: str = "script.py",
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    profile: Profile = Profile.DEFAULT,
    stub: bool = True,
    online: bool = False,
) -> Report:
    """Vet the text of a script as if it were the file `path`; `select` and `ignore` are rule codes or their prefixes.

    No configuration file is read. Nothing is written.
    """
    data = source.encode() if isinstance(source, str) else source
    config = Config(profile=profile, select=tuple(select), ignore=tuple(ignore), stub=stub, online=online)
    return vet_scripts([parse_script(data, path)], config)


@contextmanager
def embedded_hub(*accounts: Account) -> Iterator[Hub]:
    """A Hub on loopback that knows `accounts`, with nothing on it; when the block ends it is gone with all it held.

    Clients reach it with `HF_ENDPOINT` set to `hub.endpoint` and the token of an account.
    """
    with tempfile.TemporaryDirectory(prefix="jobshelf-hub-") as folder, serve(Path(folder), accounts=accounts) as hub:
        yield hub


def rehearse(
    target: str | Path,
    *,
    arguments: Sequence[str] | None = None,
    steps: Sequence[str] | None = None,
    kills: int = 10,
    faults: int | None = None,
    check: Check | None = None,
) -> Rehearsal:
    """Rehearse a script as `jobshelf.rehearse.rehearse` does; raise AssertionError with the report when a step failed."""
    shown = _rehearse(target, arguments=arguments, steps=steps, kills=kills, faults=faults, check=check)
    if not shown.passed:
        raise AssertionError(f"the rehearsal failed\n{to_text(shown)}")
    return shown
