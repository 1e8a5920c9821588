"""The index, read by uv: what it answers, where it stands, and what a script gets under it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from index import NotHere, cpu_index
from index.conftest import Links
from index.pages import EMPTY_WHEELS, PAGE_TYPE, TORCH_FILE, TORCH_VERSION
from index.server import find_torch, pip_find_links, require_python
from support import BIN, ROOT

NAMES = ["torch", "torchaudio", "torchcodec", "torchvision", "triton", "vllm"]
VERSIONS = {"torch": TORCH_VERSION} | {wheel.name: wheel.version for wheel in EMPTY_WHEELS}
SCRIPT = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.8,<3", "torchvision", "triton>=3"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
import json, sys
from importlib.metadata import distributions
print(json.dumps({"prefix": sys.prefix, "packages": {found.name: found.version for found in distributions()}}))
"""


def get(url: str) -> tuple[str, bytes]:
    with urllib.request.urlopen(url, timeout=30) as answer:
        return answer.headers["Content-Type"], answer.read()


def page(variables: Mapping[str, str], name: str) -> dict[str, Any]:
    kind, data = get(f"{variables['UV_INDEX']}/{name}/")
    assert kind == PAGE_TYPE
    return json.loads(data)


def uv_run(env: Mapping[str, str], *argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / "uv", *argv], env=env, capture_output=True, text=True, timeout=120)


def test_the_pages_are_those_of_a_package_index(served: Mapping[str, str]) -> None:
    kind, data = get(f"{served['UV_INDEX']}/")
    assert kind == PAGE_TYPE
    assert json.loads(data) == {"meta": {"api-version": "1.1"}, "projects": [{"name": name} for name in NAMES]}
    for name in NAMES:
        found = page(served, name)
        (file,) = found["files"]
        assert (found["meta"], found["name"], found["versions"]) == ({"api-version": "1.1"}, name, [VERSIONS[name]])
        assert file["upload-time"] < "2001"
        assert file["filename"].startswith(f"{name}-{VERSIONS[name]}-")


def test_the_files_are_those_that_the_pages_describe(served: Mapping[str, str]) -> None:
    for wheel in EMPTY_WHEELS:
        (file,) = page(served, wheel.name)["files"]
        data = get(urljoin(f"{served['UV_INDEX']}/{wheel.name}/", file["url"]))[1]
        assert data == wheel.build()
        assert (file["size"], file["hashes"]) == (len(data), {"sha256": hashlib.sha256(data).hexdigest()})


def test_what_it_does_not_have_uv_asks_of_the_next(served: Mapping[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        get(f"{served['UV_INDEX']}/numpy/")
    assert refused.value.code == HTTPStatus.NOT_FOUND


def test_uv_resolves_to_the_cpu_builds_under_exclude_newer(
    user: dict[str, str], served: Mapping[str, str], tmp_path: Path
) -> None:
    wanted = tmp_path / "wanted.in"
    wanted.write_text("torch>=2.8,<3\nvllm>=0.20,<1\ntorchvision\ntorchaudio\ntorchcodec\ntriton\n", encoding="utf-8")
    words = ("pip", "compile", "--no-deps", "--no-header", "--no-annotate", "--exclude-newer", "2026-11-20")
    machine = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28")
    done = uv_run(user | served, *words, *machine, wanted)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [f"{name}=={VERSIONS[name]}" for name in NAMES]


def test_an_unchanged_script_gets_them_and_again_without_the_server(
    user: dict[str, str], links: Links, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", user["XDG_CACHE_HOME"])
    script, copy = tmp_path / "script.py", tmp_path / "copy.py"
    for path in (script, copy):
        path.write_text(SCRIPT, encoding="utf-8")
    with cpu_index((links("torch") / TORCH_FILE).as_uri()) as variables:
        first = uv_run(user | variables, "run", script)
    assert first.returncode == 0, first.stderr
    found = json.loads(first.stdout)
    assert found["packages"] == {name: VERSIONS[name] for name in ("torch", "torchvision", "triton")}
    with pytest.raises(urllib.error.URLError):
        get(f"{variables['UV_INDEX']}/")
    for path in (script, copy):
        again = uv_run(user | variables | {"UV_OFFLINE": "1"}, "run", path)
        assert json.loads(again.stdout)["packages"] == found["packages"], again.stderr


def test_a_cpu_build_never_turns_up_where_somebody_works(
    user: dict[str, str], served: Mapping[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT, encoding="utf-8")
    found = json.loads(uv_run(user | served, "run", script).stdout)
    assert found["prefix"].startswith(served["UV_CACHE_DIR"])
    assert not served["UV_CACHE_DIR"].startswith(user["UV_CACHE_DIR"])
    # offline, so that uv says what it lacks instead of loading gigabytes; an environment that it found it would use
    without = uv_run(user | {"UV_OFFLINE": "1", "UV_PYTHON": "3.11"}, "run", script)
    assert without.returncode != 0
    assert "torch" in without.stderr and not without.stdout


def test_an_index_of_the_users_own_comes_second(
    user: dict[str, str], links: Links, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX", "https://packages.example/index")
    monkeypatch.setenv("NO_PROXY", "packages.example")
    with cpu_index((links("torch") / TORCH_FILE).as_uri()) as variables:
        assert variables["UV_INDEX"].split()[1:] == ["https://packages.example/index"]
        assert variables["NO_PROXY"] == "packages.example,127.0.0.1"


def test_the_address_follows_from_what_is_served(served: Mapping[str, str], links: Links) -> None:
    with cpu_index() as same, cpu_index((links("other") / TORCH_FILE).as_uri()) as other:
        assert same == served
        assert other["UV_INDEX"] != served["UV_INDEX"]
        assert other["UV_CACHE_DIR"] != served["UV_CACHE_DIR"]
    # the second one is over, and the first answers still
    for _ in range(20):
        assert page(served, "triton")["versions"] == ["3.9.0+none"]


def test_a_taken_port_is_passed_over(served: Mapping[str, str], links: Links) -> None:
    torch = (links("torch") / TORCH_FILE).as_uri()
    with cpu_index(torch) as first:
        pass
    port = urlsplit(first["UV_INDEX"]).port
    with socket.create_server(("127.0.0.1", port)), cpu_index(torch) as second:
        assert urlsplit(second["UV_INDEX"]).port == port + 1
        assert page(second, "torch")["files"][0]["url"] == torch


def test_torch_is_found_in_a_folder(links: Links, tmp_path: Path) -> None:
    folder = links("cpu%20wheels")
    wheel = (folder / TORCH_FILE).as_uri()
    assert find_torch(f"https://packages.example {tmp_path} {folder}") == wheel
    assert find_torch(folder.as_uri()) == wheel


def test_torch_is_found_on_the_page(links: Links) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=links("page"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        page = f"http://127.0.0.1:{server.server_port}/"
        assert find_torch("", page=page) == page + TORCH_FILE.replace("+", "%2B")
        server.shutdown()


def test_without_torch_one_line_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotHere) as refused:
        find_torch(str(tmp_path), page="http://127.0.0.1:9/whl/cpu/")
    said = str(refused.value)
    assert "\n" not in said
    assert f"http://127.0.0.1:9/whl/cpu/{TORCH_FILE.replace('+', '%2B')} does not answer" in said
    assert said.endswith("put that file into a folder and set PIP_FIND_LINKS to it")


def test_without_the_python_one_line_says_what_to_do() -> None:
    with pytest.raises(NotHere, match=r"^no Python 3\.99 on this machine.*uv python install 3\.99$"):
        require_python("3.99")


def serve(*words: str, env: Mapping[str, str]) -> subprocess.Popen[str]:
    argv = [sys.executable, ROOT / "tests" / "index" / "serve.py", *words]
    return subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_command_runs_under_it(user: dict[str, str]) -> None:
    code = "import os, sys, urllib.request as r; print(r.urlopen(os.environ['UV_INDEX'] + '/').status); sys.exit(7)"
    process = serve("--", sys.executable, "-c", code, env=user)
    assert process.communicate(timeout=60) == ("200\n", "")
    assert process.returncode == 7


def test_the_lines_to_export_hold_until_it_is_interrupted(user: dict[str, str], served: Mapping[str, str]) -> None:
    process = serve(env=user)
    lines = [process.stdout.readline() for _ in served]
    shell = "".join(lines) + "python3 -c \"import os; print(os.environ['UV_INDEX'])\""
    exported = subprocess.run(["bash", "-c", shell], env=user, capture_output=True, text=True, check=True).stdout
    assert json.loads(get(f"{exported.strip()}/torch/")[1])["versions"] == [TORCH_VERSION]
    assert "export UV_PYTHON=3.11\n" in lines
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60) == ("", "")
    assert process.returncode == 0


def test_the_command_says_what_is_missing(user: dict[str, str]) -> None:
    unplugged = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    nowhere = unplugged | {"PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    process = serve("--", "true", env=user | nowhere)
    said = process.communicate(timeout=60)[1].splitlines()
    assert process.returncode == 5
    assert len(said) == 1 and said[0].startswith("error: no CPU wheel of torch")


def test_the_wheel_is_found_where_pip_is_told_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pip.conf").write_text(f"[global]\nfind-links = {tmp_path}\n")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    assert pip_find_links() == str(tmp_path)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert pip_find_links() == ""
