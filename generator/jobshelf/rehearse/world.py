"""A world of its own for each scenario: a Hub that holds the fixtures and nothing else, and users with empty homes."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Lock

from jobshelf.hub import Account, Hub, Request, serve
from jobshelf.rehearse.canary import CANARY, READER, Search, search
from jobshelf.rehearse.environment import Environment, shared_folders, user_variables
from jobshelf.rehearse.fixtures import without_columns
from jobshelf.rehearse.process import Ended, Process
from jobshelf.rehearse.repo_files import HubFiles, RepoFiles, RepoName
from jobshelf.rehearse.result import Result
from jobshelf.rehearse.subject import OTHER_COLUMNS, USER, Subject

ACCOUNTS = (Account(name=USER, token=CANARY), Account(name=USER, token=READER, role="read"))
_WRITTEN = re.compile(r"^/api/(models|datasets|spaces|buckets)/([^/]+/[^/]+)/(?:commit/|batch)")
_CLOSERS = 8
_CROSSED_OUT = "***"
_POLL_SECONDS = 0.002


class World:
    """One Hub and the runs on it, whose environment also has `variables`. Made by `Worlds.open`."""

    def __init__(
        self, hub: Hub, folder: Path, *, script: Path, environment: Environment, subject: Subject, stopped: Event
    ) -> None:
        self.hub = hub
        self.variables: dict[str, str] = {}
        self._stopped = stopped
        self._folder = folder
        self._script = script
        self._environment = environment
        self._subject = subject
        self._runs: list[Path] = []
        self._processes: list[Process] = []

    def start(self, words: Iterable[str], *, token: str | None = CANARY, watched: bool = False) -> Process:
        """Start the script with these arguments, as a new user in an empty folder."""
        argv = self._environment.argv(self._script, tuple(words))
        return self._process(argv, cwd=None, token=token, watched=watched)

    def _process(self, argv: list[str], *, cwd: Path | None, token: str | None, watched: bool) -> Process:
        if self._stopped.is_set():
            raise RuntimeError("the rehearsal was stopped")
        run = self._folder / f"run-{len(self._runs) + 1}"
        home, temporary, work = run / "home", run / "tmp", run / "work"
        for folder in (home, temporary, work):
            folder.mkdir(parents=True)
        self._runs.append(run)
        variables = user_variables(self._environment, home, temporary) | self._subject.variables
        variables |= {"HF_ENDPOINT": self.hub.endpoint} | ({"HF_TOKEN": token} if token else {}) | self.variables
        self._processes.append(Process(argv, env=variables, cwd=cwd or work, folder=run, watched=watched))
        return self._processes[-1]

    def end_runs(self) -> None:
        """End what still runs."""
        for process in self._processes:
            process.kill()

    def run(self, words: Iterable[str], *, seconds: float, token: str | None = CANARY, watched: bool = False) -> Ended:
        """Run the script to its end, or for so many seconds."""
        return self.start(words, token=token, watched=watched).wait(seconds)

    def type_command(self, command: list[str], *, seconds: float) -> Ended:
        """Run an `hf` command where the latest run was started, as the same user in a new session."""
        hf = Path(sys.executable).with_name("hf")
        return self._process([str(hf), *command[1:]], cwd=self.work, token=CANARY, watched=False).wait(seconds)

    @property
    def work(self) -> Path:
        """The folder in which the latest run was started."""
        return self._runs[-1] / "work"

    def requests(self, since: int = 0) -> tuple[Request, ...]:
        """Return what the Hub was asked, from request number `since` (from 0) on."""
        return self.hub.journal()[since:]

    def result(self, ended: Ended, repos: Iterable[RepoName] = ()) -> Result:
        """Return what is there now: `repos`, and every other repo that was written to."""
        names = {*repos, *written_repos(self.requests())}
        files = HubFiles(self.hub.endpoint, CANARY)
        found = {name: files.pull(name) for name in sorted(names, key=str)}
        repos_found: Mapping[RepoName, RepoFiles] = {name: held for name, held in found.items() if held is not None}
        return Result(repos=repos_found, stdout=ended.stdout, endpoint=self.hub.endpoint)

    def search(self) -> list[Search]:
        """Return where a token turned up: what the runs printed and left on disk, the Hub's files, the journal."""
        # the Hub itself crosses out the tokens that it knows
        asked = [f"{request.method} {request.path}" for request in self.requests() if names_a_token(request)]
        return [
            *(search(run) for run in self._runs),
            search(self._folder / "hub" / "blobs"),
            Search(files=0, leaks=tuple(f"the address of {one}" for one in asked)),
        ]


class Worlds:
    """Makes worlds for one subject, each from the same beginning; `folder` holds all that they leave."""

    def __init__(self, folder: Path, *, script: Path, environment: Environment, subject: Subject, keep: bool) -> None:
        self._folder = folder
        self._environment = environment
        self._subject = subject
        self._keep = keep
        self._seed = folder / "seed"
        self._script = script
        self.leaks: list[str] = []
        self.searched = 0
        self._closers = ThreadPoolExecutor(_CLOSERS)
        self._endings: list[Future[None]] = []
        self._open: set[World] = set()
        self._stopped = Event()
        self._noting = Lock()
        self._began = time.time()
        self.sources = self._sow()

    @contextmanager
    def open(self, name: str) -> Iterator[World]:
        """A new world, gone when the block ends; what it leaked is added to `leaks`, the files searched to `searched`."""
        folder = self._folder / name
        shutil.copytree(self._seed, folder / "hub")
        ending = ExitStack()
        if not self._keep:
            ending.callback(shutil.rmtree, folder)
        hub = ending.enter_context(serve(folder / "hub", accounts=ACCOUNTS))
        world = World(
            hub,
            folder,
            script=self._script,
            environment=self._environment,
            subject=self._subject,
            stopped=self._stopped,
        )
        self._open.add(world)
        try:
            yield world
        finally:
            self._open.discard(world)
            world.end_runs()
            self._note(name, world.search())
            # a Hub takes a moment to end, which nobody needs to wait for
            self._endings.append(self._closers.submit(ending.close))

    def search_shared(self) -> None:
        """Look for the token in what runs have written outside of their worlds."""
        self._note("shared", [search(folder, since=self._began) for folder in shared_folders(self._environment)])

    def _note(self, name: str, found: Iterable[Search]) -> None:
        with self._noting:
            for one in found:
                self.searched += one.files
                self.leaks += [f"{name}: {leak}" for leak in one.leaks]

    def stop(self) -> None:
        """End every run and let none begin."""
        self._stopped.set()
        for world in tuple(self._open):
            world.end_runs()

    def close(self) -> None:
        """Wait until every world has ended."""
        self._closers.shutdown()
        for ending in self._endings:
            ending.result()

    def _sow(self) -> dict[str, str]:
        """Put the fixtures on the Hub from which all others are copied; return the commits of the data sets."""
        with serve(self._seed, accounts=ACCOUNTS) as hub:
            files = HubFiles(hub.endpoint, CANARY)
            private = self._subject.access == "read"
            files.push(RepoName(kind="datasets", id=OTHER_COLUMNS), without_columns(), private=private)
            for fixture in self._subject.fixtures:
                repo = RepoName(kind=fixture.kind, id=f"{USER}/{fixture.name}")
                files.push(repo, fixture.make(), private=private and fixture.kind == "datasets")
            names = [f"{USER}/{fixture.name}" for fixture in self._subject.inputs]
            held = {name: files.pull(RepoName(kind="datasets", id=name)) for name in names}
            return {name: str(repo.head) for name, repo in held.items() if repo is not None}


def written_repos(requests: Iterable[Request]) -> set[RepoName]:
    """Return the repos and buckets that these requests wrote to."""
    found = (_WRITTEN.match(request.path) for request in requests if request.wrote)
    return {RepoName(kind=match[1], id=match[2]) for match in found if match}


def wait_until(condition: Callable[[], bool], process: Process, seconds: float) -> bool:
    """Wait until `condition` holds; False when the process ended, or the time was over, before it did."""
    deadline = time.monotonic() + seconds
    while not condition():
        if process.is_over or time.monotonic() > deadline:
            return condition()
        time.sleep(_POLL_SECONDS)
    return True


def names_a_token(request: Request) -> bool:
    """Whether the Hub crossed out a token in the address or the user agent; the signature of its own URLs is none."""
    return _CROSSED_OUT in (request.path + request.client).replace(f"&signature={_CROSSED_OUT}", "")
