"""The rules that ask uv and a package index, with the real uv: UVS204, UVS207, UVS208."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobshelf.script import Script, parse_script
from jobshelf.testing import vet_text
from jobshelf.vet.resolve import Resolution, uv_binary
from jobshelf.vet.rule import Example, Hit, Inconclusive
from jobshelf.vet.rules import all_rules
from jobshelf.vet.subject import Subject

RULES = Path(__file__).parent / "rules"
OTHER = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["iniconfig<2"]\n# ///\n'
NO_ADVISORIES = "http://127.0.0.1:1/"


def cases(code: str, kind: str) -> list[Example]:
    title = {"bad": "Example", "good": "Use instead"}[kind]
    files = sorted((RULES / code / kind).glob("*.py"))
    assert len(files) >= 2
    return [Example(name=path.name, source=path.read_text()) for path in files] + list(
        all_rules()[code].examples(title)
    )


def lock(path: Path, text: str) -> None:
    """Write the lock file of a script with this text."""
    wanted = path.read_bytes()
    path.write_text(text)
    subprocess.run([uv_binary(), "lock", "--quiet", "--script", str(path)], check=True)
    path.write_bytes(wanted)


def ask_uv(service: str, script: Script) -> Resolution:
    return Resolution(script=script, advisories_url=service)


@pytest.fixture(autouse=True)
def no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be reached here will not be there after a pause either."""
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")


def ask(code: str, path: Path, service: str = NO_ADVISORIES) -> list[Hit | Inconclusive]:
    script = parse_script(path.read_bytes(), str(path))
    return list(all_rules()[code].check(Subject(script=script, resolve_with=partial(ask_uv, service))))


@pytest.mark.parametrize("case", cases("UVS204", "bad"), ids=lambda case: case.name)
def test_a_stale_lock_is_reported(case: Example, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(case.source)
    lock(path, OTHER)
    (hit,) = ask("UVS204", path)
    assert hit.line == 1
    assert hit.advice == f"uv lock --script {path}"


@pytest.mark.parametrize("case", cases("UVS204", "good"), ids=lambda case: case.name)
@pytest.mark.parametrize("locked", [True, False], ids=["locked", "without a lock"])
def test_a_lock_that_matches_is_not_reported(case: Example, locked: bool, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(case.source)
    if locked:
        lock(path, case.source)
    assert ask("UVS204", path) == []


@pytest.mark.parametrize("case", cases("UVS207", "bad"), ids=lambda case: case.name)
def test_what_does_not_resolve_is_reported(case: Example) -> None:
    report = vet_text(case.source, select=["UVS207"], online=True)
    assert {finding.code for finding in report.findings} == {"UVS207"}
    assert all("No solution" in finding.found for finding in report.findings)


@pytest.mark.parametrize("case", cases("UVS207", "good"), ids=lambda case: case.name)
def test_what_resolves_is_not_reported(case: Example) -> None:
    report = vet_text(case.source, select=["UVS207"], online=True)
    assert (report.findings, report.inconclusive) == ((), ())


def test_an_index_that_cannot_be_reached_is_inconclusive() -> None:
    header = OTHER.replace('<2"]\n', '<2"]\n# [tool.uv]\n# index-url = "http://127.0.0.1:1/index"\n')
    report = vet_text(header, select=["UVS207"], online=True)
    assert report.findings == ()
    assert {one.code for one in report.inconclusive} == {"UVS207"}


def test_without_online_nothing_is_asked() -> None:
    report = vet_text(cases("UVS207", "bad")[0].source, select=["UVS204", "UVS207", "UVS208"])
    assert (report.findings, report.inconclusive) == ((), ())


ADVISORIES = {"iniconfig": "2.0.0", "jinja2": "3.1.2"}


class Advisories(BaseHTTPRequestHandler):
    """Speaks as much of the OSV API as uv asks for: one advisory for each entry of ADVISORIES."""

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
        self.answer({"results": [self.result(one["package"]["name"], one["version"]) for one in asked]})

    def do_GET(self) -> None:
        times = {"modified": "2026-01-01T00:00:00Z", "published": "2026-01-01T00:00:00Z"}
        self.answer({"id": self.path.rpartition("/")[2], "summary": "reads too much", "affected": [], **times})

    def result(self, name: str, version: str) -> dict[str, object]:
        if ADVISORIES.get(name) != version:
            return {}
        return {"vulns": [{"id": f"TEST-{name}", "modified": "2026-01-01T00:00:00Z"}]}

    def answer(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Advisories)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("case", cases("UVS208", "bad"), ids=lambda case: case.name)
def test_a_known_advisory_is_reported(case: Example, service: str, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(case.source)
    (hit,) = ask("UVS208", path, service)
    assert "reads too much" in hit.message
    assert "TEST-" in hit.found


@pytest.mark.parametrize("case", cases("UVS208", "good"), ids=lambda case: case.name)
def test_versions_without_an_advisory_are_not_reported(case: Example, service: str, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(case.source)
    assert ask("UVS208", path, service) == []


def test_a_service_that_does_not_answer_is_inconclusive(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(cases("UVS208", "bad")[0].source)
    (answer,) = ask("UVS208", path)
    assert isinstance(answer, Inconclusive)
    assert answer.reason.startswith("uv audit: ")
