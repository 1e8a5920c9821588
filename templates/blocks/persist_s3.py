# block: persist_s3 1
"""Result files to Amazon S3, or to anything that speaks its protocol (AWS_ENDPOINT_URL), by boto3.

Promises: the secrets AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the bucket and the right to write are checked before
the work (3, 2); files are streamed with SHA-256 checksums that the server verifies; what is there already is not sent
again; every object is looked at afterwards; what cannot be stored stays on disk, and the code is 6.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .exits import EXIT_ENVIRONMENT, EXIT_NOT_PERSISTED, EXIT_TOKEN, EXIT_USAGE, Stop, one_line

S3_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
S3_ATTEMPTS = 6
S3_TIMEOUT_S = 60
_S3_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*?))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Place:
    """Where files go: below `prefix` ("" for the root) in `bucket`."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    def key(self, name: str) -> str:
        """Return the key of the file `name`."""
        return f"{self.prefix}/{name}" if self.prefix else name


def parse_s3(given: str) -> S3Place:
    """Return the place that s3://bucket/folder names; stop with 2 for anything else."""
    match = _S3_URI.fullmatch(given)
    if match is None or "//" in f"/{match[2] or ''}":
        raise Stop(EXIT_USAGE, f"{given!r} is no place in S3", fix="write s3://bucket/folder")
    return S3Place(bucket=match[1], prefix=match[2] or "")


def open_s3(place: S3Place, *, dry_run: bool) -> Any:  # noqa: ANN401 - boto3 makes its clients' classes as it runs
    """Return the client for `place` after checking that it can be written to. A dry run does not try to write.

    Stops with 3 (secrets), 2 (no such bucket) or 5 (not reachable).
    """
    missing = [name for name in S3_SECRETS if not os.environ.get(name)]
    if missing:
        options = " ".join(f"--secrets {name}" for name in missing)
        fix = f"start the Job with `{options}`; on this machine export them"
        raise Stop(EXIT_TOKEN, f"no {' and no '.join(missing)}, needed to write to {place}", fix=fix)
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    retries = {"max_attempts": S3_ATTEMPTS, "mode": "standard"}
    config = Config(retries=retries, connect_timeout=S3_TIMEOUT_S, read_timeout=S3_TIMEOUT_S)
    try:
        client = boto3.client("s3", config=config)
        client.head_bucket(Bucket=place.bucket)
        if not dry_run:
            _s3_try_to_write(client, place)
    except ClientError as error:
        raise _s3_refused(place, error.response) from error
    except (BotoCoreError, ValueError) as error:
        message = f"{place} cannot be reached: {one_line(error)}"
        raise Stop(
            EXIT_ENVIRONMENT, message, fix="check AWS_ENDPOINT_URL, AWS_DEFAULT_REGION and the network"
        ) from error
    return client


def persist_in_s3(place: S3Place, files: Mapping[str, Path], client: Any) -> str:  # noqa: ANN401 - see open_s3
    """Store `files` (name relative to `place` -> local file) and return where they are; stop with 6 otherwise."""
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        for name, path in files.items():
            digest = _s3_sha256(path)
            if not _s3_holds(client, place, name, path, digest):
                extra = {"ChecksumAlgorithm": "SHA256", "Metadata": {"sha256": digest}}
                client.upload_file(str(path), place.bucket, place.key(name), ExtraArgs=extra)
            if not _s3_holds(client, place, name, path, digest):
                raise _s3_not_persisted(place, files, f"{name} did not arrive whole")
    except (Boto3Error, BotoCoreError, ClientError) as error:
        raise _s3_not_persisted(place, files, error) from error
    return str(place)


def _s3_try_to_write(client: Any, place: S3Place) -> None:  # noqa: ANN401 - see open_s3
    # Beginning an upload needs the right to write and leaves nothing behind.
    key = place.key(".jobshelf-may-write")
    begun = client.create_multipart_upload(Bucket=place.bucket, Key=key)
    client.abort_multipart_upload(Bucket=place.bucket, Key=key, UploadId=begun["UploadId"])


def _s3_holds(client: Any, place: S3Place, name: str, path: Path, digest: str) -> bool:  # noqa: ANN401 - see open_s3
    from botocore.exceptions import ClientError

    try:
        found = client.head_object(Bucket=place.bucket, Key=place.key(name))
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != 404:
            raise
        return False
    return (found["ContentLength"], found["Metadata"].get("sha256")) == (path.stat().st_size, digest)


def _s3_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _s3_refused(place: S3Place, response: Mapping[str, Any]) -> Stop:
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    if status == 404:
        return Stop(EXIT_USAGE, f"there is no bucket {place.bucket}", fix=f"aws s3 mb s3://{place.bucket}")
    if status in {400, 401, 403}:
        message = f"these AWS credentials may not write to {place} ({response['Error']['Code']})"
        return Stop(EXIT_TOKEN, message, fix="allow s3:PutObject on it, or hand over the secrets of another user")
    message = f"{place} cannot be used: it answered {status}"
    return Stop(EXIT_ENVIRONMENT, message, fix="run the same command again later")


def _s3_not_persisted(place: S3Place, files: Mapping[str, Path], reason: object) -> Stop:
    commands = [
        shlex.join(["aws", "s3", "cp", str(path.absolute()), f"s3://{place.bucket}/{place.key(name)}"])
        for name, path in files.items()
    ]
    folders = ", ".join(sorted({str(path.parent.absolute()) for path in files.values()}))
    message = f"the result is not in {place} ({one_line(reason)}); it is in {folders}"
    return Stop(EXIT_NOT_PERSISTED, message, fix=" && ".join(commands))
