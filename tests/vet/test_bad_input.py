"""Files that are no scripts: each a finding or a clear error, and nothing is left behind."""

from __future__ import annotations

import codecs
import sys
from pathlib import Path

import pytest

from jobshelf.errors import InputError
from jobshelf.vet import Config, Profile, Report, Target, collect, vet_targets

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
    "unary_chain": (GOOD + b"-" * 1_000_000 + b"1\n", "UVS106"),
    "nested_lists": (GOOD + (b"x = " + b"[" * 150 + b"]" * 150 + b"\n") * 3_000, "UVS106"),
    "fields_of_an_f_string": (GOOD + b"x = f'" + b"{a}" * 300_000 + b"'\n", "UVS106"),
    "what_ruff_runs_out_of_stack_for": (GOOD + b"await " * 60_000 + b"1\n", "UVS106"),
    "statements": (GOOD + b"a;" * 500_000 + b"\n", "UVS106"),
    "no_codec": (b"# -*- coding: antigravity -*-\n" + GOOD, None),
    "dependencies": (GOOD.replace(b"[]", b"[" + b'"a>=1",' * 100_000 + b"]"), "UVS103"),
    "deep_header": (GOOD.replace(b"[]", b"[" * 5_000), "UVS103"),
    "key_of_many_parts": (GOOD.replace(b"dependencies", b"a" + b".a" * 200_000), "UVS103"),
    "long_number_in_header": (GOOD.replace(b"[]", b"9" * 5_000), "UVS103"),
    "long_line": (GOOD + b"x = '" + b"a" * 500_000 + b"'\n", None),
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


def test_the_codec_that_a_file_names_is_not_looked_up(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_bytes(b"# -*- coding: antigravity -*-\nimport x\n" + GOOD)
    looked_up: list[str] = []
    search = looked_up.append
    codecs.register(search)
    try:
        vet(tmp_path)
    finally:
        codecs.unregister(search)
    assert looked_up == []


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


@pytest.mark.parametrize("depth", [900, 5000])
@pytest.mark.parametrize("code", ["x = a" + "{link}", "x = " + "{term}f()"], ids=["chain", "sum"])
def test_code_nested_without_measure_is_found_and_stops_nothing(code: str, depth: int, tmp_path: Path) -> None:
    header = '# /// script\n# requires-python = ">=3.11"\n# dependencies = []\n# ///\n'
    (tmp_path / "deep.py").write_text(header + code.format(link=".b()" * depth, term="f() + " * depth) + "\n")
    for number in range(3):
        (tmp_path / f"plain{number}.py").write_text(header + "import eval_me\n")
    report = vet_targets(collect([str(tmp_path)]), Config(profile=Profile.STRICT))
    about = {Path(one.path).name for one in (*report.findings, *report.inconclusive)}
    assert about >= {"deep.py", "plain0.py", "plain1.py", "plain2.py"}
    assert report.exit_code == 1
