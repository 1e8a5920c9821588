"""Files that are no scripts: each a finding or a clear error, and nothing is left behind."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from jobshelf.errors import InputError
from jobshelf.testing import vet_text
from jobshelf.vet import Config, Report, Target, collect, vet_targets

GOOD = b'# /// script\n# requires-python = ">=3.11"\n# dependencies = []\n# ///\nprint("hello")\n'
CASES = {
    "not_utf8": (GOOD + b"# caf\xe9\n", "UVS103"),
    "utf16": (GOOD.decode().encode("utf-16"), "UVS103"),
    "byte_order_mark": (b"\xef\xbb\xbf" + GOOD, "UVS101"),
    "binary": (bytes(range(256)) * 40, "UVS103"),
    "nul_byte": (GOOD + b"x = '\x00'\n", "UVS106"),
    "empty": (b"", "UVS101"),
    "blank": (b"\n\n", "UVS101"),
    "notebook": (b'{"cells": [], "metadata": {}}', "UVS101"),
    "tabs_in_header": (GOOD.replace(b"# req", b"#\treq"), "UVS103"),
    "tabs_and_blanks": (GOOD + b"if True:\n\tx = 1\n        y = 2\n", "UVS106"),
    "deep_nesting": (GOOD + b"x = " + b"(" * 5000 + b")" * 5000 + b"\n", "UVS106"),
    "long_line": (GOOD + b"x = '" + b"a" * 500_000 + b"'\n", "UVS504"),
    "huge_number": (GOOD + b"x = " + b"9" * 20_000 + b"\n", None),
    "many_lines": (GOOD + b"x = 1\n" * 5_000, None),
    "ten_megabytes": (GOOD + b"# padding\n" * 1_000_000, "UVS504"),
    "control_characters": (GOOD + b"# \x1b[2J\x07\n", None),
}  # fmt: skip


def vet(path: Path) -> Report:
    return vet_targets(collect([str(path)]), Config(stub=False))


@pytest.mark.parametrize("name", CASES)
def test_a_bad_file_is_a_finding(name: str, tmp_path: Path) -> None:
    data, code = CASES[name]
    path = tmp_path / f"{name}.py"
    path.write_bytes(data)
    report = vet(path)
    assert code is None or code in {finding.code for finding in report.findings}
    assert path.read_bytes() == data
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("ends", [b"\r\n", b"\n"])
def test_windows_line_ends_change_nothing(ends: bytes, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_bytes(GOOD.replace(b"\n", ends))
    assert [(finding.code, finding.line, finding.column) for finding in vet(path).findings] == [
        (finding.code, finding.line, finding.column)
        for finding in vet_targets([Target(path="script.py", data=GOOD)], Config(stub=False)).findings
    ]


def test_a_large_file_is_not_parsed(tmp_path: Path) -> None:
    path = tmp_path / "large.py"
    path.write_bytes(GOOD + b"x = 1\n" * 400_000)
    report = vet(path)
    assert [finding.code for finding in report.findings] == ["UVS504"]
    assert "not parsed" in report.inconclusive[0].reason


@pytest.mark.parametrize(
    "name",
    ["with blank.py", "umläut.py", "new\nline.py", "-option.py", "@file.py", "a..py", "no_extension", "upper.PY"],
)
def test_any_file_name_will_do(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(GOOD + b'print(f"{"a"}")\n')
    report = vet_targets(collect([name]), Config(stub=False, select=("UVS106",)))
    assert [finding.code for finding in report.findings] == ["UVS106"]


def test_a_file_that_vanishes_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_bytes(GOOD)
    targets = collect([str(path)])
    path.unlink()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        vet_targets(targets, Config(stub=False))


def test_the_recursion_limit_is_as_it_was(tmp_path: Path) -> None:
    before = sys.getrecursionlimit()
    path = tmp_path / "deep.py"
    path.write_bytes(GOOD + b"x = " + b"-" * 3000 + b"1\n" + b"y = a" + b".b" * 3000 + b"\n")
    vet(path)
    assert sys.getrecursionlimit() == before


def test_the_bytes_of_fenced_blocks_do_not_count_either() -> None:
    header = '# /// script\n# requires-python = ">=3.11"\n# dependencies = []\n# ///\n'
    filler = "x = 1  # as large as it gets\n" * 4000
    fenced = f"# --- block: token 1 (jobshelf) ---\n{filler}# --- end block ---\n"
    found = vet_text(header + filler, select=["UVS504"], stub=False).findings
    assert any("KiB of its own" in one.found for one in found)
    assert vet_text(header + fenced, select=["UVS504"], stub=False).findings == ()


@pytest.mark.parametrize("depth", [900, 5000])
@pytest.mark.parametrize("code", ["x = a" + "{link}", "x = " + "{term}f()"], ids=["chain", "sum"])
def test_code_nested_without_measure_is_found_and_stops_nothing(code: str, depth: int, tmp_path: Path) -> None:
    header = '# /// script\n# requires-python = ">=3.11"\n# dependencies = []\n# ///\n'
    (tmp_path / "deep.py").write_text(header + code.format(link=".b()" * depth, term="f() + " * depth) + "\n")
    for number in range(3):
        (tmp_path / f"plain{number}.py").write_text(header + "import eval_me\n")
    report = vet_targets(collect([str(tmp_path)]), Config())
    about = {Path(one.path).name for one in (*report.findings, *report.inconclusive)}
    assert about >= {"deep.py", "plain0.py", "plain1.py", "plain2.py"}
    assert report.exit_code == 1
