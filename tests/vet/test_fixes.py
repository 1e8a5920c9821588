"""Fixes: what they mend passes, the code outside the header stays, and a second run changes nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobshelf.errors import UsageError
from jobshelf.script import parse_script
from jobshelf.vet import Config, Target, vet_scripts
from jobshelf.vet.fixes import mend, mend_script, why_no_diff, write
from jobshelf.vet.rule import FixKind
from jobshelf.vet.rules import all_rules
from jobshelf.vet.wheels import wheel_of

RULES = Path(__file__).parent / "rules"
STATIC = Config(stub=False)
BASE = """\
# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3"]
# ///
import polars
"""


def bad_fixtures() -> list[Path]:
    return [path for code in all_rules() for path in sorted((RULES / code / "bad").glob("*.py"))]


def mended(source: str | bytes, *, unsafe: bool = False, select: tuple[str, ...] = (), path: str = "script.py") -> str:
    data = source if isinstance(source, bytes) else source.encode()
    return mend_script(parse_script(data, path), Config(stub=False, select=select), unsafe=unsafe).after


@pytest.mark.parametrize("path", bad_fixtures(), ids=lambda path: f"{path.parts[-3]}-{path.stem}")
@pytest.mark.parametrize("unsafe", [False, True], ids=["safe", "unsafe"])
def test_what_a_fix_mended_passes_and_stays(path: Path, unsafe: bool) -> None:
    change = mend_script(parse_script(path.read_bytes(), path.name), STATIC, unsafe=unsafe)
    again = parse_script(change.after.encode(), path.name)
    if change.before != change.after:
        left = [
            one for one in vet_scripts([again], STATIC).findings if one.edits and (unsafe or one.fix is FixKind.SAFE)
        ]
        assert left == []
    assert mend_script(again, STATIC, unsafe=unsafe).after == change.after
    if not unsafe and again.tree is not None:
        assert ast.dump(again.tree) == ast.dump(ast.parse(change.before.removeprefix("\ufeff")))


@pytest.mark.parametrize(
    "broken",
    [
        BASE.replace("# /// script", "#/// script"),
        BASE.replace("# /// script", "# /// script "),
        BASE.replace("# /// script", "# /// Script"),
        BASE.replace("# ///\n", "#///\n").replace("# /// script", "#/// script"),
        "\ufeff" + BASE,
        BASE.replace("# dependencies", "\n# dependencies"),
        BASE.replace("# dependencies", "#dependencies"),
        BASE.replace("# ///\n", "# /// \n"),
        BASE.replace("dependencies", "dependancies"),
        BASE.replace("requires-python", "requires_python"),
    ],
)
def test_a_malformed_header_becomes_the_sound_one(broken: str) -> None:
    result = mended(broken, select=("UVS1",))
    assert result.replace("#\n", "") == BASE
    assert mended(broken.replace("\n", "\r\n"), select=("UVS1",)).replace("#\r\n", "") == BASE.replace("\n", "\r\n")


def test_a_header_below_code_is_moved_up_and_the_licence_stays_first() -> None:
    header, code = BASE[: BASE.index("import")], '"""Count."""\nimport polars\n'
    source = f"# SPDX-License-Identifier: MIT\n{code}{header}"
    assert mended(source, select=("UVS102",)) == f"# SPDX-License-Identifier: MIT\n\n{header}{code}"


def test_a_missing_date_is_stamped_into_the_table_that_is_there() -> None:
    result = mended(BASE.replace("# ///\n", '# [tool.uv]\n# resolution = "highest"\n# ///\n'), select=("UVS203",))
    assert '# [tool.uv]\n# exclude-newer = "20' in result
    assert result.count("[tool.uv]") == 1
    assert mended(BASE, select=("UVS203",)).count("[tool.uv]") == 1


def test_a_safe_fix_that_would_change_a_string_is_not_applied() -> None:
    header = BASE[: BASE.index("import")].replace("dependencies", "dependancies")
    source = f'"""Count.\n\n{header}"""\nimport polars\n'
    assert mended(source) == source
    assert mended(source, unsafe=True) == source


def test_no_bound_is_guessed() -> None:
    source = BASE.replace("polars>=2.1,<3", "polars>=2.1")
    assert mended(source, select=("UVS202",), unsafe=True) == source


def test_no_date_is_set_where_an_index_may_know_no_upload_times() -> None:
    dateless = BASE.replace('# exclude-newer = "2026-11-01T00:00:00Z"\n', "")
    assert "exclude-newer" in mended(dateless, select=("UVS203",))
    other = dateless.replace("# ///\n", '# [[tool.uv.index]]\n# url = "https://example.org/wheels"\n# ///\n')
    assert mended(other, select=("UVS203",)) == other


def test_nothing_is_taken_out_while_an_import_is_unexplained() -> None:
    listed = BASE.replace('["polars>=2.1,<3"]', '[\n#     "polars>=2.1,<3",\n#     "requests>=2,<3",\n# ]')
    for reason in ("import unheard_of\n", "load(trust_remote_code=True)\n"):
        assert mended(listed + reason, select=("UVS206",), unsafe=True) == listed + reason


def test_a_bare_dependency_is_pinned_to_the_lock_beside_the_script(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(BASE.replace("polars>=2.1,<3", "polars"))
    (tmp_path / "script.py.lock").write_text('version = 1\n[[package]]\nname = "polars"\nversion = "2.1.4"\n')
    assert '"polars==2.1.4"' in mended(path.read_bytes(), select=("UVS202",), unsafe=True, path=str(path))


def test_an_unused_dependency_on_its_own_line_is_taken_out() -> None:
    listed = BASE.replace('["polars>=2.1,<3"]', '[\n#     "polars>=2.1,<3",\n#     "requests>=2,<3",\n# ]')
    assert mended(listed, select=("UVS206",), unsafe=True) == listed.replace('#     "requests>=2,<3",\n', "")


LISTED = BASE.replace('["polars>=2.1,<3"]', '[\n#     "polars>=2.1,<3",\n#     "requests>=2,<3",\n# ]')


@pytest.mark.parametrize(
    "reason",
    [
        "try:\n    import unheard_of\nexcept ImportError:\n    unheard_of = None\n",
        "import importlib\nimportlib.import_module(input())\n",
        "__import__(input())\n",
        "from google.unheard_of import thing\n",
    ],
    ids=["optional", "by value", "by dunder", "namespace"],
)
def test_nothing_is_taken_out_while_an_import_may_be_of_any_package(reason: str) -> None:
    assert mended(LISTED, select=("UVS206",), unsafe=True) == BASE.replace(
        '["polars>=2.1,<3"]', '[\n#     "polars>=2.1,<3",\n# ]'
    )
    assert mended(LISTED + reason, select=("UVS206",), unsafe=True) == LISTED + reason


def test_what_remote_code_may_need_is_not_advised_away() -> None:
    source = LISTED + "load(trust_remote_code=True)\n"
    report = vet_scripts([parse_script(source.encode(), "script.py")], Config(stub=False, select=("UVS206",)))
    (finding,) = report.findings
    assert finding.edits == ()
    assert "trust_remote_code" in finding.advice
    assert "remove" not in finding.advice


@pytest.mark.parametrize(
    ("dependency", "module"), [("openai-agents", "agents"), ("umap-learn", "umap"), ("trl[peft]", "peft")]
)
def test_a_dependency_of_another_name_stays(dependency: str, module: str) -> None:
    source = BASE.replace("polars>=2.1,<3", f"{dependency}>=0.1,<3").replace("polars", module)
    for line in (source, source.replace(f'["{dependency}>=0.1,<3"]', f'[\n#     "{dependency}>=0.1,<3",\n# ]')):
        assert mended(line, select=("UVS206",), unsafe=True) == line


def wheel_in_cache(cache: Path, name: str, files: dict[str, str], requires: tuple[str, ...] = ()) -> None:
    """Put a wheel into uv's cache as uv does: unpacked in an archive, to which a link with its name and version leads."""
    archive = cache / "archive-v0" / f"id-of-{name}"
    about = archive / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "RECORD").write_text("".join(f"{file},sha256=x,1\n" for file in (*files, f"{about.name}/METADATA")))
    lines = "".join(f"Requires-Dist: {one}\n" for one in requires)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n{lines}")
    place = cache / "wheels-v6" / "pypi" / name
    place.mkdir(parents=True)
    (place / "1.0-py3-none-any").symlink_to(archive)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    wheel_of.cache_clear()
    yield tmp_path / "cache"
    wheel_of.cache_clear()


def test_a_wheel_in_uvs_cache_says_which_modules_it_holds(cache: Path) -> None:
    record = {
        "odd/__init__.py": "",
        "odd_single.py": "",
        "_odd.cpython-311-x86_64-linux-gnu.so": "",
        "shared/part/__init__.py": "",
    }
    wheel_in_cache(cache, "strange-name", record, requires=("other-name>=1", "extra-name; extra == 'more'"))
    wheel = wheel_of("strange-name")
    assert wheel is not None
    assert wheel.modules == {"odd", "odd_single", "_odd", "shared.part"}
    assert wheel.holds("odd.inner")
    assert wheel.holds("shared.part")
    assert not wheel.holds("shared")
    assert not wheel.holds("shared.other")
    assert wheel.brings() == {"other-name"}
    assert wheel.brought_by("more") == {"extra-name"}
    assert wheel_of("not-there") is None


def test_a_dependency_whose_wheel_holds_the_import_is_used(cache: Path) -> None:
    source = LISTED.replace("requests>=2,<3", "strange-name[more]>=1,<2")
    used = source + "import odd.inner\nimport extra_name\n"
    assert mended(used, select=("UVS206",), unsafe=True) == used
    assert codes(used) == ["UVS206"] * 3, "nothing is known of it yet"
    wheel_of.cache_clear()
    wheel_in_cache(cache, "strange-name", {"odd/__init__.py": ""}, requires=("extra-name; extra == 'more'",))
    assert codes(used) == []
    assert mended(used, select=("UVS206",), unsafe=True) == used
    assert "strange-name" not in mended(source, select=("UVS206",), unsafe=True)


def codes(source: str) -> list[str]:
    report = vet_scripts([parse_script(source.encode(), "script.py")], Config(stub=False, select=("UVS206",)))
    return [finding.code for finding in report.findings]


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (BASE, "no fixes: nothing was found"),
        (BASE + "import undeclared_one\n", "no fixes: what was found has to be corrected by hand"),
        (LISTED, "no safe fixes; --unsafe-fixes would also apply those of UVS206"),
        (
            BASE[: BASE.index("import")].replace("dependencies", "dependancies").join(('"""Count.\n\n', '"""\n')),
            "no fixes: that of UVS104 would change the code, and has to be made by hand",
        ),
    ],
    ids=["nothing found", "by hand", "unsafe only", "would change the code"],
)
def test_a_diff_that_is_empty_is_explained(source: str, why: str, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(source)
    result = mend([Target(path=str(path))], Config(stub=False, select=("UVS104", "UVS206")))
    assert result.changes == ()
    assert why_no_diff(result) == why


def test_unused_suppressions_are_removed_and_used_ones_stay() -> None:
    used = 'print("TODO(jobshelf)")  # vet: ignore[UVS603] -- prints the mark\n'
    both = used.replace("[UVS603]", "[UVS603, UVS104]")
    unused = "# vet: ignore[UVS104] -- nothing to see\nprint(1)  # vet: ignore[UVS603] -- nor here\n"
    assert mended(BASE + both + unused, select=("UVS604",)) == f"{BASE}{used}print(1)\n"


def test_a_suppression_that_a_rule_needs_stays_whichever_rules_are_asked() -> None:
    swallowed = "try:\n    print(1)\nexcept:  # vet: ignore[UVS306] -- the next line must run\n    pass\n"
    listed = LISTED.replace('"requests>=2,<3",', '"requests>=2,<3",  # vet: ignore[UVS206] -- the model needs it')
    named = BASE + "print(2)  # vet: ignore[UVS603] -- an example\n# vet: ignore[UVS602] -- called so for years\n"
    for source in (BASE + swallowed, listed):
        for select in ((), ("UVS604",), ("UVS6",)):
            assert mended(source, select=select) == source
            assert mended(source, select=select, unsafe=True) == source
    ignoring = Config(stub=False, ignore=("UVS306",))
    assert mend_script(parse_script((BASE + swallowed).encode(), "script.py"), ignoring).after == BASE + swallowed
    assert "UVS602" in mended(named, path="polars.py"), "a name that --new refuses"
    assert "UVS603" not in mended(named, path="polars.py")


def test_the_licence_of_the_table_becomes_the_first_line() -> None:
    source = "#!/usr/bin/env python\n" + BASE.replace("# ///\n", '# [tool.jobshelf]\n# license = "MIT"\n# ///\n')
    assert mended(source, select=("UVS503",)).splitlines()[:2] == [
        "#!/usr/bin/env python",
        "# SPDX-License-Identifier: MIT",
    ]


def test_mend_reports_what_is_left_and_write_keeps_the_permissions(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text(BASE.replace("# /// script", "#/// script") + "import requests\n")
    path.chmod(0o755)
    result = mend([Target(path=str(path))], Config(stub=False, select=("UVS1", "UVS206")))
    assert "UVS206" in {one.code for one in result.report.findings}
    assert "UVS101" not in {one.code for one in result.report.findings}
    assert "-#/// script\n+# /// script\n" in result.changes[0].diff()
    assert path.read_text().startswith("#/// script")
    write(result.changes)
    assert path.read_text().startswith("# /// script\n")
    assert path.stat().st_mode & 0o777 == 0o755
    assert [file.name for file in tmp_path.iterdir()] == ["script.py"]


def test_a_url_cannot_be_fixed() -> None:
    with pytest.raises(UsageError, match="cannot be fixed in place"):
        mend([Target(path="https://example.org/x.py", data=b"")], STATIC)
