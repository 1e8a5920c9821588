"""Every command that takes a script, given what never ends, is no script, or lures a token away: one line, in time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobshelf.hub import Hub
from scripts.servers import Server, serving
from support import BIN, TOKEN, until

COMMANDS = {
    "vet": ["vet", "{}", "--no-stub"],
    "rehearse": ["rehearse", "{}"],
    "run": ["run", "{}"],
    "submit": ["submit", "{}"],
    "command": ["command", "{}"],
    "schedule": ["schedule", "add", "{}", "@daily"],
    "webhook": ["webhook", "add", "{}", "--on", "alice/data"],
}
FROM_STDIN = ("run", "submit", "command", "schedule", "webhook")
MOST_SECONDS = 30
MOST_MIB = 300
# Starts a command and prints the most memory that it had, in KiB, as the last line of standard output.
MEASURED = (
    "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:]).returncode; "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, flush=True); sys.exit(code)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a command ended, and the most memory it had in MiB."""

    code: int
    stdout: str
    stderr: str
    mib: int


@pytest.fixture
def logged_in(hub: Hub, client, environment, tmp_path: Path) -> dict[str, str]:
    """The environment of somebody with a token, whose dataset `alice/data` can be watched."""
    client.create_repo("alice/data", repo_type="dataset")
    return environment | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}


@pytest.fixture
def other() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture
def server(other: Server) -> Iterator[Server]:
    with serving(other=other.url) as server:
        yield server


def outcomes(
    verbs: list[str], source: str, env: dict[str, str], folder: Path, *, stdin: int | None = None
) -> dict[str, Outcome]:
    """Run the commands side by side."""
    with ExitStack() as stack:
        running = {}
        for verb in verbs:
            words = [
                sys.executable,
                "-c",
                MEASURED,
                str(BIN / "jobshelf"),
                *(word.format(source) for word in COMMANDS[verb]),
            ]
            running[verb] = stack.enter_context(
                subprocess.Popen(
                    words,
                    env=env,
                    cwd=folder,
                    text=True,
                    stdin=subprocess.DEVNULL if stdin is None else stdin,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
            )
        found = {}
        for verb, process in running.items():
            stdout, stderr = process.communicate(timeout=120)
            *lines, kib = stdout.splitlines()
            found[verb] = Outcome(
                code=process.returncode,
                stdout="\n".join(lines),
                stderr=stderr,
                mib=int(kib) >> 10,
            )
        return found


def check(found: dict[str, Outcome], code: int, message: str) -> None:
    for verb, outcome in found.items():
        assert outcome.code == code, (verb, outcome)
        assert outcome.mib < MOST_MIB, (verb, outcome)
        assert outcome.stderr.count("\n") == 1, (verb, outcome)
        assert message in outcome.stderr, (verb, outcome)
        assert "Fix: " in outcome.stderr, (verb, outcome)
        assert TOKEN not in outcome.stdout + outcome.stderr, (verb, outcome)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/dev/zero", "is a device"),
        ("./pipe.py", "is a named pipe"),
        ("./folder", "is a folder"),
        ("./loop.py", "Too many levels of symbolic links"),
        ("./new\nline.py", r"new\nline.py"),
    ],
)
def test_paths(source: str, message: str, logged_in: dict[str, str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.py")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop.py").symlink_to("loop.py")
    rest = [verb for verb in COMMANDS if verb != "vet"]
    check(outcomes(rest, source, logged_in, tmp_path), 4, message)
    if source == "./folder":  # which vet takes
        return
    code = 4 if source in {"/dev/zero", "./pipe.py"} else 2
    check(outcomes(["vet"], source, logged_in, tmp_path), code, message)


@pytest.mark.parametrize(
    ("path", "code", "message"),
    [
        ("round.py", 4, "redirects more than 5 times"),
        ("to-a-file.py", 4, "it is no http(s) address"),
        ("elsewhere.py", 4, "redirects to another host"),
        ("hidden.py", 4, "is not public"),
        ("zipped.py", 4, "is compressed"),
    ],
)
def test_urls(
    path: str, code: int, message: str, logged_in: dict[str, str], tmp_path: Path, server: Server, other: Server
) -> None:
    check(outcomes(list(COMMANDS), f"{server.url}/{path}", logged_in, tmp_path), code, message)
    assert len(server.seen) >= len(COMMANDS)
    assert other.seen == []
    assert TOKEN not in repr(server.seen)


def test_four_bytes_a_second(logged_in: dict[str, str], tmp_path: Path, server: Server, record_property) -> None:
    found = outcomes(list(COMMANDS), f"{server.url}/drip.py", logged_in, tmp_path)
    check(found, 5, "took longer than 20 s")
    until(lambda: len(server.left) == len(COMMANDS))
    assert max(server.left) < MOST_SECONDS
    assert TOKEN not in repr(server.seen)
    record_property(
        "figure",
        f"4 bytes a second: left after {max(server.left):.1f} s, {max(one.mib for one in found.values())} MiB at most",
    )


def test_a_url_without_end(logged_in: dict[str, str], tmp_path: Path, server: Server) -> None:
    found = outcomes(list(COMMANDS), f"{server.url}/huge.py", logged_in, tmp_path)
    vet = found.pop("vet")
    assert (vet.code, vet.stderr) == (1, "")
    assert "UVS504" in vet.stdout
    assert vet.mib < MOST_MIB
    check(found, 4, "1024 KiB")


def test_standard_input_without_end(logged_in: dict[str, str], tmp_path: Path) -> None:
    with open("/dev/zero", "rb") as zero:  # noqa: PTH123
        check(outcomes(list(FROM_STDIN), "-", logged_in, tmp_path, stdin=zero.fileno()), 4, "more than 1024 KiB")
    source, sink = os.pipe()
    try:
        check(outcomes(list(FROM_STDIN), "-", logged_in, tmp_path, stdin=source), 5, "took longer than 20 s")
    finally:
        os.close(source)
        os.close(sink)
