"""Helpers for the tests of other people's scripts."""

from __future__ import annotations

from collections.abc import Iterable

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
