"""The names that clients send: repos, refs, paths, revisions. Each check returns the name or raises Refusal (400)."""

from __future__ import annotations

import re

from jobshelf.hub.refusal import bad_request

_SEGMENT_BYTES = 255
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_REF = re.compile(r"[^\x00-\x20\x7f~^:?*\[\\]{1,200}")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def repo_name(text: str) -> str:
    """A namespace, or the name of a repo or bucket in it."""
    if not _NAME.fullmatch(text) or "--" in text or ".." in text or text.endswith((".git", ".ipynb", ".", "-")):
        raise bad_request(f"Invalid name '{text}': letters, digits, '-', '_' and '.', at most 96, no '--' or '..'")
    return text


def ref_name(text: str) -> str:
    """The short name of a branch or tag (git check-ref-format, less what only git's own files need)."""
    parts = text.split("/")
    broken = any(part.startswith((".", "-")) or part.endswith((".", ".lock")) or not part for part in parts)
    if broken or ".." in text or "@{" in text or parts[0] == "refs" or is_sha1(text) or not _REF.fullmatch(text):
        raise bad_request(f"Invalid reference '{text}'")
    return text


def file_path(text: str) -> str:
    """The path of a file in a repo or bucket: relative, forward slashes, nothing that could leave the root."""
    parts = text.split("/")
    too_long = any(len(part.encode()) > _SEGMENT_BYTES for part in parts)
    escapes = any(part in {"", ".", ".."} or part.lower() == ".git" for part in parts)
    if too_long or escapes or _CONTROL.search(text):
        raise bad_request(f"Invalid path '{text[:200]}'")
    return text


def sha256_hex(text: str) -> str:
    """A sha256 in lower-case hex."""
    if not _SHA256.fullmatch(text):
        raise bad_request(f"'{text[:80]}' is not a sha256 in hex")
    return text


def is_sha1(text: str) -> bool:
    """Whether `text` is a full commit id."""
    return _SHA1.fullmatch(text) is not None
