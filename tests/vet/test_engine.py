"""The engine: what is asked, in what order, what is suppressed, and what fails a run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobshelf.errors import InputError, UsageError
from jobshelf.script import parse_script
from jobshelf.testing import vet_text
from jobshelf.vet import Config, Profile, Report, collect, load_config, vet_scripts, vet_targets
from jobshelf.vet.rule import Severity, Tier
from jobshelf.vet.rules import all_rules

HEADER = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["polars"]\n# ///\n'
BARE = f"{HEADER}import polars\n"


def codes(report: Report) -> set[str]:
    return {finding.code for finding in report.findings}


def test_select_and_ignore_are_prefixes() -> None:
    assert codes(vet_text(BARE, select=["UVS2"])) == {"UVS202", "UVS203"}
    assert codes(vet_text(BARE, select=["UVS2"], ignore=["UVS203"])) == {"UVS202"}
    assert codes(vet_text(BARE, select=["UVS203"])) == {"UVS203"}


def test_who_is_asked_what() -> None:
    """By what a script is: a plain one has no finding, a command line and a user of the Hub have theirs."""
    plain = '# /// script\n# requires-python = ">=3.11"\n# dependencies = ["polars"]\n# ///\nimport polars\n\nprint(polars)\n'
    command = plain + "import argparse\n\nargparse.ArgumentParser().parse_known_args()\n"
    hub = (
        plain
        + "from huggingface_hub import HfApi\n\nHfApi().upload_file(path_or_fileobj='x', path_in_repo='x', repo_id='a/b')\n"
    )
    job = plain.replace("# ///\n", '# [tool.hf-jobs]\n# flavour = "cpu-basic"\n# ///\n')
    assert codes(vet_text(plain)) == set()
    assert codes(vet_text(plain, profile=Profile.STRICT)) >= {"UVS202", "UVS203", "UVS301", "UVS303", "UVS503"}
    assert codes(vet_text(command)) == {"UVS902"}
    assert codes(vet_text(hub)) == {"UVS206", "UVS405"}
    assert codes(vet_text(hub, profile=Profile.STRICT)) >= {"UVS206", "UVS404", "UVS405"}
    assert codes(vet_text(job)) == {"UVS601"}
    shelved = plain.replace("# ///\n", '# [tool.jobshelf]\n# version = "1.0"\n# ///\n', 2)
    assert codes(vet_text(shelved)) >= {"UVS202", "UVS301", "UVS601"}


@pytest.mark.parametrize(
    ("dependencies", "imports", "reason"),
    [
        ('"trl"', "import torch", "'trl' brings it along"),
        ('"trl[vllm]"', "from PIL import Image", "'vllm' brings it along"),
        ('"one @ git+https://example.org/one.git"', "import another", "'one' may bring it"),
    ],
)
def test_a_dependency_that_another_brings_concerns_the_shelf(dependencies: str, imports: str, reason: str) -> None:
    text = f'# /// script\n# requires-python = ">=3.11"\n# dependencies = [{dependencies}]\n# ///\n{imports}\n'
    assert "UVS206" not in codes(vet_text(text, stub=False))
    (finding,) = (
        one
        for one in vet_text(text, stub=False, profile=Profile.STRICT).findings
        if one.code == "UVS206" and "imported, but" in one.message
    )
    assert reason in finding.message
    assert finding.severity is Severity.WARNING


def test_the_fix_names_the_distribution_and_not_the_module() -> None:
    text = '# /// script\n# requires-python = ">=3.11"\n# dependencies = []\n# ///\nimport PIL\n'
    (finding,) = vet_text(text, select=["UVS206"]).findings
    assert finding.advice.endswith('"pillow"')


def test_a_rule_is_not_asked_after_one_that_it_requires_found_an_error() -> None:
    invalid = BARE.replace('"polars"', '"polars", "a b"')
    assert codes(vet_text(invalid, select=["UVS201", "UVS202"])) == {"UVS201"}
    assert codes(vet_text(invalid, select=["UVS202"])) == set()


def test_rules_for_the_shelf_look_only_at_scripts_that_want_to_be_there() -> None:
    assert "UVS602" not in codes(vet_text(BARE, path="Capital.py", stub=False))
    assert "UVS602" in codes(vet_text(BARE, path="Capital.py", stub=False, profile=Profile.NEW))
    mine = BARE.replace("# ///\n", '# [tool.jobshelf]\n# title = "x"\n# ///\n')
    assert "UVS602" in codes(vet_text(mine, path="Capital.py", stub=False))


@pytest.mark.parametrize(
    ("severity", "profile", "passes"),
    [
        ("error", Profile.DEFAULT, False),
        ("warning", Profile.DEFAULT, True),
        ("warning", Profile.NEW, False),
        ("warning", Profile.STRICT, False),
        ("hint", Profile.NEW, True),
        ("hint", Profile.STRICT, True),
    ],
)
def test_what_blocks_depends_on_the_profile(severity: str, profile: Profile, passes: bool) -> None:
    dependency = {"error": "vllm", "warning": "vllm>=0.11", "hint": "vllm>=0.11,<1"}[severity]
    report = vet_text(BARE.replace("polars", dependency, 1), select=["UVS202"], profile=profile)
    hidden = severity == "hint" and profile is Profile.STRICT
    assert [finding.severity for finding in report.findings] == ([] if hidden else [Severity(severity)])
    assert report.passed is passes
    assert report.exit_code == (0 if passes else 1)


def test_something_undecided_is_not_a_pass_where_a_pass_is_needed() -> None:
    newer = BARE.replace("3.11", "3.14") + "match = t'{polars}'\n"
    default, strict = (vet_text(newer, select=["UVS106"], profile=p) for p in (Profile.DEFAULT, Profile.STRICT))
    if sys.version_info < (3, 14):
        assert [one.code for one in default.inconclusive] == ["UVS106"]
        assert (default.exit_code, strict.exit_code) == (0, 1)
    else:
        assert default.inconclusive == ()


def test_a_suppression_covers_its_line_and_one_on_its_own_line_the_script() -> None:
    on_line = BARE.replace('["polars"]', '["polars"]  # vet: ignore[UVS202] -- the newest is meant')
    assert codes(vet_text(on_line, select=["UVS202", "UVS604"])) == set()
    elsewhere = BARE + "print(1)  # vet: ignore[UVS202] -- on another line\n"
    assert codes(vet_text(elsewhere, select=["UVS202", "UVS604"])) == {"UVS202", "UVS604"}
    whole = BARE + "# vet: ignore[UVS202] -- the newest is meant\n"
    assert codes(vet_text(whole, select=["UVS202", "UVS604"])) == set()


def test_a_security_rule_cannot_be_suppressed_in_a_script() -> None:
    security = next(made for made in all_rules().values() if made.security and made.tier is Tier.STATIC)
    example = security.examples("Example")[0].source
    suppressed = f"{example}\n# vet: ignore[{security.code}] -- trust me\n"
    assert codes(vet_text(suppressed, select=[security.code, "UVS604"])) == {security.code, "UVS604"}


def test_a_suppression_of_a_rule_that_did_not_run_is_not_called_unused() -> None:
    stub = next(made.code for made in all_rules().values() if made.tier is Tier.STUB)
    source = f"{BARE}# vet: ignore[{stub}] -- decided by the stub run\n"
    assert codes(vet_text(source, select=["UVS604"], stub=False)) == set()
    skipped = BARE.replace('"polars"', '"a b"') + "# vet: ignore[UVS202] -- asked once the dependency is valid\n"
    assert codes(vet_text(skipped, select=["UVS201", "UVS604"])) == {"UVS201"}


def test_a_noqa_comment_suppresses_nothing_here() -> None:
    source = f"{BARE}try:\n    polars.read_csv('x')\nexcept Exception:  # noqa: BLE001, S110\n    pass\n"
    assert codes(vet_text(source, select=["UVS306"])) == {"UVS306"}


def test_findings_are_the_same_in_one_process_and_in_many(tmp_path: Path) -> None:
    for number in range(150):
        text = BARE if number % 2 else BARE.replace("# ///\n", "# /// \n")
        (tmp_path / f"s{number:03}.py").write_text(text + f"import module{number}\n")
    targets = collect([str(tmp_path)])
    config = Config(stub=False)
    many = vet_targets(targets, config)
    single = vet_scripts([parse_script(Path(one.path).read_bytes(), one.path) for one in targets], config)
    assert many.findings == single.findings
    assert len(many.paths) == 150
    assert list(many.findings) == sorted(many.findings, key=lambda one: (one.path, one.line, one.column, one.code))


def test_the_configuration_is_read_from_pyproject(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text(
        '[tool.jobshelf.vet]\nselect = ["UVS2"]\nignore = ["UVS203"]\n[tool.jobshelf.vet.per-file-ignores]\n"old/*" = ["UVS202"]\n'
    )
    (tmp_path / "old").mkdir()
    for folder in (tmp_path, tmp_path / "old"):
        (folder / "script.py").write_text(BARE)
    monkeypatch.chdir(tmp_path)
    report = vet_targets(collect(["."]), load_config(stub=False))
    assert [(finding.path, finding.code) for finding in report.findings] == [("script.py", "UVS202")]
    chosen = vet_targets(collect(["old"]), load_config(stub=False, select=["UVS203", "UVS202"]))
    assert codes(chosen) == set()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('selct = ["UVS2"]', "unknown key 'selct'"),
        ('select = "UVS2"', "not a list of codes"),
        ("per-file-ignores = 3", "per-file-ignores is no table"),
        ("select = [", "is not TOML"),
    ],
)
def test_a_wrong_configuration_is_refused(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "pyproject.toml").write_text(f"[tool.jobshelf.vet]\n{table}\n")
    with pytest.raises(InputError, match=message):
        load_config(tmp_path)


def test_a_code_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--select names 'E501'"):
        load_config(tmp_path, select=["E501"])


def test_importing_the_linter_imports_nothing_heavy() -> None:
    heavy = {
        "jinja2",
        "rich",
        "pydantic",
        "huggingface_hub",
        "copier",
        "starlette",
        "multiprocessing",
        "urllib.request",
    }
    program = "import sys, jobshelf.vet, jobshelf.vet.rules as r; r.all_rules(); print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert heavy & set(done.stdout.split()) == set()
