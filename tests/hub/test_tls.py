"""TLS mode: clients that know the Hub by its real name only, unchanged."""

from __future__ import annotations

import io
import json
import socket
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl
import pytest
from huggingface_hub import HfApi

from hub.contract import ACCOUNTS, ADA
from jobshelf.hub import Hub, serve
from support import BIN

DATA = {"repo_id": "ada/data", "repo_type": "dataset"}
SCRIPT = b"import sys\nprint('sentinel', sys.argv[1:])\n"


@pytest.fixture(scope="module")
def tls_hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A Hub in TLS mode with the private dataset `ada/data`: three Parquet files and a script."""
    with serve(tmp_path_factory.mktemp("tls") / "hub", accounts=ACCOUNTS, tls=True) as hub:
        api = HfApi(endpoint=hub.endpoint, token=ADA.token)
        api.create_repo(**DATA, private=True)
        for number in range(3):
            buffer = io.BytesIO()
            pl.DataFrame({"n": range(10)}).write_parquet(buffer)
            api.upload_file(path_or_fileobj=buffer.getvalue(), path_in_repo=f"data/{number}.parquet", **DATA)
        api.upload_file(path_or_fileobj=SCRIPT, path_in_repo="x.py", **DATA)
        yield hub


@pytest.fixture
def public(tls_hub: Hub, environment: dict[str, str]) -> dict[str, str]:
    """The environment of a user of the real Hub, who is not told of another one."""
    assert tls_hub.tls is not None
    assert "HF_ENDPOINT" not in environment
    return environment | dict(tls_hub.tls.environment()) | {"HF_TOKEN": ADA.token}


def run(env: dict[str, str], *argv: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=env, cwd=env["HOME"], capture_output=True, text=True, timeout=120)


def python(env: dict[str, str], code: str) -> str:
    done = run(env, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_polars_reads_hf_paths_with_a_glob(public: dict[str, str], tls_hub: Hub):
    tls_hub.clear_journal()
    code = "import polars as pl; print(pl.scan_parquet('hf://datasets/ada/data/data/*.parquet').select(pl.col('n').sum(), m=pl.len()).collect().row(0))"
    assert python(public, code) == "(135, 30)\n"
    files = [entry for entry in tls_hub.journal() if entry.path.startswith("/_lfs/")]
    assert {entry.host for entry in files} == {"cdn-lfs.huggingface.co"}
    assert {entry.user for entry in files} == {None}


def test_polars_without_the_token_is_refused(public: dict[str, str]):
    code = "import polars as pl; print(pl.scan_parquet('hf://datasets/ada/data/data/0.parquet').collect())"
    anonymous = {name: value for name, value in public.items() if name != "HF_TOKEN"}
    done = run(anonymous, sys.executable, "-c", code)
    assert done.returncode != 0
    assert "Invalid username or password" in done.stderr


@pytest.mark.parametrize("revision", ["main", "refs%2Fheads%2Fmain"])
def test_uv_runs_a_private_url(public: dict[str, str], revision: str):
    url = f"https://huggingface.co/datasets/ada/data/resolve/{revision}/x.py"
    done = run(public, BIN / "uv", "run", "--no-project", "--python", sys.executable, url, "a")
    assert (done.returncode, done.stdout) == (0, "sentinel ['a']\n"), done.stderr
    done = run(public | {"HF_TOKEN": ""}, BIN / "uv", "run", "--no-project", "--python", sys.executable, url)
    assert "sentinel" not in done.stdout


def test_hf_uploads_and_downloads_by_xet(public: dict[str, str], tmp_path: Path):
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 5000)
    done = run(public, BIN / "hf", "upload", "ada/data", tmp_path / "large.bin", "large.bin", "--repo-type", "dataset")
    assert done.returncode == 0, done.stderr
    assert "https://huggingface.co/datasets/ada/data" in done.stdout
    target = tmp_path / "out"
    done = run(public, BIN / "hf", "download", "ada/data", "large.bin", "--repo-type=dataset", "--local-dir", target)
    assert done.returncode == 0, done.stderr
    assert (target / "large.bin").read_bytes() == (tmp_path / "large.bin").read_bytes()


def test_datasets_streams(public: dict[str, str]):
    # leaves as the inspector does: a reading thread that the interpreter takes down at its exit aborts the process now and then
    # ("terminate called without an active exception"), after the last row and whatever the Hub
    code = """if True:
        import os
        from datasets import load_dataset
        print(sum(row["n"] for row in load_dataset("ada/data", split="train", streaming=True)), flush=True)
        os._exit(0)
    """
    assert python(public, code) == "135\n"


def test_the_client_finds_the_dataset_viewer(public: dict[str, str]):
    code = "from huggingface_hub import HfApi; print(sorted((f.split, f.url) for f in HfApi().list_dataset_parquet_files('ada/data'))[0])"
    assert python(public, code) == (
        "('train', 'https://huggingface.co/datasets/ada/data/resolve/main/data/0.parquet')\n"
    )


def test_links_and_redirects_are_https(tls_hub: Hub, public: dict[str, str]):
    code = """if True:
        import httpx2
        headers = {"Authorization": "Bearer token-of-ada"}
        base = "https://huggingface.co/"
        print(httpx2.get(base + "datasets/ada/data/resolve/main/data/0.parquet", headers=headers).headers["location"])
        print(httpx2.get(base + "api/datasets/ada/data/tree/main?limit=1", headers=headers).headers["link"])
    """
    location, link = python(public, code).splitlines()
    assert location.startswith("https://cdn-lfs.huggingface.co/_lfs/read/")
    assert link.startswith("<https://huggingface.co/api/datasets/ada/data/tree/main?")


def speak(hub: Hub, request: bytes) -> bytes:
    assert hub.tls is not None
    address = urlsplit(hub.tls.proxy)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(request)
        return connection.recv(1000)


@pytest.mark.parametrize(
    "request_line",
    [
        b"CONNECT example.org:443",
        b"CONNECT huggingface.co:80",
        b"CONNECT s3.huggingface.co.evil.test:443",
        b"CONNECT 127.0.0.1:22",
        b"GET http://example.org/",
        b"GET /",
    ],
)
def test_every_other_host_is_refused(tls_hub: Hub, request_line: bytes):
    assert speak(tls_hub, request_line + b" HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 403 ")


def test_what_is_no_request_ends_the_connection(tls_hub: Hub):
    assert speak(tls_hub, b"\x16\x03\x01\x00\r\n\r\n")[:12] in {b"", b"HTTP/1.1 403"}
    assert speak(tls_hub, b"CONNECT huggingface.co:443 HTTP/1.1\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_its_certificate_is_for_the_hubs_names_only(tls_hub: Hub):
    assert tls_hub.tls is not None
    address = urlsplit(tls_hub.tls.proxy)
    context = ssl.create_default_context(cafile=str(tls_hub.tls.bundle))
    with socket.create_connection((address.hostname, address.port), timeout=10) as plain:
        plain.sendall(b"CONNECT huggingface.co:443 HTTP/1.1\r\n\r\n")
        plain.recv(1000)
        with context.wrap_socket(plain, server_hostname="huggingface.co") as secure:
            names = secure.getpeercert()["subjectAltName"]
    assert sorted(name for _, name in names) == [
        "cdn-lfs.huggingface.co",
        "datasets-server.huggingface.co",
        "huggingface.co",
    ]


def test_faults_pass_through(tls_hub: Hub, public: dict[str, str]):
    tls_hub.fail(path="/api/whoami-v2", kind="lost")
    code = """if True:
        import httpx2
        try:
            httpx2.get("https://huggingface.co/api/whoami-v2")
        except httpx2.TransportError as error:
            print(type(error).__name__)
    """
    assert python(public, code).strip() in {"ReadError", "RemoteProtocolError"}


def test_the_plain_hub_answers_as_before(tls_hub: Hub):
    with urllib.request.urlopen(f"{tls_hub.endpoint}/api/agent-harnesses") as answer:
        assert json.load(answer) == {"standardEnvVars": [], "harnesses": {}}
