"""Start and stop a Hub on loopback."""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO

import uvicorn

from jobshelf.errors import EnvironmentFault
from jobshelf.hub.access import Access
from jobshelf.hub.account import Account, Accounts
from jobshelf.hub.app import build_app
from jobshelf.hub.blobs import Blobs
from jobshelf.hub.buckets import Buckets
from jobshelf.hub.clock import Clock
from jobshelf.hub.connection import HubProtocol
from jobshelf.hub.core import Core
from jobshelf.hub.database import Database
from jobshelf.hub.discussions import Discussions
from jobshelf.hub.faults import Fault, FaultKind, FaultPlan, planned
from jobshelf.hub.happenings import Happenings
from jobshelf.hub.jobs import Jobs
from jobshelf.hub.journal import Journal, Request
from jobshelf.hub.limits import Limit, Limits
from jobshelf.hub.notifier import Notifier
from jobshelf.hub.parts import Parts
from jobshelf.hub.private import claim, private_opener, tighten
from jobshelf.hub.publishers import Publisher, Publishers
from jobshelf.hub.repos import Repos
from jobshelf.hub.runner import Runner
from jobshelf.hub.scheduler import Scheduler
from jobshelf.hub.schedules import Schedules
from jobshelf.hub.signing import Signer
from jobshelf.hub.tls import HOSTS, Tls, tls_proxy
from jobshelf.hub.vault import Vault
from jobshelf.hub.webhooks import Webhooks
from jobshelf.hub.xet import Xet

_LOOPBACK = "127.0.0.1"
_HTTP_PORT = 80
_DATABASE = "hub.sqlite3"
# all that the Hub keeps under its root
_STATE = (_DATABASE, f"{_DATABASE}-wal", f"{_DATABASE}-shm", "lock", "blobs", "parts", "xet", "jobs", "running", "tls")
# columnar readers open dozens of connections at once
_BACKLOG = 4096
_DRAIN_SECONDS = 2
# Longer than clients keep an idle connection (httpx: 5 s). With equal times, a request can meet the connection's end.
_KEEP_ALIVE_SECONDS = 75


class Hub:
    """A running Hub. `endpoint` is what clients set as `HF_ENDPOINT`.

    `tls` is there in TLS mode: `hub.tls.environment()` is for clients that know `https://huggingface.co` only.
    """

    def __init__(self, core: Core, scheduler: Scheduler, tls: Tls | None) -> None:
        self._core = core
        self._scheduler = scheduler
        self.tls = tls

    @property
    def endpoint(self) -> str:
        """`http://127.0.0.1:PORT`."""
        return self._core.endpoint

    @property
    def instruments_secret(self) -> str:
        """What another process sends as `Authorization: Bearer ...` to `/_hub/journal` and `/_hub/faults`.

        It is new at every start, and whoever started the Hub decides who gets it. Jobs do not.
        """
        return self._core.instruments_secret

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
        kind: FaultKind = "status",
        status: int = 0,
        method: str | None = None,
        times: int = 1,
        nth: int = 1,
        seconds: float = 0.0,
        headers: Mapping[str, str] | None = None,
    ) -> Fault:
        """Let the `nth` to `nth + times - 1`-th request that matches fail; `jobshelf.hub.faults.Fault` says how.

        `path` is text that occurs in the raw path with its query, as in the journal; `*` stands for any text, `^` at the
        beginning and `$` at the end for those of the path. `method` None means any. The fault that is returned counts what
        it saw and struck. Raises ValueError for one that could not strike, or when there are 256 already.
        """
        fault = planned(
            path=path,
            kind=kind,
            status=status,
            method=method,
            times=times,
            nth=nth,
            seconds=seconds,
            headers=headers,
        )
        self._core.faults.add(fault)
        return fault

    def clear_faults(self) -> None:
        """Let nothing fail from now on."""
        self._core.faults.clear()

    def limit_commits(self, count: int | None, *, seconds: float = 3600) -> None:
        """Answer 429 to more than `count` commits to one repo in `seconds`; None lifts the limit. It begins at zero."""
        self._core.limits.commits.set(None if count is None else Limit(count=count, seconds=seconds))

    def limit_requests(self, count: int | None, *, seconds: float = 300) -> None:
        """Answer 429 to more than `count` requests of one user in `seconds`; None lifts the limit. It begins at zero."""
        self._core.limits.requests.set(None if count is None else Limit(count=count, seconds=seconds))

    def trust_publisher(self, resource: str, **claims: str) -> None:
        """Give whoever shows an id token with these claims an hour's token for `resource` (`datasets/acme/scripts`)."""
        self._core.publishers.trust(Publisher(resource=resource, claims=claims))

    def pass_time(self, seconds: float) -> None:
        """Let the clock of the schedules run ahead, and start what is due by it."""
        self._core.time.advance(seconds)
        self._scheduler.look()

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
def serve(
    root: Path,
    *,
    port: int = 0,
    accounts: Sequence[Account] = (),
    capacity: int | None = None,
    tls: bool = False,
) -> Iterator[Hub]:
    """Run a Hub on 127.0.0.1 that keeps its state under `root`; it is ready when the block begins.

    `port` 0 takes a free one. `capacity` is the number of bytes that the store may hold. `tls` adds
    the Hub under its real name (`jobshelf.hub.tls`). When the block ends the server and every Job are stopped. Raises
    EnvironmentFault when the port is taken, another Hub uses `root`, it belongs to another user, or TLS mode lacks its
    package. Only the user who runs the Hub can read what is under `root`, whatever the modes were before.
    """
    with (
        _lock(root),
        _bound(port) as listener,
        _core(root, listener, accounts, capacity, tls=tls) as core,
        _running(core, listener),
        _by_itself(core) as scheduler,
        tls_proxy(root / "tls", listener.getsockname()[1]) if tls else nullcontext() as proxy,
    ):
        yield Hub(core, scheduler, proxy)


def _lock(root: Path) -> IO[str]:
    """An open file under `root` that this Hub alone has locked."""
    claim(root)
    try:
        tighten(root / name for name in _STATE)
        lock = os.fdopen(private_opener(str(root / "lock"), os.O_CREAT | os.O_WRONLY), "w")
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise EnvironmentFault(f"another Hub is using {root}", fix="stop it, or choose another --root") from error
    except OSError as error:
        raise EnvironmentFault(f"cannot keep a Hub in {root}: {error}", fix="choose another --root") from error
    return lock


@contextmanager
def _bound(port: int) -> Iterator[socket.socket]:
    # with the protocol named, asyncio sets TCP_NODELAY: without it every answer waits 40 ms for an acknowledgement
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
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
def _core(
    root: Path, listener: socket.socket, accounts: Sequence[Account], capacity: int | None, *, tls: bool
) -> Iterator[Core]:
    database = Database(root / _DATABASE)
    try:
        yield _assembled(root, database, listener.getsockname()[1], accounts, capacity, tls=tls)
    finally:
        database.close()


def _assembled(
    root: Path, database: Database, port: int, accounts: Sequence[Account], capacity: int | None, *, tls: bool
) -> Core:
    endpoint, alias = (f"http://{name}{'' if port == _HTTP_PORT else f':{port}'}" for name in (_LOOPBACK, "localhost"))
    blobs = Blobs(root / "blobs", capacity=capacity)
    repos = Repos(database)
    buckets = Buckets(database)
    xet = Xet(root / "xet", database=database, blobs=blobs)
    jobs = Jobs(root / "jobs", database=database)
    return Core(
        endpoint=endpoint,
        alias=alias,
        origins=(endpoint, alias, *(f"https://{host}" for host in HOSTS if tls)),
        instruments_secret=secrets.token_urlsafe(32),
        accounts=Accounts(accounts),
        journal=Journal(),
        faults=FaultPlan(),
        limits=Limits(),
        blobs=blobs,
        parts=Parts(root / "parts", blobs=blobs),
        repos=repos,
        access=Access(database),
        discussions=Discussions(database, repos),
        buckets=buckets,
        xet=xet,
        jobs=jobs,
        schedules=Schedules(database),
        webhooks=Webhooks(database),
        vault=Vault(),
        time=Clock(),
        happenings=Happenings(),
        runner=Runner(endpoint, root / "running", jobs=jobs, blobs=blobs, buckets=buckets, xet=xet),
        signer=Signer(database.secret("signing key")),
        publishers=Publishers(),
    )


@contextmanager
def _running(core: Core, listener: socket.socket) -> Iterator[None]:
    config = uvicorn.Config(
        build_app(core),
        http=HubProtocol,
        ws="none",
        backlog=_BACKLOG,
        access_log=False,
        log_config=None,
        date_header=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
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


@contextmanager
def _by_itself(core: Core) -> Iterator[Scheduler]:
    """Let the Hub do what nobody calls it for: start scheduled Jobs, tell webhooks."""
    scheduler, notifier = Scheduler(core), Notifier(core)
    core.happenings.listen(notifier.tell)
    scheduler.start()
    try:
        yield scheduler
    finally:
        scheduler.close()
        notifier.close()


def _await_start(server: uvicorn.Server, thread: threading.Thread) -> None:
    while not server.started:
        thread.join(timeout=0.01)
        if not thread.is_alive():
            raise EnvironmentFault("the Hub's server did not start", fix="look at the traceback above")
