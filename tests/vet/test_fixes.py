"""Fixes: what they mend passes, the code outside the header stays, and a second run changes nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from jobshelf.errors import UsageError
from jobshelf.script import parse_script
from jobshelf.vet import Config, Target, vet_scripts
from jobshelf.vet.fixes import mend, mend_script, write
from jobshelf.vet.rule import FixKind
from jobshelf.vet.rules import all_rules

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


def test_unused_suppressions_are_removed_and_used_ones_stay() -> None:
    used = 'print("TODO(jobshelf)")  # vet: ignore[UVS603] -- prints the mark\n'
    both = used.replace("[UVS603]", "[UVS603, UVS104]")
    unused = "# vet: ignore[UVS104] -- nothing to see\nprint(1)  # vet: ignore[UVS603] -- nor here\n"
    assert mended(BASE + both + unused, select=("UVS604",)) == f"{BASE}{used}print(1)\n"


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
