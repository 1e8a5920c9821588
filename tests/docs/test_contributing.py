"""The five steps of CONTRIBUTING.md, typed one after the other in a fresh clone."""

from __future__ import annotations

import subprocess

import pytest

from docs.checkout import fresh_clone, lines_under

pytestmark = [pytest.mark.heavy, pytest.mark.data, pytest.mark.timeout(900)]


def test_a_script_in_five_steps(environment, tmp_path):
    clone = fresh_clone(tmp_path)
    new, vet, *rest = lines_under("CONTRIBUTING.md", "Add a script in five steps")

    def type_(line: str) -> subprocess.CompletedProcess[str]:
        argv = ["bash", "-c", line]
        return subprocess.run(argv, cwd=clone, env=environment, capture_output=True, text=True, timeout=800)

    made = type_(new)
    assert made.returncode == 0, made.stderr
    assert made.stdout.split() == ["index.json", "catalog/count-words.py", "tests/catalog/test_count_words.py"]
    left = type_(vet)
    assert left.returncode == 1 and "UVS603 2 placeholders of the template are left" in left.stdout

    script = clone / "catalog" / "count-words.py"
    text = script.read_text(encoding="utf-8")
    written = text.replace("    # TODO(jobshelf): find out what you want to know\n", "").replace(
        '    return {"columns": sorted({name for row in rows for name in row})}\n',
        '    return {"words": sum(len(str(value).split()) for row in rows for value in row.values())}\n',
    )
    assert '"words"' in written and "TODO" not in written
    script.write_text(written, encoding="utf-8")

    for line in (vet, *rest):
        done = type_(line)
        assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert len(rest) == 3
    changed = subprocess.run(["git", "status", "--short"], cwd=clone, capture_output=True, text=True).stdout.split("\n")
    assert {line[3:] for line in changed if line} == {
        "index.json",
        "README.md",
        "docs/hardware_guide.md",
        "docs/three_forms.md",
        ".agents/skills/jobshelf/SKILL.md",
        ".agents/skills/jobshelf/references/scripts.md",
        ".agents/skills/jobshelf/references/hardware_guide.md",
        ".agents/skills/jobshelf/references/three_forms.md",
        "catalog/count-words.py",
        "catalog/records/count-words.json",
        "tests/catalog/test_count_words.py",
    }
