"""Serve the index on loopback, and say with which variables uv uses it.

The address follows from what is served. uv keeps what it has read and unpacked by address, so a second session finds
all of that again, a changed index none of it, and two sessions at once share the port.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from index.pages import TORCH_FILE, Answer, answers, digest

TORCH_PAGE = "https://download.pytorch.org/whl/cpu/"
PYTHON = "3.11"
_PAGES = "simple"
_ENVIRONMENT_EXIT = 5
_FIRST_PORT, _PORTS, _TRIES = 20_000, 10_000, 8
_FOREVER = "public, max-age=31536000, immutable"
_SECONDS = 30


class NotHere(LookupError):
    """This machine lacks what the CPU builds need; the message says what to do."""


@contextmanager
def cpu_index(torch_url: str | None = None) -> Iterator[Mapping[str, str]]:
    """Serve the index; yields the variables for `uv` and what it runs. Raises NotHere.

    `torch_url` is where torch's CPU wheel lies, found by `find_torch` when None.
    """
    require_python(PYTHON)
    held = answers(torch_url or find_torch(os.environ.get("PIP_FIND_LINKS") or pip_find_links()))
    name = digest(held)
    with _bound(name, held) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            root = f"http://127.0.0.1:{server.server_port}/{name}"
            yield _variables(f"{root}/{_PAGES}", name)
        finally:
            server.shutdown()
            thread.join()


def pip_find_links() -> str:
    """Return the folders that pip is configured to find wheels in, "" where there is no pip or no such setting."""
    # The interpreter that environments are made from: one that uv made has no pip of its own.
    python = Path(sys.base_prefix, "bin", "python3")
    if not python.exists():
        return ""
    argv = [python, "-m", "pip", "config", "list"]
    told = subprocess.run(argv, capture_output=True, text=True, timeout=_SECONDS, check=False).stdout
    found = re.search(r"^global\.find-links='(.*)'$", told, re.MULTILINE)
    return found[1].replace("\\n", " ").strip() if found else ""


def find_torch(find_links: str, page: str = TORCH_PAGE) -> str:
    """Return where torch's CPU wheel lies: in a folder that `find_links` names as pip reads it, else below `page`.

    Raises NotHere when it is in neither.
    """
    for link in find_links.split():
        local = Path(unquote(urlsplit(link).path) if link.startswith("file:") else link) / TORCH_FILE
        if local.is_file():
            return local.resolve().as_uri()
    url = page + quote(TORCH_FILE)
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_SECONDS):
            return url
    except OSError as error:
        reason = getattr(error, "reason", error)
        raise NotHere(
            f"no CPU wheel of torch: PIP_FIND_LINKS names no folder with {TORCH_FILE}, and {url} does not answer "
            f"({reason}); put that file into a folder and set PIP_FIND_LINKS to it"
        ) from error


def require_python(version: str) -> None:
    """Raise NotHere when uv finds no such interpreter on this machine: torch's CPU wheel is for one version alone."""
    places = os.pathsep.join((os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)))
    command = os.environ.get("UV") or shutil.which("uv", path=places)
    if command is None:
        raise NotHere("uv is not on the PATH: python3 -m pip install uv")
    argv = [command, "python", "find", "--system", "--no-python-downloads", version]
    if subprocess.run(argv, capture_output=True, check=False).returncode != 0:
        raise NotHere(
            f"no Python {version} on this machine, and {TORCH_FILE} is for no other; install one: uv python install {version}"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command with the index, or serve it until interrupted; return the command's exit code."""
    parser = argparse.ArgumentParser(
        prog="python tests/index/serve.py",
        description="Let uv resolve torch, vllm and what belongs to them to CPU builds, for unchanged scripts.",
    )
    parser.add_argument("command", nargs="*", help="after --: what to run; without it, the variables are printed")
    words = parser.parse_args(argv).command
    try:
        with cpu_index() as variables:
            if words:
                return subprocess.run(words, env={**os.environ, **variables}, check=False).returncode
            with contextlib.suppress(KeyboardInterrupt):
                print("\n".join(f"export {key}={shlex.quote(value)}" for key, value in variables.items()), flush=True)
                threading.Event().wait()
            return 0
    except NotHere as error:
        print(f"error: {error}", file=sys.stderr)
        return _ENVIRONMENT_EXIT


def _variables(url: str, name: str) -> dict[str, str]:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return {
        "UV_INDEX": " ".join(filter(None, (url, os.environ.get("UV_INDEX")))),
        # uv keeps the environment of a script as long as it satisfies the header, whatever index it came from: with a
        # cache of its own, neither does a GPU build turn up here nor a CPU build where somebody works
        "UV_CACHE_DIR": str(cache / "jobshelf" / "cpu-index" / name),
        "UV_PYTHON": PYTHON,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_COMPILE_BYTECODE": "1",
        "NO_PROXY": ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1"))),
        # else vLLM takes most of the memory, starts two processes more, and reports home
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_NO_USAGE_STATS": "1",
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_port = True
    request_queue_size = 128
    held: Mapping[str, Answer]


@contextmanager
def _bound(name: str, held: Mapping[str, Answer]) -> Iterator[_Server]:
    """A server at the first free port of the few that belong to this name."""
    first = int(name, 16)
    for number in range(_TRIES):
        address = ("127.0.0.1", _FIRST_PORT + (first + number) % _PORTS)
        try:
            server = _Server(address, _Handler)
        except OSError:
            if number + 1 == _TRIES:
                raise
            continue
        server.held = {f"/{name}{path}": answer for path, answer in held.items()}
        with server:
            yield server
        return


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        self._answer(with_data=True)

    def do_HEAD(self) -> None:
        self._answer(with_data=False)

    def _answer(self, *, with_data: bool) -> None:
        answer = self.server.held.get(unquote(urlsplit(self.path).path))
        if answer is None:
            # not send_error: uv keeps the connection for the next package
            self.send_response(HTTPStatus.NOT_FOUND)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", answer.type)
        self.send_header("Content-Length", str(len(answer.data)))
        self.send_header("Cache-Control", _FOREVER)
        self.end_headers()
        if with_data:
            self.wfile.write(answer.data)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the output belongs to what is run."""
