"""Where the canary comes out of a run: what is printed, written, sent and started is looked at as it happens.

What a call may have it for is little: `token=` and the like, a secret, the Authorization header of a request to the Hub, a log-in. A
value that is handed to any other stub is not yet out: only a call that prints, sends, publishes or writes what it is given counts.
"""

from __future__ import annotations

import io
import os
import re
import sys
import types
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from jobshelf.canary import Canary
from jobshelf.stub.trace import Trace

TOKEN_VARIABLES = (
    "HF_TOKEN", "HF_API_TOKEN", "HUGGINGFACE_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HUGGING_FACE_HUB_TOKEN",
    "HUGGINGFACEHUB_API_TOKEN",
)  # fmt: skip
_ALLOWED = frozenset({"api_key", "auth", "hf_token", "hub_token", "secrets", "token", "use_auth_token"})
_HTTP = frozenset({"aiohttp", "httpx", "httpx2", "requests", "urllib3"})
_REQUESTS = frozenset(
    {"delete", "get", "head", "options", "patch", "post", "put", "request", "send", "stream", "urlopen"}
)
_BODIES = frozenset({"content", "cookies", "data", "files", "json"})
_TRACKERS = frozenset({"comet_ml", "mlflow", "neptune", "swanlab", "trackio", "wandb"})
_LOGS = frozenset(
    {"critical", "debug", "echo", "error", "exception", "info", "log", "print", "secho", "success", "trace"}
    | {"warn", "warning"}
)
_WRITES = frozenset({"dump", "pipe", "pipe_file", "write", "write_bytes", "write_text", "writelines"})
_ROWS = frozenset({"DataFrame", "from_dict", "from_dicts", "from_list", "from_pydict", "from_pylist", "table"})
_PUBLISHES = frozenset(
    {
        "CommitOperationAdd", "DatasetCard", "ModelCard", "RepoCard", "SpaceCard", "add_space_variable",
        "batch_bucket_files", "comment_discussion", "create_commit", "create_discussion", "create_pull_request",
        "metadata_update", "push_to_hub", "upload_file", "upload_folder", "upload_large_folder",
    }
)  # fmt: skip
_JOBS = frozenset({"create_scheduled_job", "create_scheduled_uv_job", "run_job", "run_uv_job"})
_HUB_HOST = re.compile(r"(?:.*\.)?(?:huggingface\.(?:co|cloud|tech)|hf\.co|hf\.space)|localhost|127\.0\.0\.1|::1")
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://\S*", re.IGNORECASE)
_MOST_ITEMS, _MOST_DEPTH = 100, 4
_MOST_BYTES, _MOST_FILES = 1 << 18, 100
_BEFORE = 20

Sinks = Iterator[tuple[str, object]]


class Watch:
    """Looks for the canary in everything that leaves the run, and records where, each place once."""

    def __init__(self, trace: Trace, canary: Canary, script: str, folders: Iterable[Path]) -> None:
        self._trace = trace
        self._canary = canary
        self._folders = tuple(folders)
        self._opened: dict[str, int] = {}
        self._told: set[tuple[str, int]] = set()
        trace.script = script
        trace.on_call = self._call
        trace.on_end = self._end
        for stream in (sys.stdout, sys.stderr):
            self._listen(stream)

    def raised(self, error: BaseException) -> None:
        """The script ended with this error, which the interpreter prints."""
        text = str(error.code) if isinstance(error, SystemExit) else str(error)
        self._look("message", text, self._origin(error.__traceback__))

    def process(self, target: tuple[object, ...]) -> None:
        """A process is started: its words can be read by all, and its environment is its own business only under the usual names."""
        for item in target:
            if isinstance(item, Mapping):
                others = {name: value for name, value in item.items() if os.fsdecode(name) not in TOKEN_VARIABLES}
                self._search("environment", others)
            else:
                self._search("command", item)

    def request(self, url: object, data: object = None, headers: object = None, method: object = None) -> None:
        """The standard library sends a request."""
        self._call("urllib3.request", (url,), {"data": data, "headers": headers})

    def address(self, text: object) -> None:
        """A name is looked up, or a page opened."""
        self._search("address", text)

    def opened(self, path: object) -> None:
        """A file is opened for writing, or is about to go: what it has now is looked at, and where it was opened is kept."""
        if isinstance(path, int):
            return
        name = os.path.realpath(os.fsdecode(path))
        self._look("file name", name)
        for found in self._files([Path(name)]):
            self._content(found)
        self._opened.setdefault(name, self._trace.line())

    def _call(self, name: str, arguments: tuple[object, ...], keywords: dict[str, object]) -> None:
        for value in (*arguments, *keywords.values()):
            if isinstance(value, str) and _ADDRESS.fullmatch(value):
                self._look("address", value)
        for where, value in _sinks(name, arguments, keywords):
            self._search(where, value)

    def _search(self, where: str, value: object) -> None:
        for text in texts(value):
            self._look(where, text)

    def _look(self, where: str, text: str, line: int | None = None) -> None:
        found = self._canary.find(text)
        if found < 0:
            return
        place = where, self._trace.line() if line is None else line
        if place not in self._told:
            self._told.add(place)
            self._trace.leak(where, text[max(0, found - _BEFORE) :], place[1])

    def _listen(self, stream: Any) -> None:  # noqa: ANN401 -- a text stream, whose method is replaced
        write = stream.write

        def heard(text: str) -> int:
            if isinstance(text, str):
                self._look("output", text)
            return write(text)

        stream.write = heard

    def _end(self) -> None:
        for path in self._files(self._folders):
            self._content(path)

    def _files(self, roots: Iterable[Path]) -> Iterator[Path]:
        """Yield the run's own files at and below `roots`, no more than it may write."""
        left = _MOST_FILES
        for root in roots:
            inside = any(root.is_relative_to(os.path.realpath(folder)) for folder in self._folders)
            if root.is_file() and inside:
                yield root
            for folder, _, names in os.walk(root if inside else ""):
                for name in names[:left]:
                    yield Path(folder, name)
                left -= len(names[:left])

    def _content(self, path: Path) -> None:
        name = os.path.realpath(path)
        try:
            handle = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
            try:
                text = os.read(handle, _MOST_BYTES).decode("latin-1")
            finally:
                os.close(handle)
        except OSError:  # the script has made it unreadable
            return
        self._look("file", text, self._opened.get(name, 0))

    def _origin(self, traceback: types.TracebackType | None) -> int:
        line = 0
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == self._trace.script:
                line = traceback.tb_lineno
            traceback = traceback.tb_next
        return line


def texts(value: object, depth: int = _MOST_DEPTH) -> Iterator[str]:
    """Yield the texts in a value: in containers, in errors, and in files that are in memory."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (bytes, bytearray)):
        yield bytes(value[:_MOST_BYTES]).decode("latin-1")
    elif isinstance(value, BaseException):
        yield str(value)
    elif isinstance(value, (io.BytesIO, io.StringIO)):
        yield from texts(value.getvalue())
    elif depth and isinstance(value, Mapping):
        for key, item in list(value.items())[:_MOST_ITEMS]:
            yield from texts(key, 1)
            yield from texts(item, depth - 1)
    elif depth and isinstance(value, (list, tuple, set, frozenset)):
        for item in list(value)[:_MOST_ITEMS]:
            yield from texts(item, depth - 1)


def _sinks(name: str, arguments: tuple[object, ...], keywords: Mapping[str, object]) -> Sinks:
    """Yield what the call of `name` lets out, and where to."""
    root, last = name.partition(".")[0], name.rpartition(".")[2]
    given = [*arguments, *(value for key, value in keywords.items() if key not in _ALLOWED)]
    if (root in _HTTP and last in _REQUESTS) or ("get_session()" in name and last in _REQUESTS):
        yield from _request(arguments, keywords)
    elif isinstance(address := keywords.get("base_url"), str) and _elsewhere(address):
        yield "other host", [*arguments, *keywords.values()]
    elif last in _LOGS:
        yield "output", given
    elif last in _WRITES:
        yield "file", given
    elif last in _ROWS:
        yield "rows", given
    elif last in _PUBLISHES:
        yield "published", given
    elif last in _JOBS:
        yield "command", [*arguments, keywords.get("command"), keywords.get("script_args")]
        yield "job", keywords.get("env")
    elif root in _TRACKERS and last != "login":
        yield "other host", given


def _request(arguments: tuple[object, ...], keywords: Mapping[str, object]) -> Sinks:
    yield "address", keywords.get("params")
    bodies = [keywords.get(key) for key in _BODIES]
    addresses = [value for value in (*arguments, keywords.get("url")) if isinstance(value, str)]
    if any(map(_elsewhere, addresses)):
        yield "other host", [*bodies, *arguments[1:], *map(keywords.get, ("auth", "headers"))]
    else:
        yield "body", [*bodies, *arguments[1:]]


def _elsewhere(address: str) -> bool:
    """Tell whether the text is the address of another host than the Hub's."""
    try:
        host = urlsplit(address).hostname if address.lower().startswith(("http://", "https://")) else None
    except ValueError:
        return False
    return host is not None and not _HUB_HOST.fullmatch(host)
