"""From what was typed (a path, a URL, a name on the shelf) to the script that is meant."""

from __future__ import annotations

import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path

from jobshelf.errors import EnvironmentFault, InputError
from jobshelf.index import load_index
from jobshelf.script import Script, parse_script, read_script
from jobshelf.shelf import find_shelf

_MOST_BYTES = 1024 * 1024
_SECONDS = 30


def read_target(target: str | Path) -> Script:
    """Return the script at a path or URL, or of this name on the shelf.

    Raises UsageError for a name that nobody has, InputError for what cannot be read, EnvironmentFault for a URL that
    does not answer.
    """
    text = str(target)
    if text.startswith(("http://", "https://")):
        return parse_script(_fetch(text), text.partition("?")[0])
    if isinstance(target, Path) or "/" in text or Path(text).is_file():
        return read_script(Path(target))
    shelf = find_shelf()
    return read_script(shelf.catalog / load_index(shelf).find(text).file)


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:  # noqa: S310 - http(s) only, see the caller
            kind, data = answer.headers.get_content_type(), answer.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        raise InputError(f"{url} answered {error.code}", fix="check the address, or download the file") from error
    except (OSError, HTTPException, ValueError) as error:
        raise EnvironmentFault(
            f"{url} could not be fetched: {error}", fix="check the address and the network"
        ) from error
    if kind == "text/html":
        raise InputError(f"{url} is a web page, expected a Python file", fix="use the raw address (/resolve/, /raw/)")
    if len(data) > _MOST_BYTES:
        raise InputError(f"{url} has more than {_MOST_BYTES >> 20} MiB, expected a script", fix="check the address")
    return data
