"""Reading a path or standard input ends, whatever they are."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from jobshelf.errors import EnvironmentFault, InputError
from jobshelf.scripts.files import MOST_BYTES, is_path, is_url, read_file, read_stdin, refuse_oversized


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_bytes(b"\r\n" * MOST_BYTES)
    assert read_file(path) == b"\r\n" * (MOST_BYTES // 2) + b"\r"
    path.write_bytes(b"")
    assert read_file(path) == b""


def test_a_file_of_proc_has_no_size_and_is_read() -> None:
    assert b"Name:" in read_file(Path("/proc/self/status"))


def test_what_is_no_regular_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.py")
    Path("loop.py").symlink_to("loop.py")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.py")
        for path, reason in {
            ".": "is a folder",
            "pipe.py": "is a named pipe",
            "/dev/zero": "is a device",
            "socket.py": "cannot be read",
            "loop.py": "cannot be read: Too many levels of symbolic links",
            "missing.py": "cannot be read: No such file",
            "nul\0.py": "cannot be read: embedded null byte",
            "x" * 5000: "cannot be read: File name too long",
            "new\nline.py": r"new\\nline.py cannot be read",
        }.items():
            with pytest.raises(InputError, match=reason) as caught:
                read_file(Path(path))
            assert str(caught.value).isprintable()


def test_a_file_that_grows_is_read_to_the_limit(tmp_path: Path) -> None:
    path, done = tmp_path / "log.py", threading.Event()

    def grow() -> None:
        with path.open("ab", buffering=0) as file:
            while not done.is_set():
                file.write(b"#" * 65536)
                file.truncate(1 << 23)

    path.touch()
    writer = threading.Thread(target=grow)
    writer.start()
    while path.stat().st_size < MOST_BYTES:
        time.sleep(0.01)
    try:
        assert len(read_file(path)) == MOST_BYTES + 1
    finally:
        done.set()
        writer.join()


def test_more_than_the_limit_is_no_script() -> None:
    refuse_oversized(b"#" * MOST_BYTES, "x.py")
    with pytest.raises(InputError, match=r"x\.py has more than 1024 KiB"):
        refuse_oversized(b"#" * (MOST_BYTES + 1), "x.py")


def stdin(monkeypatch: pytest.MonkeyPatch, handle: int) -> None:
    monkeypatch.setattr(sys, "stdin", os.fdopen(handle))


def test_standard_input_is_read_to_its_end_or_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = os.pipe()
    os.write(sink, b"print(1)\n")
    os.close(sink)
    stdin(monkeypatch, source)
    assert read_stdin() == b"print(1)\n"
    stdin(monkeypatch, os.open("/dev/zero", os.O_RDONLY))
    assert len(read_stdin()) == MOST_BYTES + 1


def test_a_pipe_that_does_not_end_is_left_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = os.pipe()
    stdin(monkeypatch, source)
    with pytest.raises(EnvironmentFault, match=r"standard input took longer than 0\.2 s"):
        read_stdin(seconds=0.2)
    os.close(sink)


def test_a_person_at_a_terminal_may_take_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal = os.openpty()
    stdin(monkeypatch, terminal)
    typing = threading.Timer(0.4, os.write, (controller, b"print(1)\n\x04"))
    typing.start()
    assert read_stdin(seconds=0.1) == b"print(1)\n"
    typing.join()
    os.close(controller)


def test_a_closed_standard_input_is_a_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(InputError, match="standard input is closed"):
        read_stdin()


def test_addresses_paths_and_names_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("here.py").touch()
    Path("hello").touch()
    assert [is_url(text) for text in ("https://a/b", "HTTP://a", "s3://a", "./a://b", "a:b", "-")] == [True] * 3 + [
        False
    ] * 3
    assert [is_path(text) for text in ("here.py", "./hello", "hello", "gone.py")] == [True, True, False, False]


def test_reading_a_file_imports_no_network() -> None:
    code = "import sys, jobshelf.vet; print(*({'http.client', 'urllib.request', 'httpx2', 'ssl'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
