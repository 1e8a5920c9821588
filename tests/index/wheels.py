"""Wheels that hold metadata and nothing else.

Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from dataclasses import dataclass

# The earliest time that a zip archive can state: the bytes must not depend on when they were made.
_TIME = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyWheel:
    """A package without a single module: installed, it only satisfies requirements and brings those of its own along.

    `name` is normalised already, `requires` are requirements as in PEP 508, `tag` says which interpreters take it.
    """

    name: str
    version: str
    requires: tuple[str, ...] = ()
    tag: str = "py3-none-any"

    @property
    def filename(self) -> str:
        """Its name as a file."""
        return f"{self._stem}-{self.tag}.whl"

    def build(self) -> bytes:
        """Return the archive, the same bytes every time."""
        info = f"{self._stem}.dist-info"
        metadata = [
            "Metadata-Version: 2.1",
            f"Name: {self.name}",
            f"Version: {self.version}",
            *(f"Requires-Dist: {requirement}" for requirement in self.requires),
        ]
        wheel = ["Wheel-Version: 1.0", "Generator: jobshelf", "Root-Is-Purelib: true", f"Tag: {self.tag}"]
        files = {f"{info}/METADATA": _lines(metadata), f"{info}/WHEEL": _lines(wheel)}
        record = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
        return _archive(files | {f"{info}/RECORD": _lines([*record, f"{info}/RECORD,,"])})

    @property
    def _stem(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}"


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, _TIME), data)
    return stream.getvalue()
