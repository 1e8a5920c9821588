# block: persist_gcs 1
"""Result files to Google Cloud Storage, by google-cloud-storage.

Promises: the secret GCS_CREDENTIALS (the JSON of a service account; on a laptop the file that
GOOGLE_APPLICATION_CREDENTIALS names), the bucket and the right to write are checked before the work (3, 2); uploads are
verified by checksum; what is there already is not sent again; what cannot be stored stays on disk, and the code is 6.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .exits import EXIT_ENVIRONMENT, EXIT_NOT_PERSISTED, EXIT_TOKEN, EXIT_USAGE, Stop, one_line

if TYPE_CHECKING:
    from google.cloud import storage

GCS_SECRET = "GCS_CREDENTIALS"  # noqa: S105 - the name of the variable
GCS_FILE = "GOOGLE_APPLICATION_CREDENTIALS"
GCS_RETRY_S = 120.0
_GCS_URI = re.compile(r"gs://([a-z0-9][a-z0-9._-]{1,61}[a-z0-9])(?:/(.*?))?/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class GcsPlace:
    """Where files go: below `prefix` ("" for the root) in `bucket`."""

    bucket: str
    prefix: str

    def __str__(self) -> str:
        return f"gs://{self.bucket}/{self.prefix}".rstrip("/")

    def name(self, name: str) -> str:
        """Return the name of the object for the file `name`."""
        return f"{self.prefix}/{name}" if self.prefix else name


def parse_gcs(given: str) -> GcsPlace:
    """Return the place that gs://bucket/folder names; stop with 2 for anything else."""
    match = _GCS_URI.fullmatch(given)
    if match is None or "//" in f"/{match[2] or ''}":
        raise Stop(EXIT_USAGE, f"{given!r} is no place in Google Cloud Storage", fix="write gs://bucket/folder")
    return GcsPlace(bucket=match[1], prefix=match[2] or "")


def open_gcs(place: GcsPlace) -> storage.Bucket:
    """Return the bucket of `place` after checking that it can be written to; nothing is written.

    Stops with 3 (secret), 2 (no such bucket) or 5 (not reachable).
    """
    account = _gcs_account(place)
    from google.api_core.exceptions import ClientError, GoogleAPIError, NotFound
    from google.auth.exceptions import GoogleAuthError, TransportError
    from google.cloud import storage
    from google.oauth2 import service_account

    wanted = ["storage.objects.create", "storage.objects.get"]
    try:
        credentials = service_account.Credentials.from_service_account_info(account)
        bucket = storage.Client(project=account.get("project_id"), credentials=credentials).bucket(place.bucket)
        allowed = bucket.test_iam_permissions(wanted, retry=_gcs_retry())
    except NotFound as error:
        message = f"there is no bucket {place.bucket}"
        raise Stop(EXIT_USAGE, message, fix=f"gcloud storage buckets create gs://{place.bucket}") from error
    except (TransportError, ConnectionError) as error:
        raise Stop(
            EXIT_ENVIRONMENT, f"{place} cannot be reached: {one_line(error)}", fix="check the network"
        ) from error
    except (ClientError, GoogleAuthError, ValueError) as error:
        message = f"Google does not accept the service account in {GCS_SECRET} ({type(error).__name__})"
        raise Stop(EXIT_TOKEN, message, fix="make a new key, and hand it over as that secret") from error
    except GoogleAPIError as error:
        message = f"{place} cannot be used: {one_line(error)}"
        raise Stop(EXIT_ENVIRONMENT, message, fix="run the same command again later") from error
    if set(allowed) != set(wanted):
        fix = "give its service account the role storage.objectUser on the bucket"
        raise Stop(EXIT_TOKEN, f"the service account in {GCS_SECRET} may not write to {place}", fix=fix)
    return bucket


def persist_in_gcs(place: GcsPlace, files: Mapping[str, Path], bucket: storage.Bucket) -> str:
    """Store `files` (name relative to `place` -> local file) and return where they are; stop with 6 otherwise."""
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    try:
        for name, path in files.items():
            digest = _gcs_sha256(path)
            if not _gcs_holds(bucket, place.name(name), path, digest):
                blob = bucket.blob(place.name(name))
                blob.metadata = {"sha256": digest}
                blob.upload_from_filename(str(path), checksum="crc32c", retry=_gcs_retry())
            if not _gcs_holds(bucket, place.name(name), path, digest):
                raise _gcs_not_persisted(place, files, f"{name} did not arrive whole")
    except (GoogleAPIError, GoogleAuthError, OSError) as error:
        raise _gcs_not_persisted(place, files, error) from error
    return str(place)


def _gcs_account(place: GcsPlace) -> Mapping[str, Any]:
    file = os.environ.get(GCS_FILE)
    text = os.environ.get(GCS_SECRET) or (Path(file).read_text("utf-8") if file and Path(file).is_file() else "")
    if not text:
        fix = f"start the Job with `--secrets {GCS_SECRET}`; on this machine export {GCS_FILE}=/path/to/key.json"
        raise Stop(EXIT_TOKEN, f"no {GCS_SECRET}, needed to write to {place}", fix=fix)
    try:
        account = json.loads(text)
    except ValueError:
        account = None
    if not isinstance(account, dict) or account.get("type") != "service_account":
        fix = "hand over the whole text of the key file that Google made for the service account"
        # not `from` the JSON error: it holds the text
        raise Stop(EXIT_TOKEN, f"{GCS_SECRET} is not the JSON of a service account", fix=fix) from None
    return account


def _gcs_holds(bucket: storage.Bucket, name: str, path: Path, digest: str) -> bool:
    blob = bucket.get_blob(name, retry=_gcs_retry())
    return blob is not None and (blob.size, (blob.metadata or {}).get("sha256")) == (path.stat().st_size, digest)


def _gcs_retry() -> Any:  # noqa: ANN401 - a type of google-api-core, which is imported late
    from google.cloud.storage.retry import DEFAULT_RETRY

    return DEFAULT_RETRY.with_timeout(GCS_RETRY_S)


def _gcs_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _gcs_not_persisted(place: GcsPlace, files: Mapping[str, Path], reason: object) -> Stop:
    commands = [
        shlex.join(["gcloud", "storage", "cp", str(path.absolute()), f"gs://{place.bucket}/{place.name(name)}"])
        for name, path in files.items()
    ]
    folders = ", ".join(sorted({str(path.parent.absolute()) for path in files.values()}))
    message = f"the result is not in {place} ({one_line(reason)}); it is in {folders}"
    return Stop(EXIT_NOT_PERSISTED, message, fix=" && ".join(commands))
