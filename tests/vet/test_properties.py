"""Properties: no text makes vet crash; fixing twice is fixing once, keeps the code, and what it fixed passes."""

from __future__ import annotations

import ast
import json

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobshelf.script import parse_script
from jobshelf.vet import Config, vet_scripts
from jobshelf.vet.fixes import mend_script
from jobshelf.vet.report import FORMATS, render
from jobshelf.vet.rule import FixKind

STATIC = Config(stub=False)
# Pieces that headers, suppressions, fences and code are made of; most orders of them are malformed.
PIECES = st.sampled_from(
    [
        "# /// script", "#/// script", "# /// script ", "# /// Script", "# ///", "#///", "# /// ", "#", "", "\ufeff", "\x00", "\x0c",
        '# requires-python = ">=3.11"', '# requires-python = "3.11"', '# requires_python = ">=3.8"', '# requires-python = ">=9"',
        '# dependencies = ["polars>=2.1,<3"]', '# dependencies = ["polars"]', '# dependancies = ["x"]', '#dependencies = ["x>1"]',
        '# dependencies = ["a b", "json", "x @ git+https://e.org/x", "é"]', "# dependencies = [", '#     "requests>=2",', "# ]",
        "# [tool.uv]", '# exclude-newer = "2026-01-01"', '# exclude_newer = "x"', "# [tool.jobshelf]", "# tool = 3", "# [[tool.uv.index]]",
        '# license = "MIT"', "# aliases = [3]", "# [tool.hf-jobs]", "# secrets = 3", "# SPDX-License-Identifier: MIT", "#!/usr/bin/env python",
        '"""A docstring.', '"""', "'''", "import polars", "import requests, é", "from . import x", "import sys; sys.path[0] = __file__",
        "def main(argv=None):", "    return 0", "    try:", "    except Exception:", "        pass", "print({{ name }})", "@{ x }@", "\ud800"[:0],
        "# vet: ignore[UVS104] -- reason", "x = 1  # vet: ignore[UVS603,UVS104]", "# vet: ignore", "# vet: ignore[", "TODO(jobshelf)",
        "raise SystemExit(main())", "if True:", "é = '\u2028'", "f'{x!r:{y}}'",
        "push_to_hub(token='hf_abc')", "x = (", ")", "\t", "async def f(): await x", "match x:", "    case {**rest}: pass", "type X[T] = T",
    ]
)  # fmt: skip
ENDS = st.sampled_from(["\n", "\r\n", "\n\n", "\r"])
SCRIPTS = st.lists(st.tuples(PIECES, ENDS), max_size=25).map(lambda parts: "".join(text + end for text, end in parts))
ANY = st.one_of(SCRIPTS, st.text(max_size=200), st.tuples(SCRIPTS, st.text(max_size=30), SCRIPTS).map("".join))
relaxed = settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


@relaxed
@given(ANY.map(encoded) | st.binary(max_size=300))
def test_no_bytes_make_vet_crash(data: bytes) -> None:
    report = vet_scripts([parse_script(data, "script.py")], STATIC)
    assert report.findings or data
    for finding in report.findings:
        assert 1 <= finding.line <= data.count(b"\n") + data.count(b"\r") + 1 + data.count(b"\x0c")
        assert finding.message.isprintable()
        assert finding.column >= 1
    for form in FORMATS:
        assert "\x1b" not in render(report, form)
    assert json.loads(render(report, "json"))["version"] == 1


@relaxed
@given(ANY.map(encoded), st.booleans())
@example(b"#/// script\r#/// script\n# /// script\n# ///\n# vet: ignore[UVS104] -- reason\n\n", False)
@example(b"x = 1\r# vet: ignore[UVS104] -- reason", False)
def test_fixing_is_idempotent_keeps_the_code_and_holds(data: bytes, unsafe: bool) -> None:
    script = parse_script(data, "script.py")
    change = mend_script(script, STATIC, unsafe=unsafe)
    fixed = parse_script(change.after.encode(), "script.py")
    assert mend_script(fixed, STATIC, unsafe=unsafe).after == change.after
    if script.tree is not None and not unsafe:
        assert fixed.tree is not None
        assert ast.dump(fixed.tree) == ast.dump(script.tree)
    if change.applied:
        fixable = [one for one in vet_scripts([fixed], STATIC).findings if one.edits and one.fix is FixKind.SAFE]
        assert fixable == []
