"""Run a trainer of the catalogue in the environment of its header, many times in one process.

python one_trainer.py SCRIPT runs '[["in.jsonl", "./out", ...], ...]'    exit code, stdout and stderr of each command line
python one_trainer.py SCRIPT plain {"lora": {...}, ...}     the losses of a plain script with TRL's SFTTrainer
python one_trainer.py SCRIPT options                                      each option of TRL: what became of it
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import sys
from typing import Any


def load(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("script", path)
    script: Any = importlib.util.module_from_spec(spec)
    sys.modules["script"] = script
    spec.loader.exec_module(script)
    return script


def run(script: Any, words: list[str]) -> dict[str, Any]:
    """Return how a command line ended."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = script.main(words)
        except SystemExit as left:
            code = left.code
    said = [line for line in err.getvalue().splitlines() if line.startswith("error: ")]
    return {"code": code, "printed": out.getvalue(), "said": said[-1] if said else err.getvalue()[-2000:]}


def plain(*, rows: str, model: str, config: dict[str, Any], lora: dict[str, Any] | None) -> list[float]:
    """Return the losses of a training as TRL's documentation writes it."""
    from datasets import load_dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    with contextlib.redirect_stdout(io.StringIO()):
        trainer = SFTTrainer(
            model,
            args=SFTConfig(use_cpu=True, bf16=False, report_to="none", save_strategy="no", logging_steps=1, **config),
            train_dataset=load_dataset("json", data_files=rows, split="train"),
            peft_config=LoraConfig(task_type="CAUSAL_LM", bias="none", **lora) if lora else None,
        )
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def options(script: Any) -> dict[str, str]:
    """Return, for each option of TRL, "" or why a value of its kind is refused."""
    from trl import ModelConfig, ScriptArguments, SFTConfig, TrlParser

    found = {}
    for action in TrlParser([ScriptArguments, SFTConfig, ModelConfig], add_help=False)._actions:
        value = next(iter(action.choices or ()), None) or {"string_to_bool": "true", "int": "1", "float": "0.1"}.get(
            getattr(action.type, "__name__", "") or "", "1" if "int" in repr(action.type) else "x"
        )
        words = [action.option_strings[-1], *([] if action.nargs == 0 else [str(getattr(value, "value", value))])]
        ended = run(script, ["./rows.jsonl", "./out", "--model", "./none", *words])
        found[action.option_strings[0]] = ended["said"]
    return found


def main() -> int:
    script, kind, rest = load(sys.argv[1]), sys.argv[2], sys.argv[3:]
    if kind == "runs":
        result: Any = [run(script, words) for words in json.loads(rest[0])]
    elif kind == "plain":
        result = {name: plain(**given) for name, given in json.loads(rest[0]).items()}
    else:
        result = options(script)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
