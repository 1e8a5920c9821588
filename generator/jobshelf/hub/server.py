"""Start and stop a Hub on loopback."""

from __future__ import annotations

import fcntl
import re
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import uvicorn

from jobshelf.errors import EnvironmentFault
from jobshelf.hub.account import Account, Accounts
from jobshelf.hub.app import build_app
from jobshelf.hub.blobs import Blobs
from jobshelf.hub.buckets import Buckets
from jobshelf.hub.core import Core
from jobshelf.hub.database import Database
from jobshelf.hub.jobs import Jobs
from jobshelf.hub.journal import Fault, Journal, Request
from jobshelf.hub.repos import Repos
from jobshelf.hub.runner import Runner
from jobshelf.hub.signing import Signer
from jobshelf.hub.xet import Xet

_LOOPBACK = "127.0.0.1"
# columnar readers open dozens of connections at once
_BACKLOG = 4096
_DRAIN_SECONDS = 2


class Hub:
    """A running Hub. `endpoint` is what clients set as `HF_ENDPOINT`."""

    def __init__(self, core: Core) -> None:
        self._core = core

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return self._core.endpoint

    def journal(self) -> tuple[Request, ...]:
        """Every request since the start (or `clear_journal()`), in the order of the answers."""
        return self._core.journal.entries()

    def clear_journal(self) -> None:
        """Forget the requests so far."""
        self._core.journal.clear()

    def fail(
        self,
        *,
        path: str,
        status: int,
        method: str | None = None,
        times: int = 1,
        nth: int = 1,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Answer the `nth` to `nth + times - 1`-th request that matches with `status`, without doing it.

        `path` is a regular expression searched in the raw path with its query; `method` None means any.
        """
        fault = Fault(
            method=method, path=re.compile(path), status=status, times=times, nth=nth, headers=dict(headers or {})
        )
        self._core.journal.plan(fault)

    def run_forever(self) -> None:
        """Wait until SIGINT or SIGTERM arrives. Call it from the main thread."""
        stop = threading.Event()
        before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            stop.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def serve(root: Path, *, port: int = 0, accounts: Sequence[Account] = (), capacity: int | None = None) -> Iterator[Hub]:
    """Run a Hub on 127.0.0.1 that keeps its state under `root`; it is ready when the block begins.

    `port` 0 takes a free one. `capacity` is the number of bytes that the store may hold. When the block ends the
    server and every Job are stopped. Raises EnvironmentFault when the port is taken or another Hub uses `root`.
    """
    with (
        _lock(root),
        _bound(port) as listener,
        _core(root, listener, accounts, capacity) as core,
        _running(core, listener),
    ):
        yield Hub(core)


def _lock(root: Path) -> IO[str]:
    """An open file under `root` that this Hub alone has locked."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = (root / "lock").open("w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise EnvironmentFault(f"another Hub is using {root}", fix="stop it, or choose another --root") from error
    except OSError as error:
        raise EnvironmentFault(f"cannot keep a Hub in {root}: {error}", fix="choose another --root") from error
    return lock


@contextmanager
def _bound(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_LOOPBACK, port))
        except (OSError, OverflowError) as error:
            raise EnvironmentFault(
                f"port {port} on {_LOOPBACK} cannot be used: {error}",
                fix="stop what listens there, or choose another --port",
            ) from error
        yield listener


@contextmanager
def _core(root: Path, listener: socket.socket, accounts: Sequence[Account], capacity: int | None) -> Iterator[Core]:
    database = Database(root / "hub.sqlite3")
    try:
        yield _assembled(root, database, listener.getsockname()[1], accounts, capacity)
    finally:
        database.close()


def _assembled(root: Path, database: Database, port: int, accounts: Sequence[Account], capacity: int | None) -> Core:
    endpoint = f"http://{_LOOPBACK}:{port}"
    blobs = Blobs(root / "blobs", capacity=capacity)
    buckets = Buckets(database)
    xet = Xet(root / "xet", database=database, blobs=blobs)
    jobs = Jobs(root / "jobs", database=database)
    return Core(
        endpoint=endpoint,
        alias=f"http://localhost:{port}",
        accounts=Accounts(accounts),
        journal=Journal(),
        blobs=blobs,
        repos=Repos(database),
        buckets=buckets,
        xet=xet,
        jobs=jobs,
        runner=Runner(endpoint, jobs=jobs, blobs=blobs, buckets=buckets, xet=xet),
        signer=Signer(database.secret("signing key")),
    )


@contextmanager
def _running(core: Core, listener: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(
        build_app(core),
        backlog=_BACKLOG,
        access_log=False,
        log_config=None,
        date_header=False,
        server_header=False,
        lifespan="off",
        timeout_graceful_shutdown=_DRAIN_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="hub", daemon=True)
    thread.start()
    try:
        _await_start(server, thread)
        yield
    finally:
        # first the Jobs: an open log stream would hold the server back
        core.runner.close()
        server.should_exit = True
        thread.join()


def _await_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    while not server.started:
        thread.join(timeout=0.01)
        if not thread.is_alive():
            raise EnvironmentFault("the Hub's server did not start", fix="look at the traceback above")
