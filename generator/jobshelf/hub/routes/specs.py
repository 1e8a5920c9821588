"""What a Job runs: from the JSON that clients send, and back into what they are shown."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from jobshelf.hub.call import only, take, take_or
from jobshelf.hub.flavors import FLAVORS
from jobshelf.hub.jobs import DEFAULT_TIMEOUT_SECONDS, JobSpec, Volume
from jobshelf.hub.names import file_path
from jobshelf.hub.refusal import bad_request
from jobshelf.hub.repos import DEFAULT_BRANCH

_LONGEST_TIMEOUT_SECONDS = 7 * 24 * 3600
_MOST_ATTEMPTS = 10
_KNOWN = {
    *("command", "arguments", "environment", "secrets", "flavor", "timeoutSeconds", "attempts", "labels", "volumes"),
    *("dockerImage", "spaceId"),
}


def parse_spec(payload: Mapping[str, Any]) -> JobSpec:
    """What a Job is to run. Raises Refusal: 400 for what makes no sense, 501 for what is not done here."""
    only(payload, _KNOWN, "the Job setting")
    command = _strings(payload, "command")
    image, space = take_or(payload, "dockerImage", "") or None, take_or(payload, "spaceId", "") or None
    if not command or (image is None) == (space is None):
        raise bad_request("A Job needs a 'command', and either a 'dockerImage' or a 'spaceId'")
    flavor = take_or(payload, "flavor", "cpu-basic")
    if flavor not in FLAVORS:
        raise bad_request(f"Unknown flavor '{flavor}': expected one of {', '.join(FLAVORS)}")
    return JobSpec(
        command=command,
        arguments=_strings(payload, "arguments"),
        environment=texts(payload, "environment"),
        flavor=flavor,
        timeout_seconds=_between(payload, "timeoutSeconds", DEFAULT_TIMEOUT_SECONDS, _LONGEST_TIMEOUT_SECONDS),
        attempts=_between(payload, "attempts", 1, _MOST_ATTEMPTS),
        volumes=tuple(_volume(item) for item in take_or(payload, "volumes", [])),
        image=image,
        space=space,
        secret_names=tuple(sorted(texts(payload, "secrets"))),
    )


def _strings(payload: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = take_or(payload, key, [])
    if not all(isinstance(value, str) and "\x00" not in value for value in values):
        raise bad_request(f"'{key}' must be a list of strings")
    return tuple(values)


def texts(payload: Mapping[str, Any], key: str) -> dict[str, str]:
    """A table of strings; numbers and truth values become text, as environment variables do. Raises Refusal (400)."""
    values = take_or(payload, key, {})
    for name, value in values.items():
        if not name or "=" in name or "\x00" in f"{name}{value}" or not isinstance(value, str | int | float | bool):
            raise bad_request(f"'{key}' must be a table of strings; '{name[:80]}' does not fit")
    return {name: str(value) for name, value in values.items()}


def _between(payload: Mapping[str, Any], key: str, default: int, most: int) -> int:
    value = take_or(payload, key, default)
    if not 1 <= value <= most:
        raise bad_request(f"'{key}' must be between 1 and {most}, found {value}")
    return value


def _volume(item: object) -> Volume:
    if not isinstance(item, dict):
        raise bad_request("A volume must be a JSON object")
    kind, mount_path = take_or(item, "type", "model"), take(item, "mountPath", str)
    if not mount_path.startswith("/") or posixpath.normpath(mount_path) != mount_path or mount_path == "/":
        raise bad_request(f"'mountPath' must be an absolute path below '/', found '{mount_path[:200]}'")
    path = take_or(item, "path", "").strip("/")
    return Volume(
        kind=kind,
        source=take(item, "source", str),
        mount_path=mount_path,
        path=file_path(path) if path else "",
        revision=take_or(item, "revision", DEFAULT_BRANCH),
        # repos are never written through a mount
        read_only=take_or(item, "readOnly", False) or kind != "bucket",
    )


def described_spec(spec: JobSpec, labels: Mapping[str, str]) -> dict[str, Any]:
    """A spec as the Hub shows it, in a Job, a schedule or a webhook: of secrets the names only."""
    return {
        **({"dockerImage": spec.image} if spec.image else {"spaceId": spec.space}),
        "command": list(spec.command),
        "arguments": list(spec.arguments),
        "environment": spec.environment,
        "secrets": dict.fromkeys(spec.secret_names, ""),
        "flavor": spec.flavor,
        "timeout": spec.timeout_seconds,
        "timeoutSeconds": spec.timeout_seconds,
        "retry": spec.attempts - 1,
        "labels": dict(labels),
        "volumes": [_described_volume(volume) for volume in spec.volumes],
    }


def _described_volume(volume: Volume) -> dict[str, Any]:
    return {
        "type": volume.kind,
        "source": volume.source,
        "mountPath": volume.mount_path,
        "path": volume.path,
        "revision": None if volume.kind == "bucket" else volume.revision,
        "readOnly": volume.read_only,
    }
