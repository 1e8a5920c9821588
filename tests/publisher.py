"""Real publishes of each kind, one at a time on a Hub that lets them be killed, or fail, at any request.

::

    rig = Rig(hub, client, environment)
    case = rig.rehearsed(...)                  # an uninterrupted publish: what it asks for, and what it leaves
    rig.begin(case)                            # as it was before
    rig.killed(case, KillPoint(number=7, moment="after"))
    assert rig.place(case) in {"before", "after"}
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import CommitOperationAdd, HfApi

from jobshelf.hub import Hub, Request
from jobshelf.index import Index
from jobshelf.rehearse.trouble import KillPoint

REPO = "jobshelf/scripts"
HOLD_SECONDS = 10.0
# The client's patience, for requests of either kind; a delay is longer.
PATIENCE = {"HF_HUB_DOWNLOAD_TIMEOUT": "1", "HF_HUB_ETAG_TIMEOUT": "1"}
DELAY_SECONDS = 2.5
FAULTS: Mapping[str, Mapping[str, Any]] = {
    "500": {"status": 500},
    "429": {"status": 429, "headers": {"Retry-After": "1"}},
    "reset": {"kind": "reset"},
    "timeout": {"kind": "delay", "seconds": DELAY_SECONDS},
    "truncate": {"kind": "truncate"},
}
Tree = Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the repository holds at its head: no tree where there is no repository; `tags` name their commits."""

    head: str | None = None
    tree: Tree | None = None
    commits: int = 0
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A publish from the checkout `root`.

    `before` is the tree that it finds (None: there is no repository), `after` the one that an uninterrupted publish
    leaves; `requests` is what that one asked. `tag` is the tag that it makes, if any.
    """

    name: str
    root: Path
    words: tuple[str, ...] = ()
    before: Tree | None = None
    after: Tree | None = None
    tag: str | None = None
    requests: tuple[Request, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Struck:
    """One publish that met one fault: its exit code, what it said, what it left, and what ran again made of it."""

    case: str
    fault: str
    request: str
    code: int
    said: str
    place: str
    again: str


class Rig:
    """One Hub, its writer's client, and the environment in which publishes are started."""

    def __init__(self, hub: Hub, client: HfApi, environment: Mapping[str, str]) -> None:
        self.hub = hub
        self._client = client
        self._environment = dict(environment)

    def rehearsed(self, case: Case) -> Case:
        """Return the case with what an uninterrupted publish asks and leaves.

        What the client asks once a day on its own account is none of the publish's requests, and not asked after this.
        """
        self.begin(case)
        done = self.run(case)
        assert done.returncode == 0, done.stderr
        requests = tuple(one for one in self.hub.journal() if "/agent-harnesses" not in one.path)
        state = self.state()
        assert state.tags == ({case.tag: state.head} if case.tag else {})
        return replace(case, after=state.tree, requests=requests)

    def begin(self, case: Case) -> None:
        """Bring the repository to the state before the publish, and forget every fault and request."""
        self.hub.clear_faults()
        self._client.delete_repo(REPO, repo_type="dataset", missing_ok=True)
        if case.before is not None:
            self._client.create_repo(REPO, repo_type="dataset")
            files = [CommitOperationAdd(path, data) for path, data in case.before.items()]
            self._client.create_commit(REPO, files, commit_message="before", repo_type="dataset")
        self.hub.clear_journal()

    def start(self, case: Case, **environment: str) -> subprocess.Popen[str]:
        argv = [sys.executable, "-m", "jobshelf", "publish", *case.words]
        return subprocess.Popen(
            argv,
            cwd=case.root,
            env=self._environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, case: Case, **environment: str) -> subprocess.CompletedProcess[str]:
        """Publish to the end."""
        process = self.start(case, **environment)
        stdout, stderr = process.communicate(timeout=120)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def killed(self, case: Case, point: KillPoint) -> bool:
        """Publish until the point and SIGKILL there; whether the publish came that far.

        A request that is held `before` it is done is not done once its client is gone.
        """
        kind = "delay" if point.moment == "before" else "lost"
        fault = self.hub.fail(path="", kind=kind, seconds=HOLD_SECONDS, nth=point.number)
        process = self.start(case)
        reached = _wait(lambda: bool(fault.struck if point.moment == "before" else fault.done), process)
        process.kill()
        process.communicate()
        self.hub.clear_faults()
        return reached

    def struck(self, case: Case, fault: str, number: int) -> Struck:
        """Publish while request `number` (from 1) fails, then publish again without a fault."""
        self.begin(case)
        self.hub.fail(path="", nth=number, **FAULTS[fault])
        done = self.run(case, **PATIENCE)
        self.hub.clear_faults()
        one = case.requests[number - 1]
        return Struck(
            case=case.name,
            fault=fault,
            request=f"{number} {one.method} {_short(one.path)}",
            code=done.returncode,
            said=done.stderr,
            place=self.place(case),
            again=self.finished(case),
        )

    def finished(self, case: Case) -> str:
        """Publish again; return what is wrong with what is there then, nothing when it is as after one publish."""
        done = self.run(case)
        state = self.state()
        # a release that was tagged before it was interrupted is said to be there
        is_over = case.tag in state.tags and f"already has the tag {case.tag}" in done.stderr
        if done.returncode != 0 and not is_over:
            return f"exit code {done.returncode}: {done.stderr}"
        if case.tag and state.tags != {case.tag: state.head}:
            return f"the tags are {state.tags}, the head is {state.head}"
        place = self.place(case)
        return "" if place == "after" else place

    def state(self) -> State:
        """Return what the repository holds now."""
        client = self._client
        if not client.repo_exists(REPO, repo_type="dataset"):
            return State(tags={})
        head = str(client.repo_info(REPO, repo_type="dataset").sha)
        tree = tree_of(client, head)
        commits = client.list_repo_commits(REPO, repo_type="dataset")
        refs = client.list_repo_refs(REPO, repo_type="dataset")
        tags = {tag.name: tag.target_commit for tag in refs.tags}
        return State(head=head, tree=tree, commits=len(commits), tags=tags)

    def place(self, case: Case) -> str:
        """Say where the repository is: `before`, `after`, or what is wrong in between."""
        state = self.state()
        begun = 1 if case.before is None else 2
        if not state.tree and case.before is None and state.commits <= begun:
            return "before"
        if state.tree == case.before and state.commits == begun and case.before != case.after:
            return "before"
        expected = begun + (case.before != case.after)
        if state.tree == case.after and state.commits == expected and not wrong_sums(state.tree):
            return "after"
        return f"{sorted(state.tree or ())} after {state.commits} commits, expected {expected}"


def tree_of(client: HfApi, revision: str = "main") -> Tree:
    """Return the files of the repository, read without a cache."""
    from huggingface_hub.utils import build_hf_headers, get_session

    def content(path: str) -> bytes:
        url = f"{client.endpoint}/datasets/{REPO}/resolve/{revision}/{path}"
        return get_session().get(url, headers=build_hf_headers(token=client.token)).raise_for_status().content

    paths = client.list_repo_files(REPO, repo_type="dataset", revision=revision)
    return {path: content(path) for path in paths if path != ".gitattributes"}


def cases(rig: Rig, make_shelf: Any) -> dict[str, Case]:
    """Return a first publish, an unchanged one, one with a changed script, and a release, each rehearsed."""
    shelf = make_shelf({"a": "1", "b": "1"}, version="1.0.0")
    first = rig.rehearsed(Case(name="first", root=shelf.root))
    changed = make_shelf.copy(shelf, "changed")
    make_shelf.put(changed, "a", "1.1")
    make_shelf.index(changed)
    others = (
        Case(name="unchanged", root=shelf.root, before=first.after),
        Case(name="changed", root=changed.root, before=first.after),
        Case(name="release", root=changed.root, before=first.after, words=("--release",), tag="v1.0.0"),
    )
    return {case.name: case for case in (first, *map(rig.rehearsed, others))}


def wrong_sums(tree: Tree) -> list[str]:
    """Return the files that SHA256SUMS or index.json describe otherwise than they are."""
    lines = [line.split("  ", 1) for line in tree["SHA256SUMS"].decode().splitlines()]
    sums = {path: digest for digest, path in lines}
    found = {path: hashlib.sha256(data).hexdigest() for path, data in tree.items() if path != "SHA256SUMS"}
    wrong = {path for path in sums.keys() | found.keys() if sums.get(path) != found.get(path)}
    index = Index.from_text(tree["index.json"].decode(), "index.json")
    return sorted(wrong | {entry.file for entry in index.entries if found.get(entry.file) != entry.sha256})


def sweep(rig: Rig, cases: Iterable[Case]) -> list[Struck]:
    """Let every request of every case fail in every way."""
    return [
        rig.struck(case, fault, number)
        for case in cases
        for number in range(1, len(case.requests) + 1)
        for fault in FAULTS
    ]


def table(found: Iterable[Struck]) -> str:
    """Return a Markdown table: a line a request, a column a fault, each with the exit code and where it left the Hub."""
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for one in found:
        answer = "**wrong**" if wrong_answer(one) else f"{one.code} {one.place}"
        cells.setdefault((one.case, one.request), {})[one.fault] = answer
    lines = [f"| publish | request | {' | '.join(FAULTS)} |", "|---" * (2 + len(FAULTS)) + "|"]
    for (case, request), answers in cells.items():
        lines.append(f"| {case} | `{request}` | {' | '.join(answers[fault] for fault in FAULTS)} |")
    return "\n".join(lines) + "\n"


def wrong_answer(struck: Struck) -> str:
    """Return what is wrong with how a publish ended that met a fault; nothing when it kept its promises."""
    ours = [line for line in struck.said.splitlines() if line.startswith("jobshelf: ")]
    if struck.place not in {"before", "after"}:
        return f"in between: {struck.place}"
    if struck.again:
        return f"run again: {struck.again}"
    if struck.code == 0:
        return "" if struck.place == "after" and not ours else f"exit code 0, but it is as {struck.place}: {ours}"
    if struck.code not in {5, 6}:
        return f"exit code {struck.code}: {struck.said}"
    if struck.code == 6 and struck.place != "after":
        return f"exit code 6, but it is as {struck.place}"
    method = struck.request.split()[1]
    whole = len(ours) == 1 and f" {method} /" in ours[0] and re.search(_WHAT_TO_TYPE, ours[0])
    if not whole or "Traceback" in struck.said:
        return f"exit code {struck.code}, and said {struck.said!r}"
    return ""


_WHAT_TO_TYPE = r"the same command( again|: it makes the tag)?$|Fix: jobshelf verify \S+$"


def _short(path: str) -> str:
    """Return a path without what differs from run to run."""
    words = ["<commit>" if len(word) == 40 else word for word in path.partition("?")[0].split("/")]
    return "/".join(words).replace(f"/{REPO}", "")


def _wait(condition: Callable[[], bool], process: subprocess.Popen[str]) -> bool:
    deadline = time.monotonic() + 60
    while not condition() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()
