"""Run a script of the catalogue several times in one process, with a model that is loaded once.

python one_engine.py SCRIPT '[["in.jsonl", "./out", ...], ...]'     each list is a command line
"""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import Any


def main() -> int:
    spec = importlib.util.spec_from_file_location("script", sys.argv[1])
    script: Any = importlib.util.module_from_spec(spec)
    sys.modules["script"] = script
    spec.loader.exec_module(script)
    start, loaded = script.start_engine, []

    def start_once(args: Any, commit: str | None) -> Any:
        loaded[:] = loaded or [start(args, commit)]
        loaded[0].args = args
        return loaded[0]

    script.start_engine = start_once
    return max(script.main(words) for words in json.loads(sys.argv[2]))


if __name__ == "__main__":
    raise SystemExit(main())
