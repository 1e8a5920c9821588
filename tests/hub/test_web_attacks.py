"""A page of another origin, in a real Chromium, does to a Hub what pages can do; the Hub keeps its state and says nothing.

The pages know more than they would: every address, the user's token, the instruments' secret, signed URLs. What stands in
their way is the Hub alone: the browser's own fence around loopback is switched off.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx2
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from playwright.sync_api import Browser, sync_playwright

from hub.contract import ACCOUNTS, ADA, BOB
from jobshelf.hub import Hub, serve
from jobshelf.hub.app import build_app
from jobshelf.hub.guard import GuardMiddleware

pytestmark = [pytest.mark.heavy, pytest.mark.page, pytest.mark.timeout(240)]
CHROMIUM = Path("/usr/bin/chromium")
# else Chromium itself would keep some pages from loopback, which other browsers do not
UNFENCED = (
    "LocalNetworkAccessChecks",
    "LocalNetworkAccessChecksWebSockets",
    "BlockInsecurePrivateNetworkRequests",
    "PrivateNetworkAccessSendPreflights",
)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-proxy-server", "--disable-popup-blocking"),
    f"--disable-features={','.join(UNFENCED)}",
    "--host-resolver-rules=MAP evil.example 127.0.0.1",
]
Attack = Callable[[str, str], None]
REBOUND = "/page-of-evil"
EMPTY = "<!doctype html><body></body>"
CANARY = "canary-3f9a"
PROBE = "probe/1"
LONGEST_WAIT_SECONDS = 1.0
JSON_BODIES = {
    "/_hub/faults": {"path": "^/(a+)+$", "kind": "delay", "seconds": 3600, "times": 1_000_000},
    "/api/repos/create": {"name": "planted", "type": "dataset"},
    "/api/repos/delete": {"name": "hidden", "type": "dataset"},
    "/api/repos/move": {"fromRepo": "ada/hidden", "toRepo": "ada/moved", "type": "dataset"},
    "/api/jobs/ada": {"command": ["true"], "dockerImage": "x", "flavor": "cpu-basic"},
}
ANY_BODY = {
    "private": False,
    "visibility": "public",
    "title": "planted",
    "comment": "planted",
    "status": "closed",
    "tag": "planted",
    "user": "bob",
    "message": "planted",
    "labels": {"planted": "1"},
    "schedule": "@hourly",
}
COMMIT = (
    {"key": "header", "value": {"summary": "planted"}},
    {"key": "file", "value": {"path": "planted.txt", "content": "cGxhbnRlZA==", "encoding": "base64"}},
)

ATTACK = """
async ({targets, socket}) => {
  const leaks = []
  const enough = (promise) => Promise.race([promise, new Promise((end) => setTimeout(end, 10000, null))])
  const keep = (how, target, text) => { if (text) leaks.push([how, target.method, target.url, String(text).slice(0, 300)]) }
  const asked = async (how, target, options) => {
    try {
      const answer = await fetch(target.url, {cache: 'no-store', ...options})
      keep(how, target, await answer.text())
    } catch (error) {}
  }
  const form = new FormData(); form.append('a', '1')
  const simple = (body) => [
    ['text/plain', new Blob([body], {type: 'text/plain'})],
    ['urlencoded', new URLSearchParams({a: body})],
    ['multipart', form],
    ['untyped', new Blob([body])],
  ]
  const byFetch = async (target) => {
    for (const mode of ['no-cors', 'cors']) {
      for (const method of ['GET', 'HEAD'])
        await asked(mode, target, {method, mode, credentials: 'include'})
      for (const [name, body] of simple(target.body))
        await asked(mode + ' ' + name, target, {method: 'POST', mode, body, credentials: 'include'})
    }
    for (const token of target.tokens) {
      const headers = {Authorization: 'Bearer ' + token}
      await asked('token', target, {method: target.method, headers, body: target.method == 'GET' ? undefined : target.body})
      for (const type of ['application/json', 'application/x-ndjson', 'text/plain'])
        if (target.method != 'GET')
          await asked('token ' + type, target, {method: target.method, headers: {...headers, 'Content-Type': type}, body: target.body})
    }
    navigator.sendBeacon(target.url, target.body)
    navigator.sendBeacon(target.url, new Blob([target.body], {type: 'text/plain'}))
  }
  const element = (target, tag, attributes, read) => enough(new Promise((end) => {
    const made = document.createElement(tag)
    made.onload = () => { try { keep(tag, target, read(made)) } catch (error) {} finally { made.remove(); end() } }
    made.onerror = () => { made.remove(); end() }
    Object.assign(made, attributes)
    document.body.append(made)
  }))
  const inside = (frame) => frame.contentDocument && frame.contentDocument.documentElement.innerText
  const posted = (target, enctype, method) => enough(new Promise((end) => {
    const frame = document.createElement('iframe')
    frame.name = 'f' + Math.random()
    document.body.append(frame)
    const sent = document.createElement('form')
    Object.assign(sent, {action: target.url, method, enctype, target: frame.name})
    const field = document.createElement('textarea')
    field.name = target.body; field.value = ''
    sent.append(field)
    document.body.append(sent)
    sent.submit()
    frame.onload = () => {
      try { keep('form', target, inside(frame)) } catch (error) {}
      frame.remove(); sent.remove(); end()
    }
  }))
  window.onerror = (message, source) => { keep('script error', {method: 'GET', url: source}, message) }
  const byElement = async (target) => {
    await element(target, 'img', {src: target.url}, (made) => made.naturalWidth && 'an image')
    await element(target, 'script', {src: target.url}, () => 'a script ran')
    await element(target, 'link', {rel: 'stylesheet', href: target.url}, (made) => made.sheet && 'a style sheet')
    await element(target, 'iframe', {src: target.url}, inside)
    await element(target, 'object', {data: target.url}, inside)
    for (const enctype of ['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data'])
      await posted(target, enctype, 'POST')
    await posted(target, 'text/plain', 'GET')
  }
  const attacks = targets.flatMap((target) => [() => byFetch(target), () => byElement(target)])
  const worker = async () => { while (attacks.length) await attacks.pop()() }
  await Promise.all(Array.from({length: 12}, worker))
  for (const target of targets.filter((target) => target.method == 'GET')) {
    const shown = window.open(target.url, 'victim')
    await new Promise((end) => setTimeout(end, 30))
    try { keep('window', target, shown.document.documentElement.innerText) } catch (error) {}
  }
  for (const path of ['/', '/_hub/journal', '/api/jobs/ada'])
    await enough(new Promise((end) => {
      const opened = new WebSocket(socket + path)
      opened.onopen = () => { keep('socket', {method: 'GET', url: path}, 'opened'); end() }
      opened.onerror = end
    }))
  return leaks
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One method of one route, with its parameters filled in, and a body that would change something."""

    method: str
    path: str
    body: str


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.fail(f"{CHROMIUM} is missing. Fix: apt-get install chromium", pytrace=False)
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """How often each method and path came to the Hub, whatever became of it, but for the probe's."""
    seen: Counter[tuple[str, str]] = Counter()
    guarded = GuardMiddleware.__call__

    async def counted(self: GuardMiddleware, scope: Any, receive: Any, send: Any) -> None:
        if (b"user-agent", PROBE.encode()) not in scope["headers"]:
            seen[scope["method"], scope["raw_path"].decode()] += 1
        await guarded(self, scope, receive, send)

    monkeypatch.setattr(GuardMiddleware, "__call__", counted)
    return seen


@pytest.fixture
def hub(tmp_path: Path, arrived: Counter[tuple[str, str]]) -> Iterator[Hub]:
    """A Hub whose private things all hold the canary, and one public dataset."""
    with serve(tmp_path / "hub", accounts=ACCOUNTS) as running:
        api = HfApi(endpoint=running.endpoint, token=ADA.token)
        for kind in ("model", "dataset", "space"):
            api.create_repo("ada/hidden", repo_type=kind, private=True, space_sdk="static" if kind == "space" else None)
            files = [
                CommitOperationAdd("index.html", f"<p>{CANARY}</p>".encode()),
                CommitOperationAdd("run.js", f"document.title = '{CANARY}'".encode()),
                CommitOperationAdd("large.bin", CANARY.encode() * 1000),
            ]
            api.create_commit("ada/hidden", files, commit_message=CANARY, repo_type=kind)
        api.create_discussion("ada/hidden", CANARY, repo_type="dataset")
        api.create_repo("ada/shown", repo_type="dataset")
        api.create_bucket("ada/hidden", private=True)
        api.batch_bucket_files("ada/hidden", add=[(CANARY.encode(), "index.html")])
        job = api.run_job(image="x", command=["echo", CANARY], namespace="ada")
        api.wait_for_job(job.id, namespace="ada", poll_interval=0.05)
        api.create_webhook(job_id=job.id, watched=[{"type": "dataset", "name": "ada/shown"}], domains=["discussion"])
        api.create_scheduled_job(image="x", command=["echo", CANARY], schedule="@yearly", namespace="ada")
        running.fail(path="^/", status=503, nth=1_000_000, method="GET")
        yield running


@contextmanager
def origin(name: str, *, sandboxed: bool = False) -> Iterator[str]:
    """The address of an empty page of another server on this machine; a sandboxed one has the origin `null`."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            if sandboxed:
                self.send_header("Content-Security-Policy", "sandbox allow-scripts allow-forms allow-popups")
            self.end_headers()
            self.wfile.write(EMPTY.encode())

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{name}:{server.server_address[1]}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def targets(hub: Hub, root: Path) -> list[Target]:
    """Every method of every route that the Hub's router has."""
    with closing(sqlite3.connect(root / "hub.sqlite3")) as database:
        job, schedule, webhook, sha256 = (
            database.execute(query).fetchone()[0]
            for query in (
                "SELECT id FROM jobs",
                "SELECT id FROM schedules",
                "SELECT id FROM webhooks",
                "SELECT sha256 FROM files WHERE lfs",
            )
        )
    values = {
        "kinds": "datasets",
        "namespace": "ada",
        "name": "hidden",
        "revision": "main",
        "ref": "main",
        "path": "index.html",
        "num": "1",
        "status": "pending",
        "webhook": webhook,
        "verb": "disable",
        "sha256": sha256,
        "filename": "large.bin",
        "number": "00001",
        "job": job,
        "schedule": schedule,
    }
    found = []
    for route in build_app(hub._core).routes:
        path = route.path_format.format(**values)
        body = json.dumps(JSON_BODIES.get(path, ANY_BODY))
        if "/commit/" in path:
            body = "\n".join(json.dumps(line) for line in COMMIT)
        found += [Target(method=method, path=path, body=body) for method in sorted(route.methods - {"HEAD"})]
    with httpx2.Client(base_url=hub.endpoint, headers={"User-Agent": PROBE}) as client:
        ours = {"Authorization": f"Bearer {ADA.token}"}
        signed = client.get("/datasets/ada/hidden/resolve/main/large.bin", headers=ours).headers["location"]
    queries = (
        *("/splits?dataset=ada/hidden", "/rows?dataset=ada/hidden&config=default&split=train"),
        *("/datasets/ada/hidden/resolve/main/run.js", signed.removeprefix("http://localhost:").partition("/")[2]),
    )
    return [*found, *(Target(method="GET", path=f"/{path.lstrip('/')}", body="") for path in queries)]


def state(hub: Hub, root: Path) -> dict[str, Any]:
    """All that a Hub keeps: the database, its files, the faults and what they counted, the journal but for the probe's."""
    secret = {"Authorization": f"Bearer {hub.instruments_secret}"}
    with closing(sqlite3.connect(root / "hub.sqlite3")) as database:
        dump = list(database.iterdump())
    files = sorted(str(path) for path in root.rglob("*") if not path.name.startswith("hub.sqlite3"))
    with httpx2.Client(base_url=hub.endpoint, headers=secret) as client:
        faults, journal = client.get("/_hub/faults").json(), client.get("/_hub/journal").json()
    counted = [{key: value for key, value in fault.items() if key not in {"seen"}} for fault in faults]
    others = [entry for entry in journal if entry["client"] != PROBE]
    # the probe's requests match the planted fault; every other one would be counted above those
    by_others = [fault["seen"] - sum(entry["client"] == PROBE for entry in journal) for fault in faults]
    return {"database": dump, "files": files, "faults": counted, "seen": by_others, "journal": others}


@contextmanager
def probing(hub: Hub) -> Iterator[list[float]]:
    """A client that reads from the Hub all the while; how many seconds each answer took."""
    waits: list[float] = []
    over = threading.Event()

    def probe() -> None:
        headers = {"User-Agent": PROBE, "Authorization": f"Bearer {ADA.token}"}
        with httpx2.Client(base_url=hub.endpoint, headers=headers, timeout=30) as client:
            while not over.wait(0.02):
                start = time.monotonic()
                assert client.get("/api/whoami-v2").json()["name"] == "ada"
                waits.append(time.monotonic() - start)

    thread = threading.Thread(target=probe)
    thread.start()
    try:
        yield waits
    finally:
        over.set()
        thread.join()


@pytest.fixture
def attacked(browser: Browser, hub: Hub, tmp_path: Path, arrived: Counter[tuple[str, str]]) -> Iterator[Attack]:
    """`attacked(address, base)`: let the page there attack the Hub at `base`, and check what came of it."""
    context = browser.new_context()
    root = tmp_path / "hub"

    def attack(address: str, base: str) -> None:
        every = targets(hub, root)
        page = context.new_page()
        page.set_default_timeout(200_000)
        page.route(f"{base}{REBOUND}", lambda route: route.fulfill(content_type="text/html", body=EMPTY))
        page.goto(address)
        before = state(hub, root)
        arrived.clear()
        listed = [
            {"method": one.method, "url": base + one.path, "body": one.body, "tokens": tokens(hub, one)}
            for one in every
        ]
        with probing(hub) as waits:
            leaks = page.evaluate(ATTACK, {"targets": listed, "socket": base.replace("http", "ws", 1)})
        after = state(hub, root)
        assert [leak for leak in leaks if not is_refusal(leak)] == []
        for key in before:
            assert after[key] == before[key], key
        # the attacks did come, by every way that a page has without asking first
        paths = {one.path.partition("?")[0] for one in every}
        assert {(method, path) for path in paths for method in ("GET", "HEAD", "POST")} <= set(arrived)
        # a freeze would be seen by every request that follows it; the browser may take the processor from a single one
        slow = quantiles(waits, n=100)[-1]
        print(
            f"{arrived.total()} requests, {len(every)} targets; {len(waits)} answers in between, 99 % in {slow:.3f} s"
        )
        assert slow < LONGEST_WAIT_SECONDS

    yield attack
    context.close()


def is_refusal(leak: list[str]) -> bool:
    """Whether what a page could read is that it was refused."""
    return "This Hub does not answer for the host 'evil.example:" in leak[-1]


def tokens(hub: Hub, target: Target) -> list[str]:
    return [hub.instruments_secret] if target.path.startswith("/_hub/") else [ADA.token, BOB.token]


def port(hub: Hub) -> str:
    return hub.endpoint.rpartition(":")[2]


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
def test_a_page_of_another_port_of_the_same_name(attacked: Attack, hub: Hub, name: str):
    with origin(name) as address:
        attacked(address, f"http://{name}:{port(hub)}")


def test_a_page_of_another_name(attacked: Attack, hub: Hub):
    with origin("evil.example") as address:
        attacked(address, hub.endpoint)


def test_a_page_whose_origin_is_null(attacked: Attack, hub: Hub):
    with origin("127.0.0.1", sandboxed=True) as address:
        attacked(address, hub.endpoint)


def test_a_page_that_rebinds_its_name_to_the_hub(attacked: Attack, hub: Hub):
    """The page came from `evil.example` at the Hub's port while that name meant another server; now it means the Hub."""
    base = f"http://evil.example:{port(hub)}"
    attacked(f"{base}{REBOUND}", base)
