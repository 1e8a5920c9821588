"""Run Jobs: each is a process group on this machine, in folders of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import uv

from jobshelf.hub.blobs import Blobs
from jobshelf.hub.buckets import Buckets
from jobshelf.hub.flavors import FLAVORS
from jobshelf.hub.jobs import Job, Jobs, Stage
from jobshelf.hub.mounts import Mount, copy_back, copy_out, rewrite
from jobshelf.hub.private import private_folder
from jobshelf.hub.refusal import Refusal
from jobshelf.hub.xet import Xet

_GRACE_SECONDS = 10.0
_CLOSING_GRACE_SECONDS = 1.0
_DRAIN_SECONDS = 5.0
_HOST_VARIABLES = (
    *("LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"),
)
# what a uv process tells its children about itself, and what only a publisher needs
_UV_OWN = ("UV_PROJECT", "UV_PUBLISH", "UV_RUN_", "UV_ENV_FILE", "UV_WORKING_DIR")


@dataclass(slots=True, kw_only=True)
class _Run:
    """A Job that runs: its thread, its process, and why it is to stop, once somebody says so."""

    job: Job
    secrets: Mapping[str, str]
    mounts: Sequence[Mount]
    deadline: float
    grace: float = _GRACE_SECONDS
    thread: threading.Thread | None = None
    process: subprocess.Popen[bytes] | None = None
    stopping: tuple[Stage, str | None] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Runner:
    """Starts, watches and stops Jobs. Secrets live in the Job's thread and nowhere else."""

    def __init__(self, endpoint: str, folder: Path, *, jobs: Jobs, blobs: Blobs, buckets: Buckets, xet: Xet) -> None:
        self._endpoint = endpoint
        # a Hub that was killed could not tidy up
        shutil.rmtree(folder, ignore_errors=True)
        self._folder = private_folder(folder)
        self._jobs = jobs
        self._blobs = blobs
        self._buckets = buckets
        self._xet = xet
        self._lock = threading.Lock()
        self._runs: dict[str, _Run] = {}
        self._closed = False

    def start(self, job: Job, *, secrets: Mapping[str, str], mounts: Sequence[Mount]) -> None:
        """Record a Job and run it in the background. Raises Refusal (503) when the Hub is stopping."""
        deadline = time.monotonic() + job.spec.timeout_seconds
        run = _Run(job=job, secrets=secrets, mounts=mounts, deadline=deadline)
        run.thread = threading.Thread(target=self._guarded, args=(run,), name=f"job-{job.id}", daemon=True)
        with self._lock:
            if self._closed:
                raise Refusal(503, "The Hub is stopping")
            self._jobs.add(job)
            self._runs[job.id] = run
        run.thread.start()

    def cancel(self, job: Job) -> None:
        """Ask a Job's processes to end (SIGTERM), make them end after a grace time (SIGKILL). Returns at once."""
        run = self._runs.get(job.id)
        if run is not None:
            _stop(run, "CANCELED", None)

    def group(self, job: Job) -> int | None:
        """The process group in which a Job runs now; None when it does not."""
        run = self._runs.get(job.id)
        return None if run is None or run.process is None else run.process.pid

    def close(self) -> None:
        """Stop every Job and wait until none is left."""
        with self._lock:
            self._closed = True
            runs = list(self._runs.values())
        for run in runs:
            run.grace = _CLOSING_GRACE_SECONDS
            _stop(run, "ERROR", "The Hub stopped while this Job ran")
        for run in runs:
            if run.thread is not None:
                run.thread.join()

    def _guarded(self, run: _Run) -> None:
        """The Job's thread: whatever happens, the Job ends in a final stage."""
        outcome: tuple[Stage, str | None] = ("ERROR", "The embedded Hub failed")
        try:
            outcome = self._run(run)
        except (OSError, Refusal) as error:
            outcome = ("ERROR", f"The embedded Hub failed: {error}")
            self._log(run, f"The embedded Hub failed: {error}")
        finally:
            self._jobs.finish(run.job.id, *outcome)
            del self._runs[run.job.id]

    def _run(self, run: _Run) -> tuple[Stage, str | None]:
        spec = run.job.spec
        self._log(run, f"Image {spec.image or spec.space} was not used: the embedded Hub runs Jobs on this machine")
        with tempfile.TemporaryDirectory(dir=self._folder, ignore_cleanup_errors=True) as made:
            # the whole path, as the Job itself will see it
            folder = Path(made).resolve()
            folders = {mount.mount_path: folder / "volumes" / str(n) for n, mount in enumerate(run.mounts)}
            for mount in run.mounts:
                copy_out(mount, folders[mount.mount_path], self._blobs)
            for attempt in range(1, spec.attempts + 1):
                ended = self._attempt(run, folder / f"attempt-{attempt}", folders)
                if run.stopping or ended == 0:
                    break
                if spec.attempts > 1:
                    self._log(run, f"Attempt {attempt} of {spec.attempts} failed with exit code {ended}")
            for mount in run.mounts:
                copy_back(mount, folders[mount.mount_path], buckets=self._buckets, xet=self._xet)
        if run.stopping:
            return run.stopping
        return ("COMPLETED", None) if ended == 0 else ("ERROR", f"Job failed with exit code: {ended}")

    def _attempt(self, run: _Run, folder: Path, folders: Mapping[str, Path]) -> int:
        """Run the command once and return its exit code."""
        for name in ("home", "tmp", "work"):
            private_folder(folder / name)
        spec = run.job.spec
        command = [rewrite(part, folders) for part in (*spec.command, *spec.arguments)]
        environment = {key: rewrite(value, folders) for key, value in spec.environment.items()}
        environment = {**_environment(self._endpoint, run.job, folder), **environment, **run.secrets}
        with run.lock:
            if run.stopping:
                return 1
            try:
                run.process = subprocess.Popen(
                    command,
                    cwd=folder / "work",
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    umask=0o077,
                )
            except (OSError, ValueError) as error:
                self._log(run, f"Cannot start {command[0]!r}: {error}")
                return 127
        return self._watch(run, run.process)

    def _watch(self, run: _Run, process: subprocess.Popen[bytes]) -> int:
        reader = threading.Thread(target=_copy_lines, args=(process, lambda line: self._log(run, line)), daemon=True)
        reader.start()
        try:
            process.wait(timeout=max(0.0, run.deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            _stop(run, "ERROR", "Job timed out")
            process.wait()
        # what the command left running would hold the log open
        _signal_group(process, signal.SIGKILL)
        reader.join(timeout=_DRAIN_SECONDS)
        return process.returncode

    def _log(self, run: _Run, line: str) -> None:
        self._jobs.log(run.job.id, line)


def _stop(run: _Run, stage: Stage, message: str | None) -> None:
    with run.lock:
        if run.stopping is None:
            run.stopping = (stage, message)
        process = run.process
    if process is None or process.poll() is not None:
        return
    _signal_group(process, signal.SIGTERM)
    killer = threading.Timer(run.grace, _kill_unless_over, args=(process,))
    killer.daemon = True
    killer.start()


def _kill_unless_over(process: subprocess.Popen[bytes]) -> None:
    # the number of a process that is over may belong to another one by now
    if process.poll() is None:
        _signal_group(process, signal.SIGKILL)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _copy_lines(process: subprocess.Popen[bytes], log: Callable[[str], None]) -> None:
    if process.stdout is not None:
        with process.stdout:
            for line in process.stdout:
                log(line.decode(errors="replace").rstrip("\r\n"))


def _environment(endpoint: str, job: Job, folder: Path) -> dict[str, str]:
    """What a Job finds around it: of the host only what uv and TLS need, a fresh home, the Hub and the Job's facts."""
    command = _uv_command()
    host = {name: os.environ[name] for name in _HOST_VARIABLES if name in os.environ}
    host |= {name: value for name, value in os.environ.items() if _is_uv_setting(name)}
    flavor = FLAVORS[job.spec.flavor]
    loopback = ",".join(filter(None, (os.environ.get("NO_PROXY"), "127.0.0.1", "localhost")))
    return {
        **host,
        **_uv_folders(command),
        "PATH": os.pathsep.join((str(Path(command).parent), os.environ.get("PATH", os.defpath))),
        "NO_PROXY": loopback,
        "no_proxy": loopback,
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "HF_HOME": str(folder / "home" / ".cache" / "huggingface"),
        "HF_ENDPOINT": endpoint,
        "JOB_ID": job.id,
        "ACCELERATOR": "",
        "CPU_CORES": str(flavor.cores),
        "MEMORY": f"{flavor.memory_gb}Gi",
    }


def _is_uv_setting(name: str) -> bool:
    return name.startswith("UV_") and not name.startswith(_UV_OWN)


def _uv_command() -> str:
    """The uv that runs this process, else the one on the PATH, else the one installed with this package."""
    return os.environ.get("UV") or shutil.which("uv") or uv.find_uv_bin()


@cache
def _uv_folders(command: str) -> dict[str, str]:
    """Where the host's uv keeps its cache and its Pythons: a Job with a fresh home would download them all again."""
    asked = {"UV_CACHE_DIR": ("cache", "dir"), "UV_PYTHON_INSTALL_DIR": ("python", "dir")}
    answers = {
        name: subprocess.run((command, *words), capture_output=True, text=True, check=False).stdout.strip()
        for name, words in asked.items()
    }
    return {name: answer for name, answer in answers.items() if answer}
