"""Run a script of the catalogue many times in one process, as importing TRL takes longer than a smoke step.

python one_process.py SCRIPT LINES.json ENDS.json     LINES.json holds command lines, ENDS.json gets how each ended
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
import traceback
from pathlib import Path
from typing import Any


def ended(script: Any, words: list[str]) -> dict[str, Any]:
    """Return the exit code of a command line, and what it said on stderr and stdout."""
    sys.argv = [sys.argv[0], *words]
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        try:
            code = script.main()
        except SystemExit as end:
            code = end.code or 0
        except Exception:  # noqa: BLE001 -- a traceback is what a test looks for
            code = 1
            traceback.print_exc()
    return {"code": code, "said": said.getvalue(), "printed": printed.getvalue()}


def main() -> None:
    path, lines, ends = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("script", path)
    script: Any = importlib.util.module_from_spec(spec)
    sys.modules["script"] = script
    spec.loader.exec_module(script)
    Path(ends).write_text(json.dumps([ended(script, words) for words in json.loads(Path(lines).read_text())]))


if __name__ == "__main__":
    main()
