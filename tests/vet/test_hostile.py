"""Scripts of an attacker, `tests/vet/hostile/*.py`: each is found out, changes nothing outside its run, and costs little.

`@OUTSIDE@` (a file), `@PID@` (a process), `@PORT@` and `@SOCKET@` (listeners) in a script stand for what is watched here.
"""

from __future__ import annotations

import os
import site
import socket
import subprocess
import sys
import sysconfig
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SCRIPTS = sorted((Path(__file__).parent / "hostile").glob("*.py"))
MAX_SECONDS = 30
MAX_BYTES = 500_000_000
RULES = "UVS901,UVS902,UVS906"
COMMAND = (
    "import sys; from jobshelf import cli, interface; interface.NEWEST_LANDLOCK = int(sys.argv.pop(1)); "
    "interface.LIMITS.update(eval(sys.argv.pop(1))); sys.exit(cli.main(sys.argv[1:]))"
)
# With each version of Landlock more is its own to refuse (3: truncation, 5: devices, 6: signals and sockets); 0 is none of it.
NEWEST = 1 << 16
VERSIONS = (3, 5, 6, NEWEST, 0)
SHORT = {"processor": 1, "wall": 2.5}


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a script could harm: a file outside, a process, two listeners; and the folders in which nothing may appear."""

    folder: Path
    victim: subprocess.Popen[bytes]
    port: socket.socket
    service: socket.socket

    def path(self, name: str) -> Path:
        return self.folder / name

    def fill_in(self, text: str) -> str:
        given = {
            "OUTSIDE": self.path("home") / "canary",
            "PID": self.victim.pid,
            "PORT": self.port.getsockname()[1],
            "SOCKET": r"\0" + self.service.getsockname()[1:].decode(),
        }
        for name, value in given.items():
            text = text.replace(f"@{name}@", str(value))
        return text

    def state(self) -> dict[str, tuple[object, ...]]:
        """Everything that must be as before: names, modes, times and bytes, here; names and times, where Python is installed."""
        own = {str(path): _seen(path) for path in self.folder.rglob("*")}
        library = Path(sysconfig.get_path("stdlib"))
        installed = [*map(Path, site.getsitepackages()), library, library / "__pycache__"]
        return own | {str(path): (path.stat().st_mtime_ns, sorted(path.iterdir())) for path in installed}


def _seen(path: Path) -> tuple[object, ...]:
    about = path.lstat()
    data = path.read_bytes() if path.is_file() and not path.is_symlink() else None
    return about.st_mode, about.st_mtime_ns if data is not None else 0, data


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    for name in ("home", "tmp", "work"):
        (tmp_path / name).mkdir()
    (tmp_path / "home" / "canary").write_text("still here")
    service = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    service.bind(f"\0jobshelf-canary-{os.getpid()}-{tmp_path.name}")
    port = socket.create_server(("127.0.0.1", 0))
    victim = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        yield Scene(folder=tmp_path, victim=victim, port=port, service=service)
        assert victim.poll() is None, "the victim was signalled"
        for listener in (service, port):
            listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            service.recv(1)
        with pytest.raises(BlockingIOError):
            port.accept()
    finally:
        victim.kill()
        victim.wait()
        service.close()
        port.close()


class Memory:
    """The most memory that a process and all that it started held at once."""

    def __init__(self, root: int) -> None:
        self.most = 0
        self.seen: set[int] = set()
        self._root = root
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            tree = list(_tree(self._root))
            self.seen.update(tree)
            self.most = max(self.most, sum(map(_resident, tree)))


def _tree(root: int) -> Iterator[int]:
    yield root
    try:
        for children in Path(f"/proc/{root}/task").glob("*/children"):
            for child in children.read_text().split():
                yield from _tree(int(child))
    except (FileNotFoundError, ProcessLookupError):
        return


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def vet(path: Path, scene: Scene, landlock: int, limits: dict[str, float]) -> None:
    script = scene.path("work") / path.name
    script.write_text(scene.fill_in(path.read_text()))
    before = scene.state()
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(landlock), repr(limits), "vet", "--select", RULES, script.name],
        cwd=scene.path("work"),
        env={"HOME": str(scene.path("home")), "TMPDIR": str(scene.path("tmp")), "PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with Memory(process.pid) as memory:
        try:
            stdout, stderr = process.communicate(timeout=MAX_SECONDS)
        finally:
            process.kill()
    taken = time.monotonic() - start
    print(f"{path.stem} landlock={landlock} exit={process.returncode} {taken:.1f} s {memory.most / 1e6:.0f} MB")
    print(stdout, stderr)
    assert process.returncode in (1, 5), stdout + stderr
    assert "Traceback" not in stderr
    assert ("UVS90" in stdout) == (process.returncode == 1)
    assert memory.most < MAX_BYTES
    _gone(memory.seen)
    assert scene.state() == before


def _gone(processes: set[int]) -> None:
    """The tool waits for what it started; a process that it left behind would still name its server."""
    for number in processes:
        try:
            assert b"jobshelf" not in Path(f"/proc/{number}/cmdline").read_bytes(), f"process {number} is left"
        except (FileNotFoundError, ProcessLookupError):
            continue


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_hostile_script_is_found_out_and_harms_nothing(path: Path, scene: Scene) -> None:
    vet(path, scene, NEWEST, SHORT)


@pytest.mark.heavy
@pytest.mark.data
@pytest.mark.parametrize("landlock", VERSIONS)
@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_with_all_that_a_run_may_use_and_on_older_kernels(path: Path, landlock: int, scene: Scene) -> None:
    vet(path, scene, landlock, {} if landlock == NEWEST else SHORT)


def test_there_are_scripts_of_every_kind() -> None:
    assert len(SCRIPTS) >= 30
