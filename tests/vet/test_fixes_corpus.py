"""`--fix` and `--unsafe-fixes` over every script of the repository, and over headers changed by machine: nothing that ran breaks.

After a fix the code is what it was, uv reads the header if it did before, the requirements are the same but for those that a fix is there
to change, and a second run changes nothing.
"""

from __future__ import annotations

import ast
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobshelf.script import Script, parse_script
from jobshelf.vet import Config, vet_scripts
from jobshelf.vet.fixes import Change, mend_script
from jobshelf.vet.imports import holds, normalised, third_party
from jobshelf.vet.resolve import uv_binary
from jobshelf.vet.rule import FixKind
from jobshelf.vet.rules import all_rules
from jobshelf.vet.rules.dependencies import parse_requirement
from jobshelf.vet.subject import Subject
from vet.disguised import DISGUISES

ROOT = Path(__file__).parents[2]
UV = uv_binary()
# The rules that have a fix; every other one is asked in test_fixes.py, on the examples of each rule.
CONFIG = Config(stub=False, select=tuple(code for code, made in all_rules().items() if made.fix is not FixKind.NONE))


def without(text: str, start: str) -> str:
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(start))


def with_setting(text: str, setting: str) -> str:
    return (
        text.replace("# [tool.uv]\n", f"# [tool.uv]\n# {setting}\n", 1)
        if "# [tool.uv]\n" in text
        else text.replace("\n# ///\n", f"\n# [tool.uv]\n# {setting}\n# ///\n", 1)
    )


def listed(text: str, more: str) -> str:
    """Return the script with its dependencies one a line, and `more` below them."""
    header = parse_script(text.encode(), "script.py").header
    if header is None or "dependencies" not in header.table:
        return text
    lines = text.splitlines(keepends=True)
    first = header.line_of("dependencies") - 1
    last = next(number for number in range(first, len(lines)) if lines[number].rstrip().endswith("]"))
    entries = "".join(f"#     {'<q>'.join(('', one, ''))},\n".replace("<q>", '"') for one in header.dependencies)
    return "".join([*lines[:first], f"# dependencies = [\n{entries}{more}# ]\n", *lines[last + 1 :]])


def moved_down(text: str) -> str:
    header = parse_script(text.encode(), "script.py").header
    if header is None:
        return text
    lines = text.splitlines(keepends=True)
    block = lines[header.first_line - 1 : header.last_line]
    return "".join([*lines[: header.first_line - 1], *lines[header.last_line :], *block])


HEADERS = {
    "another opening": lambda text: text.replace("# /// script", "#/// script", 1),
    "a capital": lambda text: text.replace("# /// script", "# /// Script", 1),
    "an old type": lambda text: text.replace("# /// script", "# /// pyproject", 1),
    "a blank behind the opening": lambda text: text.replace("# /// script\n", "# /// script \n", 1),
    "a blank behind the end": lambda text: text.replace("\n# ///\n", "\n# /// \n", 1),
    "no blank behind a hash": lambda text: text.replace("# dependencies", "#dependencies", 1),
    "an empty line inside": lambda text: text.replace("# dependencies", "\n# dependencies", 1),
    "a misspelt key": lambda text: text.replace("# dependencies", "# dependancies", 1),
    "an underscore": lambda text: text.replace("requires-python", "requires_python", 1),
    "no python": lambda text: without(text, "# requires-python"),
    "an exact python": lambda text: text.replace('">=3.11"', '"3.11"', 1),
    "a capped python": lambda text: text.replace('">=3.11"', '">=3.11,<3.13"', 1),
    "no date": lambda text: without(text, "# exclude-newer"),
    "another index": lambda text: with_setting(without(text, "# exclude-newer"), 'index-url = "https://packages.example.org/"'),
    "an index table": lambda text: text.replace("\n# ///\n", '\n# [[tool.uv.index]]\n# url = "https://packages.example.org/"\n# ///\n', 1),
    "one line for each": lambda text: listed(text, ""),
    "an unused one": lambda text: listed(text, '#     "iniconfig>=2,<3",\n'),
    "an unused one, remarked": lambda text: listed(text, '#     "iniconfig>=2,<3",  # of the plugin\n'),
    "an unused one by commit": lambda text: listed(text, f'#     "odd @ git+https://example.org/odd@{"0" * 40}",\n'),
    "an unknown name": lambda text: listed(text, '#     "strange-distribution>=1,<2",\n') + "import of_strange_distribution\n",
    "remote code": lambda text: listed(text, '#     "iniconfig>=2,<3",\n') + "OPTIONS = dict(trust_remote_code=True)\n",
    "an import by value": lambda text: listed(text, '#     "iniconfig>=2,<3",\n') + "def load(name):\n    return __import__(name)\n",
    "below the code": moved_down,
    "other line ends": lambda text: text.replace("\n", "\r\n"),
    "a byte order mark": lambda text: f"\ufeff{text}",
    "an unused suppression": lambda text: text + "# vet: ignore[UVS104] -- not any more\n",
    "a suppression without a reason": lambda text: text + "print()  # vet: ignore[UVS603]\n",
    "a licence in the table": lambda text: without(text, "# SPDX").replace("\n# ///\n", '\n# [tool.jobshelf]\n# license = "MIT"\n# ///\n', 1),
}  # fmt: skip


def written(*patterns: str) -> dict[str, bytes]:
    """Return scripts of the repository by name."""
    paths = [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]
    return {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths}


def made() -> dict[str, bytes]:
    """Return scripts with a header changed by machine, two changes at a time, and one with each disguised defect."""
    sound = {
        name: data.decode()
        for name, data in written("tests/vet/*/good/*.py", "tests/vet/rules/*/good/*.py").items()
        if parse_script(data, name).header and parse_script(data, name).tree
    }
    draw = random.Random(22)
    scripts: dict[str, bytes] = {}
    for change in HEADERS:
        for name in draw.sample(sorted(sound), 6):
            second = draw.choice(sorted(HEADERS))
            text = (
                HEADERS[second](HEADERS[change](sound[name])) if draw.random() < 0.5 else HEADERS[change](sound[name])
            )
            scripts[f"{change} ({second}) in {name}"] = text.encode()
    base = (ROOT / "docs" / "examples" / "dataset.py").read_text()
    for disguise in DISGUISES:
        if changed := disguise.change(base):
            scripts[f"{disguise.name} in dataset.py"] = changed.encode()
    return scripts


SCRIPTS = written("catalog/*.py", "docs/examples/*.py", "tests/vet/wild/*/*.py", "tests/vet/rules/*/bad/*.py") | made()
MODES = pytest.mark.parametrize("unsafe", [False, True], ids=["safe", "unsafe"])


@pytest.fixture(scope="module")
def fixed() -> Callable[[bool], dict[str, tuple[Script, Script, Change]]]:
    """Each script before and after its fixes."""
    done: dict[bool, dict[str, tuple[Script, Script, Change]]] = {}

    def ask(unsafe: bool) -> dict[str, tuple[Script, Script, Change]]:
        if unsafe not in done:
            done[unsafe] = dict(each(unsafe))
        return done[unsafe]

    return ask


def each(unsafe: bool) -> Iterator[tuple[str, tuple[Script, Script, Change]]]:
    for name, data in SCRIPTS.items():
        before = parse_script(data, path_of(name))
        change = mend_script(before, CONFIG, unsafe=unsafe)
        after = before if change.after == change.before else parse_script(change.after.encode(), before.path)
        yield name, (before, after, change)


def path_of(name: str) -> str:
    return name.rpartition(" ")[2]


def test_there_are_enough_scripts_and_fixes(fixed) -> None:
    assert len(SCRIPTS) >= 200
    for unsafe, fewest in ((False, 150), (True, 200)):
        changed = [name for name, (_, _, change) in fixed(unsafe).items() if change.before != change.after]
        assert len(changed) >= fewest
        applied = {one.code for _, _, change in fixed(unsafe).values() for one in change.applied}
        kinds = (FixKind.SAFE, FixKind.UNSAFE) if unsafe else (FixKind.SAFE,)
        # UVS202 pins to a lock file beside the script, of which test_fixes.py has one
        assert applied == {code for code, rule in all_rules().items() if rule.fix in kinds} - {"UVS202"}


@MODES
def test_the_code_is_what_it_was(fixed, unsafe: bool) -> None:
    for name, (before, after, _) in fixed(unsafe).items():
        if before.tree is None:
            assert after.tree is None, name
        else:
            assert after.tree is not None, name
            assert ast.dump(after.tree) == ast.dump(before.tree), name


@MODES
def test_a_header_that_was_read_is_read_and_means_the_same(fixed, unsafe: bool) -> None:
    for name, (before, after, change) in fixed(unsafe).items():
        if before.header is None:
            continue
        assert after.header is not None, name
        kept, now = requirements(before), requirements(after)
        codes = {one.code for one in change.applied}
        if "UVS104" not in codes:  # which gives a misspelt key its meaning
            assert now <= kept, name
            assert now == kept or (unsafe and "UVS206" in codes), name
        assert providers(after) >= providers(before), name
        if unsafe and "UVS105" in codes:
            assert str(after.header.requires_python).startswith(">="), name
        elif "UVS104" not in codes:
            assert after.header.requires_python == before.header.requires_python, name
        if "UVS104" not in codes:
            assert settings(after) - settings(before) <= {"exclude-newer"}, name


@MODES
def test_what_is_imported_and_unclear_keeps_its_dependencies(fixed, unsafe: bool) -> None:
    for name, (before, after, _) in fixed(unsafe).items():
        unclear = ("an unknown name", "remote code", "an import by value", "an unused one, remarked")
        if before.header and name.startswith(unclear) and "UVS104" not in name:
            assert requirements(after) >= requirements(before), name


@MODES
def test_uv_reads_what_it_read(fixed, unsafe: bool, tmp_path: Path) -> None:
    known: dict[bytes, bool] = {}

    def reads(script: Script) -> bool:
        """Ask about the text to the end of the header, which many scripts have in common."""
        start = (
            b"".join(script.data.splitlines(keepends=True)[: script.header.last_line]) if script.header else script.data
        )
        if start not in known:
            known[start] = is_read_by_uv(start, tmp_path)
        return known[start]

    for name, (before, after, _) in fixed(unsafe).items():
        if after is not before and reads(before):
            assert reads(after), name
    assert sum(known.values()) >= 50


@MODES
def test_a_second_run_changes_nothing(fixed, unsafe: bool) -> None:
    for name, (_, after, change) in fixed(unsafe).items():
        if change.after != change.before:
            again = mend_script(after, CONFIG, unsafe=unsafe)
            assert (again.after, again.applied) == (change.after, ()), name


@MODES
def test_every_rule_asked_at_once_agrees(fixed, unsafe: bool) -> None:
    """With all rules of the text, as a person runs them: what is fixed has nothing left to fix, and stays."""
    config = Config(stub=False)
    scripts = [before for before, _, _ in fixed(unsafe).values()]
    fixable = {
        finding.path
        for finding in vet_scripts(scripts[::5], config).findings
        if finding.edits and (unsafe or finding.fix is FixKind.SAFE)
    }
    chosen = [script for script in scripts[::5] if script.path in fixable]
    assert len(chosen) >= 20
    for script in chosen:
        change = mend_script(script, config, unsafe=unsafe)
        after = parse_script(change.after.encode(), script.path)
        assert mend_script(after, config, unsafe=unsafe).after == change.after, script.path
        if script.tree is not None:
            assert after.tree is not None, script.path
            assert ast.dump(after.tree) == ast.dump(script.tree), script.path


def requirements(script: Script) -> set[str]:
    return {written_out(one) for one in script.header.dependencies} if script.header else set()


def written_out(text: str) -> str:
    parsed = parse_requirement(text)
    return str(parsed) if parsed else text


def providers(script: Script) -> set[tuple[str, str]]:
    """Return each imported module with each dependency that holds it."""
    if script.tree is None:
        return set()
    parsed = [one for text in requirements(script) if (one := parse_requirement(text))]
    modules = {one.module for one in third_party(Subject(script=script))}
    return {(module, one.name) for module in modules for one in parsed if holds(normalised(one.name), module)}


def settings(script: Script) -> set[str]:
    return set(script.header.tool("uv")) if script.header else set()


def is_read_by_uv(data: bytes, folder: Path) -> bool:
    """Tell whether uv takes the header: it has to, to find that a dependency which it is to take out is not there."""
    path = folder / "script.py"
    path.write_bytes(data)
    command = [UV, "remove", "--offline", "--no-config", "--script", str(path), "not-there-at-all"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode
    return "`not-there-at-all` could not be found" in done.stderr
