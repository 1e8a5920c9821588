"""The modules that the server may import before it forks, so that the runs of a script need not: a fixed list, and nothing but it.

A module of this list that a script imports is loaded once for all runs. Code that a script could name or write is never among them:
the server is not as fenced as its children are.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterable

_STANDARD = """
abc argparse array ast asyncio atexit base64 bisect calendar cmath codecs collections collections.abc concurrent.futures configparser
contextlib contextvars copy csv dataclasses datetime decimal difflib email email.message enum errno fcntl fnmatch fractions functools
getpass gettext glob graphlib gzip hashlib heapq hmac html html.parser http http.client inspect io ipaddress itertools json keyword
locale logging logging.handlers lzma math mimetypes multiprocessing numbers operator os os.path pathlib pickle pickletools pkgutil
platform plistlib pprint queue random re reprlib resource sched secrets select selectors shlex shutil signal socket sqlite3 ssl stat
statistics string struct subprocess sys sysconfig tarfile tempfile textwrap threading time timeit token tokenize tomllib traceback
types typing unicodedata unittest unittest.mock urllib urllib.error urllib.parse urllib.request uuid warnings weakref xml
xml.etree.ElementTree zipfile zlib zoneinfo
"""
_INSTALLED = "click cyclopts pydantic rich rich.console rich.progress rich.table rich_click typer tyro"
_COMPANIONS = {"cyclopts": ("rich.markdown",), "typer": ("typer.rich_utils",)}  # which these load when they print help
WARM = frozenset(_STANDARD.split()) | frozenset(_INSTALLED.split())
_ALWAYS = ("argparse", "dataclasses", "json", "logging", "pathlib", "re", "shutil", "typing")


class Warmed:
    """What this process has loaded of the list."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self.load(_ALWAYS)

    def load(self, names: Iterable[str]) -> None:
        """Import those of `names` that are on the list; the others, and those that are not installed, are left alone."""
        new = [name for name in names if name in WARM and name not in self._names]
        companions = [other for name in new for other in _COMPANIONS.get(name, ())]
        for name in (*new, *companions):
            try:
                importlib.import_module(name)
            except ImportError:  # another system's module, or a light library that is not installed
                continue
        self._names.update(new)
        if new:
            gc.collect()
            gc.freeze()
