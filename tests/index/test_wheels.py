"""Empty wheels, read by those who install wheels."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from index.pages import EMPTY_WHEELS
from index.wheels import EmptyWheel
from support import BIN, ROOT


@pytest.mark.parametrize("wheel", EMPTY_WHEELS, ids=lambda wheel: wheel.name)
def test_the_record_lists_every_file_as_it_is(wheel: EmptyWheel) -> None:
    with zipfile.ZipFile(io.BytesIO(wheel.build())) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    info = f"{wheel.name}-{wheel.version}.dist-info"
    assert set(files) == {f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD"}
    record = list(csv.reader(files[f"{info}/RECORD"].decode().splitlines()))
    assert [row[0] for row in record] == list(files)
    for name, digest, size in record[:-1]:
        expected = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).decode().rstrip("=")
        assert (digest, int(size)) == (f"sha256={expected}", len(files[name]))


def test_the_same_bytes_in_another_process() -> None:
    code = (
        "import hashlib; from index.pages import EMPTY_WHEELS as w; "
        "print(*(hashlib.sha256(x.build()).hexdigest() for x in w))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT / "tests", env={"TZ": "Asia/Tokyo"}, capture_output=True, text=True
    )
    assert said.stdout.split() == [hashlib.sha256(wheel.build()).hexdigest() for wheel in EMPTY_WHEELS]


def test_uv_installs_them(environment: dict[str, str], tmp_path: Path) -> None:
    wheels = (*EMPTY_WHEELS, EmptyWheel(name="two-words", version="1.0", requires=("a>=1", "b; extra == 'c'")))
    for wheel in wheels:
        (tmp_path / wheel.filename).write_bytes(wheel.build())
    target = tmp_path / "target"
    argv = [BIN / "uv", "pip", "install", "--no-deps", "--no-index", "--target", target]
    done = subprocess.run(
        [*argv, *(tmp_path / wheel.filename for wheel in wheels)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    code = (
        "import json, sys; from importlib.metadata import distributions as d; "
        "print(json.dumps({x.name: [x.version, x.requires or []] for x in d(path=sys.argv[1:])}))"
    )
    listed = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True, check=True)
    assert json.loads(listed.stdout) == {wheel.name: [wheel.version, list(wheel.requires)] for wheel in wheels}
