"""The rules that ask uv and a package index, with the real uv: UVS204, UVS207, UVS208."""

from __future__ import annotations

import json
import subprocess
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobshelf import cli
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


BACKEND = """\
from pathlib import Path

Path({canary!r}).write_text("built")
"""
METADATA = """
def get_requires_for_build_wheel(settings=None):
    return []


def prepare_metadata_for_build_wheel(folder, settings=None):
    about = Path(folder, "strange-1.0.dist-info")
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\\nName: strange\\nVersion: 1.0\\n")
    (about / "WHEEL").write_text("Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
    return about.name
"""


@pytest.fixture
def only_a_source(tmp_path: Path) -> str:
    """A script whose one dependency has no wheel, and leaves `canary` in `tmp_path` when it is built."""
    tree = tmp_path / "strange-1.0"
    tree.mkdir()
    (tree / "backend.py").write_text(BACKEND.format(canary=str(tmp_path / "canary")) + METADATA)
    (tree / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "strange"\nversion = "1.0"\ndynamic = ["dependencies"]\n'
    )
    with tarfile.open(tmp_path / "strange-1.0.tar.gz", "w:gz") as archive:
        archive.add(tree, tree.name)
    header = f'# [tool.uv]\n# no-index = true\n# find-links = ["{tmp_path}"]\n'
    return f'# /// script\n# requires-python = ">=3.11"\n# dependencies = ["strange"]\n{header}# ///\n'


@pytest.mark.parametrize("code", ["UVS207", "UVS208"])
def test_a_package_without_a_wheel_is_not_built(code: str, only_a_source: str, tmp_path: Path) -> None:
    report = vet_text(only_a_source, select=[code], online=True)
    assert report.findings == ()
    assert "a package has no wheel" in report.inconclusive[0].reason
    assert "--allow-build" in report.inconclusive[0].reason
    assert not (tmp_path / "canary").exists()


def test_a_lock_is_checked_without_building(only_a_source: str, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(only_a_source)
    Path(f"{path}.lock").write_text('version = 1\nrevision = 3\nrequires-python = ">=3.11"\n')
    (answer,) = ask("UVS204", path)
    assert isinstance(answer, Inconclusive)
    assert not (tmp_path / "canary").exists()


def test_a_package_is_built_where_that_is_allowed(
    only_a_source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "script.py"
    path.write_text(only_a_source)
    assert cli.main(["vet", "--select", "UVS207", "--online", "--allow-build", str(path)]) == 0
    assert (tmp_path / "canary").read_text() == "built"
    assert cli.main(["vet", "--allow-build", str(path)]) == 2
    assert "add --online" in capsys.readouterr().err


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


WHEEL = {
    "onlyhere.py": "",
    "onlyhere-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: onlyhere\nVersion: 1.0\n",
    "onlyhere-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "onlyhere-1.0.dist-info/RECORD": "",
}


@pytest.fixture
def own_index(tmp_path: Path) -> Iterator[str]:
    """A package index with one package that is on no other."""
    folder = tmp_path / "packages" / "onlyhere"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "onlyhere-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in WHEEL.items():
            wheel.writestr(name, text)
    (folder / "index.html").write_text('<a href="onlyhere-1.0-py3-none-any.whl">onlyhere-1.0-py3-none-any.whl</a>')
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/packages"
        server.shutdown()


@pytest.mark.parametrize("explicit", [False, True])
def test_the_indexes_of_the_header_are_asked(own_index: str, explicit: bool) -> None:
    source = '# [tool.uv.sources]\n# onlyhere = { index = "own" }\n' if explicit else ""
    table = f'# [[tool.uv.index]]\n# name = "own"\n# url = "{own_index}"\n# explicit = {str(explicit).lower()}\n'
    header = OTHER.replace("iniconfig<2", "onlyhere")
    named = header.replace("]\n# ///", f"]\n{source}{table}# ///")
    assert vet_text(named, select=["UVS207"], online=True).findings == ()
    missing = named.replace('["onlyhere"]', '["onlyhere", "is-nowhere-at-all"]')
    assert {one.code for one in vet_text(missing, select=["UVS207"], online=True).findings} == {"UVS207"}


def test_what_uv_says_names_the_script_and_not_the_copy_that_it_read() -> None:
    header = OTHER.replace('"iniconfig<2"', '"./beside"')
    resolution = Resolution(script=parse_script(header.encode(), "mine.py"), advisories_url=NO_ADVISORIES)
    reasons = [attempt.reason for attempt in (*resolution.versions.values(), resolution.audit[0])]
    assert all(reasons)
    assert not any("jobshelf-resolve" in reason for reason in reasons), reasons
