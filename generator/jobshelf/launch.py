"""How a script is launched: its `[tool.hf-jobs]` table, and what the person who starts it says on top. Pure values.

The keys of the table are those that the `hf` command line reads (source: huggingface_hub 2.4 `cli/_uv_script_header.py`);
extra dependencies and attempts are flags only. The merge follows the same source: a flag wins; environment, labels,
secrets and volumes are merged entry by entry.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from jobshelf.errors import UsageError

DEFAULT_IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
DEFAULT_FLAVOR = "cpu-basic"
DEFAULT_TIMEOUT_SECONDS = 1800
FILES_MOUNT = "/data"
_DURATION = re.compile(r"(?P<count>\d+(?:\.\d+)?)(?P<unit>[smhd])|(?P<seconds>\d+)", re.ASCII)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_TOKEN_NAMES = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACEHUB_API_TOKEN"}
_TOKEN = re.compile(
    r"\b(hf_[A-Za-z0-9]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|sk-[\w-]{20,}"
    r"|AKIA[0-9A-Z]{16}|xox[abprs]-[\w-]{10,}|AIza[\w-]{30,}|eyJ[\w-]{10,}\.eyJ[\w-]+\.[\w-]+)"
)
_VOLUME = re.compile(r"(?P<source>.+?):(?P<mount>/(?!/)[^:]*)(?::(?P<mode>ro|rw))?")
_KINDS = {"models": "model", "datasets": "dataset", "spaces": "space", "buckets": "bucket"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What a Job is started with. `timeout` is as it was written; `volumes` are `-v` specs; `secrets` are names only."""

    image: str | None = None
    flavor: str | None = None
    python: str | None = None
    timeout: str | int | None = None
    name: str | None = None
    namespace: str | None = None
    network_group: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    secrets: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    network_aliases: tuple[str, ...] = ()
    dependencies: tuple[str, ...] = ()
    attempts: int | None = None

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Launch:
        """Return what a script's `[tool.hf-jobs]` says; a key that the table cannot have is passed over (vet names it)."""
        lists = {key: tuple(table[key]) for key in ("secrets", "volumes", "network_aliases") if key in table}
        plain = ("image", "flavor", "python", "timeout", "name", "namespace", "network_group", "env", "labels")
        return cls(**{key: table[key] for key in plain if key in table}, **lists)

    def under(self, asked: Launch) -> Launch:
        """Return this launch with what was `asked` for on top."""
        single = ("image", "flavor", "python", "timeout", "name", "namespace", "network_group", "attempts")
        won = {key: value for key in single if (value := getattr(asked, key)) is not None}
        return replace(
            self,
            **won,
            env={**self.env, **asked.env},
            labels={**self.labels, **asked.labels},
            secrets=tuple(dict.fromkeys((*self.secrets, *asked.secrets))),
            volumes=_merged_volumes(self.volumes, asked.volumes),
            network_aliases=asked.network_aliases or self.network_aliases,
            dependencies=(*self.dependencies, *asked.dependencies),
        )

    @property
    def timeout_seconds(self) -> int | None:
        """The timeout in seconds, None where nothing is said. Raises UsageError for what is no duration."""
        return None if self.timeout is None else timeout_seconds(self.timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A volume as `-v` names it. `kind` is model, dataset, space or bucket, or None for the folder `source` of this machine."""

    kind: str | None
    source: str
    path: str
    revision: str
    mount_path: str
    read_only: bool | None


def timeout_seconds(given: str | int) -> int:
    """Return the seconds of a timeout such as `300`, `90m`, `2h`, `1.5h` or `1d`. Raises UsageError with examples."""
    match = _DURATION.fullmatch(str(given).strip())
    seconds = 0
    if match is not None:
        seconds = int(match["seconds"]) if match["seconds"] else int(float(match["count"]) * _UNITS[match["unit"]])
    if seconds < 1:
        message = f"the timeout {given!r} is no duration, expected seconds, or a number with s, m, h or d"
        raise UsageError(message, fix="write one like 300, 90m, 2h, 1.5h or 1d")
    return seconds


def parse_volume(spec: str) -> Mount:
    """Return what a volume spec `hf://[TYPE/]OWNER/NAME[@REV][/PATH]:/MOUNT[:ro|:rw]` or `FOLDER:/MOUNT` says. Raises UsageError."""
    match = _VOLUME.fullmatch(spec)
    if match is None:
        raise _bad_volume(spec, "it has no mount path")
    source, mount = match["source"], match["mount"].rstrip("/")
    read_only = None if match["mode"] is None else match["mode"] == "ro"
    if not mount or mount == FILES_MOUNT:
        raise _bad_volume(spec, f"{FILES_MOUNT} is where the files of the Job go" if mount else "/ cannot be mounted")
    if not source.startswith("hf://"):
        return Mount(kind=None, source=source, path="", revision="", mount_path=mount, read_only=read_only)
    first, *rest = source.removeprefix("hf://").split("/")
    kind, parts = (_KINDS[first], rest) if first in _KINDS else ("model", [first, *rest])
    if len(parts) < 2 or not all(parts[:2]):
        raise _bad_volume(spec, "it names no OWNER/NAME")
    name, _, revision = parts[1].partition("@")
    return Mount(
        kind=kind,
        source=f"{parts[0]}/{name}",
        path="/".join(parts[2:]),
        revision=revision,
        mount_path=mount,
        read_only=read_only,
    )


def parse_env(items: Iterable[str]) -> dict[str, str]:
    """Return the variables that `K=V` words set. Raises UsageError for another word and for what belongs in a secret."""
    found = {}
    for item in items:
        name, equals, value = item.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise UsageError(f"--env {name[:40]!r} is not NAME=VALUE", fix="write --env NAME=VALUE")
        if name in _TOKEN_NAMES or holds_token(value):
            message = f"--env {name} would show a token to everyone who may see the Job"
            raise UsageError(message, fix=f"export {name} here and write --secrets {name}")
        found[name] = value
    return found


def parse_secret_names(items: Iterable[str]) -> tuple[str, ...]:
    """Return names of secrets. Raises UsageError for one that comes with its value: it would stand on the command line."""
    names = tuple(dict.fromkeys(items))
    for name in names:
        if not _NAME.fullmatch(name):
            shown = name.partition("=")[0][:40]
            message = f"--secrets {shown} takes a name; a value on the command line is seen by every process here"
            raise UsageError(message, fix=f"export {shown} here and write --secrets {shown}")
    return names


def parse_labels(items: Iterable[str]) -> dict[str, str]:
    """Return the labels that `K=V` words set. Raises UsageError for another word."""
    for item in items:
        if not re.fullmatch(r"[\w.-]+=[\w.-]*", item):
            raise UsageError(f"--label {item!r} is not KEY=VALUE", fix="write --label team=data")
    return dict(item.split("=", 1) for item in items)


def refuse_tokens(arguments: Iterable[str]) -> None:
    """Raise UsageError when an argument holds what looks like a token: arguments of a Job are shown to its readers."""
    for number, word in enumerate(arguments, start=1):
        if holds_token(word):
            message = f"argument {number} of the script looks like a token, and arguments are shown with the Job"
            raise UsageError(message, fix="take it out; pass a token by name: --secrets HF_TOKEN")


def holds_token(text: str) -> bool:
    """Whether `text` holds something of the shape of an access token."""
    return _TOKEN.search(text) is not None


def _merged_volumes(ours: tuple[str, ...], asked: tuple[str, ...]) -> tuple[str, ...]:
    taken = {parse_volume(spec).mount_path for spec in asked}
    return (*(spec for spec in ours if parse_volume(spec).mount_path not in taken), *asked)


def _bad_volume(spec: str, why: str) -> UsageError:
    examples = "hf://datasets/user/name:/input, hf://buckets/user/name:/out:rw or ./folder:/input"
    return UsageError(f"--volume {spec!r} cannot be mounted: {why}", fix=f"write one like {examples}")
