"""A Job as it is about to be asked for: everything resolved but the values of its secrets and the files to send."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from jobshelf.client import LOG_IN, explained
from jobshelf.errors import InputError, TokenError, UsageError
from jobshelf.forms import uv_command
from jobshelf.jobs.target import Target
from jobshelf.launch import DEFAULT_FLAVOR, DEFAULT_IMAGE, FILES_MOUNT, Launch, parse_volume, refuse_tokens

if TYPE_CHECKING:
    from huggingface_hub import HfApi, Volume

# where `hf jobs uv run` and `run_uv_job` put what they send (source: huggingface_hub 2.4 `constants.py`)
FILES_BUCKET = "jobs-artifacts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a Job runs and with what. `files` (name -> bytes or path) are sent with it and lie at FILES_MOUNT.

    `secrets` are names; `volumes` are specs; `timeout` is in seconds, None for the Hub's default.
    """

    name: str
    image: str
    command: tuple[str, ...]
    flavor: str
    timeout: int | None
    env: Mapping[str, str]
    secrets: tuple[str, ...]
    labels: Mapping[str, str]
    volumes: tuple[str, ...]
    namespace: str | None
    attempts: int | None
    network: tuple[str | None, tuple[str, ...]] = (None, ())
    files: Mapping[str, bytes | Path] = field(default_factory=dict)

    def __str__(self) -> str:
        unset = set(self.missing_secrets())
        facts = {
            "image": self.image,
            "command": shlex.join(self.command),
            "flavor": self.flavor,
            "timeout": f"{self.timeout} s" if self.timeout else "the Hub's default (30 minutes)",
            "attempts": str(self.attempts or ""),
            "env": ", ".join(f"{name}={value}" for name, value in self.env.items()),
            "secrets": ", ".join(f"{name} ({'not set here' if name in unset else '***'})" for name in self.secrets),
            "labels": ", ".join(f"{name}={value}" for name, value in self.labels.items()),
            "volumes": ", ".join(self.volumes),
            "files": ", ".join(f"{FILES_MOUNT}/{name}" for name in self.files),
            "namespace": self.namespace or "",
        }
        return "\n".join(f"{key:<9} {value}" for key, value in facts.items() if value)

    def missing_secrets(self) -> list[str]:
        """Return the names of secrets that have no value in this environment or login."""
        return [name for name in self.secrets if not _secret(name)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """An order whose files are on the Hub and whose secrets have values; it can be posted any number of times."""

    order: Order
    namespace: str
    volumes: tuple[Volume, ...]
    secrets: Mapping[str, str] = field(repr=False)

    def call(self) -> dict[str, Any]:
        """Return the arguments of `HfApi.run_job` and `HfApi.create_scheduled_job`."""
        order = self.order
        group, aliases = order.network
        network = {"network_group": group, "network_aliases": list(aliases) or None} if group else {}
        return {
            "image": order.image,
            "command": list(order.command),
            "env": dict(order.env),
            "secrets": dict(self.secrets) or None,
            "flavor": order.flavor,
            "timeout": order.timeout,
            "attempts": order.attempts,
            "labels": dict(order.labels),
            "volumes": list(self.volumes) or None,
            "namespace": self.namespace,
            **network,
        }


def order_script(target: Target, arguments: Sequence[str], asked: Launch | None = None) -> Order:
    """Return the Job that runs `target` with `arguments`; what a flag `asked` for wins over the script's launch table.

    An argument that names a file of this machine is sent along, as `hf jobs uv run` does. Raises UsageError for an
    argument that looks like a token, InputError for one that names a folder.
    """
    refuse_tokens(arguments)
    launch = Launch.from_table(target.launch).under(asked or Launch())
    files: dict[str, bytes | Path] = {}
    script = target.url or _add(files, f"{target.name}.py", target.data or b"")
    words = [_sent(word, files) for word in arguments]
    return replace(_order(launch, target.name), command=uv_command(script, launch, words), files=files)


def order_image(image: str, command: Sequence[str], asked: Launch) -> Order:
    """Return the Job that runs `command` in a Docker image or in that of a Space. Raises UsageError."""
    if not command:
        raise UsageError(
            "a Docker Job needs a command", fix="write it after --, as in --image python:3.12 -- python -V"
        )
    if asked.dependencies or asked.python:
        flag = "--with" if asked.dependencies else "--python"
        raise UsageError(f"{flag} is for scripts; an image brings its own packages", fix=f"leave {flag} out")
    refuse_tokens(command)
    name = re.split(r"[:@]", image.rstrip("/").rpartition("/")[2])[0]
    return replace(_order(replace(asked, image=image), name), command=tuple(command))


def send_files(order: Order, client: HfApi, namespace: str) -> Parcel:
    """Put the order's files on the Hub, find its secrets here, and return what can be posted.

    Raises TokenError when a secret is not set here, and what `explained` raises.
    """
    from huggingface_hub import Volume

    secrets = find_secrets(order.secrets, client)
    with explained(client):
        volumes = [_volume(spec, client, namespace) for spec in order.volumes]
        if order.files:
            bucket, folder = f"{namespace}/{FILES_BUCKET}", f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{token_hex(3)}"
            client.create_bucket(bucket, exist_ok=True, private=True)
            add = [(content, f"{folder}/{name}") for name, content in order.files.items()]
            client.batch_bucket_files(bucket, add=add)
            volumes.append(Volume(type="bucket", source=bucket, mount_path=FILES_MOUNT, path=folder, read_only=False))
    return Parcel(order=order, namespace=namespace, volumes=tuple(volumes), secrets=secrets)


def find_secrets(names: Sequence[str], client: HfApi) -> dict[str, str]:
    """Return the values of secrets: the client's own token for HF_TOKEN, else the environment's.

    Raises TokenError for one that is not set here.
    """
    found = {name: str(client.token or "") if name == "HF_TOKEN" else os.environ.get(name, "") for name in names}
    for name, value in found.items():
        if not value:
            fix = LOG_IN if name == "HF_TOKEN" else f"export {name}=..."
            raise TokenError(f"the script needs the secret {name}, which is not set here", fix=fix)
    return found


def label_text(text: str) -> str:
    """Return `text` as a label can hold it."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", text)


def _order(launch: Launch, name: str) -> Order:
    label = launch.name or launch.labels.get("name") or label_text(name)
    return Order(
        name=name,
        image=launch.image or DEFAULT_IMAGE,
        command=(),
        flavor=launch.flavor or DEFAULT_FLAVOR,
        timeout=launch.timeout_seconds,
        env=launch.env,
        secrets=launch.secrets,
        labels={**launch.labels, "name": label},
        volumes=launch.volumes,
        namespace=launch.namespace,
        attempts=launch.attempts,
        network=(launch.network_group, launch.network_aliases),
    )


def _sent(word: str, files: dict[str, bytes | Path]) -> str:
    path = Path(word)
    if path.is_file():
        return _add(files, path.name.replace(" ", "_"), path)
    if word.startswith(("./", "../", "/", "~")) and path.expanduser().is_dir() and any(path.expanduser().iterdir()):
        message = f"{word} is a folder of this machine, which a Job does not see"
        raise InputError(message, fix=f"mount it: --volume {word}:/input, and name /input in its place")
    return word


def _add(files: dict[str, bytes | Path], name: str, content: bytes | Path) -> str:
    """Add a file under its name, or the next free one, and return where the Job finds it."""
    stem, dot, suffix = name.rpartition(".")
    free, number = name, 1
    while free in files and files[free] != content:
        free, number = (f"{stem}-{number}{dot}{suffix}" if dot else f"{name}-{number}"), number + 1
    files[free] = content
    return f"{FILES_MOUNT}/{free}"


def _volume(spec: str, client: HfApi, namespace: str) -> Volume:
    from huggingface_hub import Volume

    mount = parse_volume(spec)
    if mount.kind is None:
        if not Path(mount.source).expanduser().is_dir():
            raise InputError(f"{mount.source} is no folder of this machine", fix="check the path before the colon")
        return client.sync_job_volume(
            mount.source, mount.mount_path, read_only=mount.read_only is not False, namespace=namespace
        )
    return Volume(
        type=mount.kind,
        source=mount.source,
        mount_path=mount.mount_path,
        path=mount.path or None,
        revision=mount.revision or None,
        read_only=mount.read_only,
    )


def _secret(name: str) -> str:
    """Return the value that this environment has for a secret; HF_TOKEN is also that of the login."""
    if name == "HF_TOKEN":
        from huggingface_hub import get_token

        return get_token() or ""
    return os.environ.get(name, "")
