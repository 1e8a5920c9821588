from __future__ import annotations

import warnings

import pytest

from jobshelf.errors import InputError, ScriptError
from jobshelf.script import parse_script, read_script

GOOD = '''\
#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = [
#   "polars>=2.1,<3",
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# [tool.hf-jobs]
# timeout = "1h"
# ///
"""Count rows

More words.
"""
'''


def parse(text: str):
    return parse_script(text.encode(), "x.py")


def test_a_sound_script_gives_its_header_docstring_and_lines():
    script = parse(GOOD)
    header = script.require()
    assert header.requires_python == ">=3.11"
    assert header.dependencies == ("polars>=2.1,<3",)
    assert header.tool("uv") == {"exclude-newer": "2026-11-20T00:00:00Z"}
    assert (header.first_line, header.last_line) == (2, 12)
    assert script.summary == "Count rows"
    assert script.name == "x"


def test_lines_of_keys_are_file_lines():
    header = parse(GOOD).require()
    assert header.line_of("dependencies") == 4
    assert header.line_of("timeout", table="tool.hf-jobs") == 11
    assert header.line_of("", table="tool.uv") == 8
    assert header.line_of("timeout") == header.first_line  # not at the top level


def test_crlf_lines_are_read_as_uv_reads_them():
    assert parse(GOOD.replace("\n", "\r\n")).require().dependencies == ("polars>=2.1,<3",)


@pytest.mark.parametrize(
    ("text", "line", "found"),
    [
        ("", 1, "an empty file"),
        ("print()\n", 1, "no line that is exactly '# /// script'"),
        ("# /// script \n# dependencies = []\n# ///\n", 1, "no line that is exactly"),
        ("x = 1\n# /// script\n# dependencies = []\nprint()\n", 2, "not closed"),
        ("# /// script\n# dependencies = []\n\n# ///\n", 1, "not closed"),
        ("# /// script\n# dependencies = [\n# 1 2\n# ]\n# ///\n", 3, "not TOML"),
        ("# /// script\n# dependencies = [\n# ///\n", 2, "not TOML"),
        ("# /// script\n#\n# dependencies = 3\n# ///\n", 3, "dependencies that are not a list of strings"),
        ("# /// script\n# requires-python = 3.11\n# ///\n", 2, "requires-python = 3.11"),
        ("# /// script\n# tool = 1\n# ///\n", 2, "a 'tool' entry that is no table"),
        ("# /// script\n# ///\n\n# /// script\n# ///\n", 4, "a second header (the first is on line 1)"),
        ("# /// script\n# dependencies = []\n# ///\ndef f(:\n", 4, "a syntax error"),
        ("# /// script\n# ///\nx = '\0'\n", 1, "a syntax error"),
    ],
)
def test_a_problem_names_the_file_line_and_what_was_found(text: str, line: int, found: str):
    script = parse(text)
    assert script.problems[0].line == line
    assert found in script.problems[0].found
    with pytest.raises(ScriptError) as caught:
        script.require()
    assert str(caught.value).startswith(f"x.py:{line}: found ")
    assert "Fix: " in str(caught.value)


def test_bytes_that_are_not_utf8_are_a_problem_with_their_line():
    script = parse_script(b"# ok\n# \xff\n", "x.py")
    assert script.problems[0].line == 2
    assert "0xff" in script.problems[0].found


def test_the_last_closing_line_of_a_run_of_comments_closes():
    text = "# /// script\n# dependencies = [\n# '# ///',\n# ///\n# ]\n# ///\n"
    assert "not TOML" in parse(text).problems[0].found


def test_what_the_parser_only_warns_of_is_neither_shown_nor_a_problem():
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # DeprecationWarning until 3.11, SyntaxWarning from 3.12
        script = parse_script(GOOD.encode() + b"x = '\\d'\n", "count.py")
    assert script.tree is not None
    assert script.problems == ()


def test_a_file_that_is_not_there_is_an_input_error(tmp_path):
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_script(tmp_path / "none.py")
