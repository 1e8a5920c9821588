"""Whole repos of the embedded Hub, as files: put one there, read one back.

The few requests that this takes are sent plainly: the client library would read this process' own login and cache.
"""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

_SENT_AHEAD = (".parquet", ".safetensors", ".bin", ".gguf", ".arrow")
_PREFIX = {"models": "", "datasets": "datasets/", "spaces": "spaces/", "buckets": "buckets/"}
# the Hub is on this machine, whatever proxy the environment names
_LOOPBACK = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoName:
    """`kind` is the plural that stands in API paths: models, datasets, spaces or buckets."""

    kind: str
    id: str

    def __str__(self) -> str:
        return f"{_PREFIX[self.kind]}{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RepoFiles:
    """What a repo holds: path -> content, at the commit `head` (None for a bucket, which has no commits)."""

    head: str | None
    files: Mapping[str, bytes]


class HubFiles:
    """The Hub at `endpoint`, seen by the owner of `token`."""

    def __init__(self, endpoint: str, token: str) -> None:
        self._endpoint = endpoint
        self._token = token

    def push(self, repo: RepoName, files: Mapping[str, bytes], *, private: bool) -> None:
        """Make the repo with these files in one commit."""
        visibility = "private" if private else "public"
        kind, name = repo.kind.removesuffix("s"), repo.id.split("/")[1]
        self._post("/api/repos/create", {"name": name, "type": kind, "visibility": visibility})
        large = {path: data for path, data in files.items() if path.endswith(_SENT_AHEAD)}
        self._send_ahead(repo, large.values())
        lines: list[dict[str, Any]] = [{"key": "header", "value": {"summary": "Fixture", "description": ""}}]
        lines += [_commit_line(path, data, is_large=path in large) for path, data in sorted(files.items())]
        body = "\n".join(map(json.dumps, lines)).encode()
        self._ask(f"/api/{repo.kind}/{repo.id}/commit/main", body, kind="application/x-ndjson")

    def pull(self, repo: RepoName) -> RepoFiles | None:
        """Return what `repo` holds, None when there is no such repo."""
        try:
            info = json.loads(self._ask(f"/api/{repo.kind}/{repo.id}"))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise
        revision = "" if repo.kind == "buckets" else "main/"
        base = f"/{repo}/resolve/{revision}"
        return RepoFiles(
            head=info.get("sha"), files={path: self._ask(base + quote(path)) for path in self._paths(repo, info)}
        )

    def _paths(self, repo: RepoName, info: Mapping[str, Any]) -> Sequence[str]:
        if repo.kind == "buckets":
            tree = json.loads(self._ask(f"/api/buckets/{repo.id}/tree?recursive=true"))
            return sorted(item["path"] for item in tree if item["type"] == "file")
        return sorted(item["rfilename"] for item in info["siblings"])

    def _send_ahead(self, repo: RepoName, contents: Iterable[bytes]) -> None:
        by_oid = {hashlib.sha256(data).hexdigest(): data for data in contents}
        objects = [{"oid": oid, "size": len(data)} for oid, data in by_oid.items()]
        batch = {"operation": "upload", "transfers": ["basic"], "objects": objects}
        for item in self._post(f"/{repo}.git/info/lfs/objects/batch", batch)["objects"] if objects else ():
            if "actions" in item:
                # the signature in the URL is the permission
                href = item["actions"]["upload"]["href"]
                put = urllib.request.Request(href, data=by_oid[item["oid"]], method="PUT")  # noqa: S310 - our own Hub's
                _LOOPBACK.open(put).close()

    def _post(self, path: str, payload: Mapping[str, Any]) -> dict[str, Any]:
        return json.loads(self._ask(path, json.dumps(payload).encode(), kind="application/json"))

    def _ask(self, path: str, body: bytes | None = None, *, kind: str = "application/json") -> bytes:
        headers = {"Content-Type": kind}
        request = urllib.request.Request(self._endpoint + path, data=body, headers=headers)  # noqa: S310 - http only
        request.add_unredirected_header("Authorization", f"Bearer {self._token}")
        with _LOOPBACK.open(request) as answer:
            return answer.read()


def _commit_line(path: str, data: bytes, *, is_large: bool) -> dict[str, Any]:
    if is_large:
        value = {"path": path, "algo": "sha256", "oid": hashlib.sha256(data).hexdigest(), "size": len(data)}
        return {"key": "lfsFile", "value": value}
    content = base64.b64encode(data).decode()
    return {"key": "file", "value": {"path": path, "content": content, "encoding": "base64"}}
