"""vet against uv itself: an error exactly where the installed uv drops dependencies, ignores a field or refuses.

Each variant of one header is given to the real uv (`uv export --script`, which reads the header as `uv run` does) with
one local wheel as its whole package index. uv *honours* a header when it exits 0 and exports the declared dependency.
TOML 1.1, which uv reads and the other runners of such scripts do not, is left out (see UVS103).
"""

from __future__ import annotations

import os
import random
import subprocess
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from jobshelf.testing import vet_text
from jobshelf.vet.resolve import uv_binary
from jobshelf.vet.rule import Severity

BASE = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["shelfprobe>=1,<2"]
# [tool.uv]
# resolution = "highest"
# ///
import shelfprobe
"""
UV = uv_binary()
HEADER_RULES = ("UVS1", "UVS201")
Mutation = Callable[[str], str]


def swap(old: str, new: str) -> Mutation:
    return lambda text: text.replace(old, new)


def below(line: str, new: str) -> Mutation:
    return lambda text: text.replace(f"{line}\n", f"{line}\n{new}\n", 1)


def before(new: str) -> Mutation:
    return lambda text: new + text


def after(new: str) -> Mutation:
    return lambda text: text + new


def dependency(written: str) -> Mutation:
    return swap('"shelfprobe>=1,<2"', written)


def python(written: str) -> Mutation:
    return swap('requires-python = ">=3.11"', f"requires-python = {written}")


def uv_setting(written: str) -> Mutation:
    return swap('resolution = "highest"', written)


OPENINGS = (
    "#/// script", "# ///script", "#  /// script", "# /// script ", "# /// script\t", " # /// script", "\t# /// script",
    "## /// script", "# /// Script", "# /// SCRIPT", "# /// pyproject", "# /// scripts", "# // script", "# //// script",
    "# /// script:", "# /// script # x", "#\u00a0/// script", "# /// script\u00a0", "# /// script\x0c", "\x0c# /// script",
)  # fmt: skip
CLOSINGS = ("#///", "# /// ", "# //", "# ////", " # ///", "# ///x", "#", "", "x = 1")
LINES = (
    '#requires-python = ">=3.11"', '#\trequires-python = ">=3.11"', '## requires-python = ">=3.11"', "", "#", "# ", "x = 1",
    ' # requires-python = ">=3.11"', '#  requires-python = ">=3.11"', "# # a comment", "# # a\u2028b", "# # a\x0cb",
)  # fmt: skip
KEYS = (
    ("dependencies", "dependancies"), ("dependencies", "Dependencies"), ("dependencies", "dependency"),
    ("dependencies", '"dependencies"'), ("requires-python", "requires_python"), ("requires-python", "python"),
    ("dependencies", "project.dependencies"), ("dependencies", "tool.uv.dependencies"), ("dependencies", "tool.x.dependencies"),
)  # fmt: skip
DEPENDENCIES = (
    '"shelfprobe"', '"shelfprobe==1.0"', '"shelfprobe=1.0"', '"shelfprobe >= 1, < 2"', '"shelfprobe (>=1)"', '"shelfprobe>=1.*"',
    '"shelfprobe==1.*"', '"shelfprobe>="', '"shelfprobe>=1 <2"', '"shelfprobe>=1,<2,"', '"shelfprobe>=3,<2"', '""', '"./shelfprobe"',
    '"shelf probe"', '"ShelfProbe>=1"', '"shelfprobe; python_version >= \'3.8\'"', '"shelfprobe; python_version >"', '"-shelfprobe"',
    '"shelfprobe[extra"', '"shelfprobe~=1.0"', '"shelfprobe~=1"', '"shelfprobe@1.0"', '"shelfprobe>=1", "shelfprobe<2"', "1", "shelfprobe",
    '"shelfprobe>=1,<2" "x"', '["shelfprobe"]', '"shelfprobe===1.0"', '"shelfprobe!=3"', '"shelfprobe>1.0,<1.0"',
)  # fmt: skip
PYTHONS = (
    '"3.11"', '"=>3.11"', '"^3.11"', '"~=3.11"', '"==3.11.*"', '">=3.11.*"', '">=3.8 <4"', '">=3.8,<4"', '""', '"!=3.9"', '">=three"',
    '"*"', "3.11", '[">=3.11"]', "true", '">=3.99"', '">=3.12,<3.11"', '">3"', '"<4"', '">=3"', '"==3.*"', '">= 3.8"', '"python>=3.8"',
)  # fmt: skip
SETTINGS = (
    'exclude_newer = "2026-01-01"', 'exclude-newer = "yesterday"', "exclude-newer = 2026-01-01", 'exclude-newer = "2026-02-31"',
    'resolution = "best"', 'resolution = "lowest"', "offline = 1", "offline = true", 'dev-dependencies = ["x"]', "managed = true",
    'index = ["https://example.org"]', "index = []", 'prerelease = "allow"', 'prerelease = "yes"', 'link-mode = "copy"', "upgrade = true",
    'constraint-dependencies = ["a b"]', 'constraint-dependencies = ["shelfprobe<2"]', 'sources = { x = "y" }', "sources = {}",
    'sources = { x = { gti = "y" } }', "concurrent-builds = 0", "concurrent-builds = 2", 'no-binary = "x"', 'environments = ["x"]',
    'exclude-newer = "1 month"', "exclude-newer = true", 'required-version = ">=0.1"', "compile-bytecode = false",
)  # fmt: skip
TOML = (
    "# x = [", "# dependencies = []", "# = 1", '# name = "x"', "# [project]", "# [tool]", "# tool = 3", "# [[tool]]", "# [tool.x]",
    "# x.y = 1", "# [tool.uv]", "# 'quoted key' = 1",
)  # fmt: skip
PLACES: dict[str, Mutation] = {
    "as it is": swap("", ""),
    "below a shebang": before("#!/usr/bin/env -S uv run --script\n"),
    "below a docstring": before('"""Probe."""\n'),
    "in a docstring": lambda text: f'"""Probe.\n{text.partition("import")[0]}"""\nimport shelfprobe\n',
    "below code": before("import sys\n"),
    "below a mention in a docstring": before('"""See # /// script above."""\n'),
    "below a mention in a comment": before("# a # /// script block:\n"),
    "below a line that begins like it": before("# /// script blocks are read by uv\n"),
    "above a mention": after('"""See # /// script above."""\n'),
    "below another type": before("# /// other\n# x = 1\n# ///\n"),
    "directly below another type": before("# /// other\n# x = 1\n"),
    "twice": after(f"x = 1\n{BASE}"),
    "twice without a gap": lambda text: text.replace("import shelfprobe\n", text),
    "then one that is not closed": after("# /// script\nx = 1\n"),
    "then one with a blank": after("# /// script \n# dependencies = []\n# ///\n"),
    "then one in a string": after('x = """\n# /// script\n# dependencies = []\n# ///\n"""\n'),
    "then a comment": swap("import", "# a comment\nimport"),
    "then a comment and a closing line": swap("import", "# a comment\n# ///\nimport"),
    "Windows line ends": swap("\n", "\r\n"),
    "Windows line end in the opening": swap("script\n", "script\r\n"),
    "byte order mark": before("\ufeff"),
    "byte order mark above a comment": before("\ufeff# x\n"),
    "form feed above": before("\x0c\n"),
    "line separator above": before("# x\u2028# y\n"),
    "a tool table that is a number": swap("[tool.uv]", "[tool]\n# x = 3\n# [tool.uv]"),
    "no line end at the end": lambda text: text.rstrip("\n"),
    "nothing but the opening": lambda text: "# /// script",
}
MUTATIONS: dict[str, Mutation] = {
    **PLACES,
    **{f"opening {opening!r}": swap("# /// script", opening) for opening in OPENINGS},
    **{f"closing {closing!r}": swap("# ///\n", f"{closing}\n") for closing in CLOSINGS},
    **{f"line {line!r}": below("# /// script", line) for line in LINES},
    **{f"key {new}": swap(old, new) for old, new in KEYS},
    **{f"dependency {written}": dependency(written) for written in DEPENDENCIES},
    **{f"python {written}": python(written) for written in PYTHONS},
    **{f"setting {written}": uv_setting(written) for written in SETTINGS},
    **{f"toml {line!r} first": below("# /// script", line) for line in TOML},
    **{f"toml {line!r} last": swap("# ///\n", f"{line}\n# ///\n") for line in TOML},
}


def pairs(count: int) -> dict[str, Mutation]:
    """Two mutations after each other, the same choice every time."""
    choice = random.Random(723)
    names = sorted(MUTATIONS)
    chosen = {tuple(choice.sample(names, 2)) for _ in range(count)}
    return {f"{a}, {b}": lambda text, a=a, b=b: MUTATIONS[b](MUTATIONS[a](text)) for a, b in sorted(chosen)}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the only package that these headers ask for."""
    folder = tmp_path_factory.mktemp("index")
    info = "shelfprobe-1.0.dist-info"
    with zipfile.ZipFile(folder / "shelfprobe-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("shelfprobe.py", "NAME = 'shelfprobe'\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: shelfprobe\nVersion: 1.0\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return folder


def environment(index: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    return kept | {"UV_NO_INDEX": "1", "UV_FIND_LINKS": str(index), "UV_PYTHON_DOWNLOADS": "never", "UV_NO_CONFIG": "1"}


def uv_honours(path: Path, index: Path) -> bool:
    command = [UV, "export", "--script", str(path), "--no-hashes", "--no-header", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(index))
    return done.returncode == 0 and "shelfprobe==1.0" in done.stdout


def ignores_a_field(text: str) -> bool:
    """uv exports the dependency and still reads past something: told by the variant, since uv says nothing."""
    above_tables = text.partition("# [tool")[0]
    keys = ("requires_python", "# python =", '# name = "x"', "quoted key", "# x.y")
    return "# [project]" in text or any(key in above_tables for key in keys)


def header_errors(text: str) -> set[str]:
    report = vet_text(text, select=HEADER_RULES)
    return {finding.code for finding in report.findings if finding.severity is Severity.ERROR}


def disagreements(variants: dict[str, Mutation], index: Path, folder: Path) -> list[str]:
    texts = {name: mutate(BASE) for name, mutate in variants.items()}
    paths = {name: folder / f"v{number}.py" for number, name in enumerate(texts)}
    for name, path in paths.items():
        path.write_bytes(texts[name].encode())
    with ThreadPoolExecutor(4) as pool:
        honoured = dict(zip(paths, pool.map(lambda path: uv_honours(path, index), paths.values()), strict=True))
    assert {True, False} == set(honoured.values())
    wrong = []
    for name, text in texts.items():
        errors, fine = header_errors(text), honoured[name] and not ignores_a_field(text)
        if fine == bool(errors):
            wrong.append(
                f"{name}: uv {'honours' if honoured[name] else 'drops or refuses'} it, vet says {sorted(errors)}"
            )
    return wrong


def test_vet_agrees_with_uv_on_every_mutation(index: Path, tmp_path: Path) -> None:
    assert len(MUTATIONS) > 150
    assert disagreements(MUTATIONS, index, tmp_path) == []


def test_vet_agrees_with_uv_on_pairs_of_mutations(index: Path, tmp_path: Path) -> None:
    assert disagreements(pairs(150), index, tmp_path) == []


@pytest.mark.parametrize(
    "name", ["opening '# /// script '", "opening '#/// script'", "byte order mark", "key dependancies"]
)
def test_uv_runs_what_vet_refuses_without_the_dependencies(name: str, index: Path, tmp_path: Path) -> None:
    """The reason for these rules: `uv run` exits 0 and the dependency is not there."""
    text = MUTATIONS[name](BASE).replace(
        "import shelfprobe", "import importlib.util as u\nprint(u.find_spec('shelfprobe'))"
    )
    path = tmp_path / "script.py"
    path.write_bytes(text.encode())
    done = subprocess.run([UV, "run", "--quiet", str(path)], capture_output=True, text=True, env=environment(index))
    assert (done.returncode, done.stdout.strip()) == (0, "None")
    assert header_errors(text)
