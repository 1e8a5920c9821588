"""Git's object names, computed from content (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects).

The Hub shows git's own names: the ETag of a small file is its blob id, a revision is a commit id. Trees are kept as git
tree objects, so two commits share every folder that did not change.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

_FILE_MODE = b"100644"
_TREE_MODE = b"40000"


class PathClash(Exception):
    """A path would be both a file and a folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeItem:
    """One name in a folder: `oid` is a blob's, or a tree's when `is_tree`."""

    name: str
    oid: str
    is_tree: bool


def object_id(kind: str, body: bytes) -> str:
    """Return the 40 hex digits that git gives to an object of `kind` (blob, tree, commit) with this body."""
    return hashlib.sha1(b"%s %d\x00%s" % (kind.encode(), len(body), body), usedforsecurity=False).hexdigest()


def lfs_pointer(sha256: str, size: int) -> bytes:
    """Return the text that git stores in place of a large file (git-lfs pointer, version 1)."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def write_tree(files: Mapping[str, str]) -> tuple[str, dict[str, bytes]]:
    """Return the root tree's id and every tree object (id -> body) of a mapping from path to blob id.

    Raises PathClash when a path is both a file and a folder.
    """
    objects: dict[str, bytes] = {}
    root = _write_folder(_nested(files), objects)
    return root, objects


def parse_tree(body: bytes) -> Iterator[TreeItem]:
    """Yield the items of a tree object in git's order."""
    position = 0
    while position < len(body):
        space = body.index(b" ", position)
        end = body.index(b"\x00", space)
        yield TreeItem(
            name=body[space + 1 : end].decode(),
            oid=body[end + 1 : end + 21].hex(),
            is_tree=body[position:space] == _TREE_MODE,
        )
        position = end + 21


def _nested(files: Mapping[str, str]) -> dict:
    root: dict = {}
    for path, oid in files.items():
        *folders, name = path.split("/")
        folder = root
        for part in folders:
            folder = folder.setdefault(part, {})
            if not isinstance(folder, dict):
                raise PathClash(f"'{part}' in '{path}' is a file and a folder")
        if isinstance(folder.get(name), dict):
            raise PathClash(f"'{path}' is a file and a folder")
        folder[name] = oid
    return root


def _write_folder(folder: dict, objects: dict[str, bytes]) -> str:
    lines = []
    for name, value in folder.items():
        is_tree = isinstance(value, dict)
        oid = _write_folder(value, objects) if is_tree else value
        encoded = name.encode()
        # git sorts folders as if their names ended with a slash
        key = encoded + b"/" if is_tree else encoded
        lines.append((key, (_TREE_MODE if is_tree else _FILE_MODE) + b" " + encoded + b"\x00" + bytes.fromhex(oid)))
    body = b"".join(line for _, line in sorted(lines))
    oid = object_id("tree", body)
    objects[oid] = body
    return oid
