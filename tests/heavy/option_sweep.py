"""Give a trainer each option of TRL, one at a time: `python option_sweep.py SCRIPT DPOConfig`.

Prints how many it takes, and those that it takes otherwise than TRL's own parser does: none.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import io
import json
import sys
from collections.abc import Callable
from typing import Any

ON_CPU = ["--output_dir", "out", "--use_cpu", "true", "--bf16", "false"]
NEEDED = ["--model_name_or_path", "model", "--hub_model_id", "alice/out"]


def values_for(action: argparse.Action) -> list[str]:
    """Return values to try: the option takes one of them, unless it needs another option beside it."""
    if action.choices:
        return [str(choice) for choice in action.choices if choice != action.default]
    if isinstance(action.default, bool):
        return [str(not action.default).lower()]
    return ["3", "0.3", "true", "steps", '{"use_reentrant": true}', '{"split_batches": true}', "gloo"]


def outcome(parse: Callable[[list[str]], Any], words: list[str], name: str) -> str:
    """Return what the option is after parsing, or "refused"."""
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        try:
            return next(repr(getattr(part, name)) for part in parse(words) if hasattr(part, name))
        except (SystemExit, ValueError, TypeError, ImportError, AttributeError, OSError):
            return "refused"


def main() -> None:
    import trl

    path, config = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("script", path)
    script: Any = importlib.util.module_from_spec(spec)
    sys.modules["script"] = script
    spec.loader.exec_module(script)
    script.require_write = lambda *_: None
    script.find_spec = lambda _: True  # which packages this machine has is no matter of parsing
    kinds = (getattr(trl, config), trl.ModelConfig)

    def ours(words: list[str]) -> Any:
        args = script.trainer_arguments(["rows", "./out", *NEEDED, *words], "")
        script.read_options(args)
        return args.config, args.model

    def theirs(words: list[str]) -> Any:
        return trl.TrlParser(kinds).parse_args_and_config([*ON_CPU, *NEEDED, *words])

    found: dict[str, list[str]] = {"accepted": [], "refused": [], "different": []}
    for action in trl.TrlParser(kinds)._actions:
        option = action.option_strings[0]
        if option in {"-h", "--output_dir"}:
            continue
        for value in [[one] for one in values_for(action)] if action.nargs != 0 else [[]]:
            if (expected := outcome(theirs, [option, *value], action.dest)) != "refused":
                break
        got = {outcome(ours, [spelt, *value], action.dest) for spelt in (option, option.replace("_", "-"))}
        same = "refused" if expected == "refused" else "accepted"
        kind = same if got == {expected} else "different"
        found[kind].append(f"{' '.join([option, *value])}: {expected}, here {', '.join(sorted(got))}")
    print(json.dumps(found))


if __name__ == "__main__":
    main()
