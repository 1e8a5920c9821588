"""What is published beside a model: how its training went."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any


def describe_training(trainer: Any, folder: Path, made: str, run: dict[str, Any]) -> None:
    """Write the log of a training, a plot of it, and the card, which says that the model was `made` by this `run`."""
    from matplotlib.figure import Figure

    passing = ("runtime", "_second", "step_time", "num_tokens")  # what an interrupted training counts otherwise
    log = [
        {key: value for key, value in entry.items() if not key.endswith(passing)}
        for entry in trainer.state.log_history
        if "loss" in entry or "eval_loss" in entry
    ]
    lines = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in log)
    (folder / "training_log.jsonl").write_text(lines, encoding="utf-8")
    measure = "reward" if any("reward" in entry for entry in log) else "loss"
    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    for name in (measure, f"eval_{measure}"):
        points = [(entry["step"], entry[name]) for entry in log if entry.get(name) is not None]
        axes.plot([step for step, _ in points], [value for _, value in points], label=name)
    axes.set(xlabel="step", ylabel=measure)
    axes.legend()
    figure.savefig(folder / f"{measure}.png", metadata={"Software": None})
    base, tags = trainer.model.config._name_or_path, ["uv-script", "jobshelf", *trainer._tag_names]
    library = "peft" if hasattr(trainer.model, "peft_config") else "transformers"
    front = json.dumps({"tags": tags, "base_model": base, "library_name": library})
    used = ", ".join(f"{name} {version(name)}" for name in ("trl", "transformers", "peft", "torch"))
    text = f"---\n{front}\n---\n{made}\n\n```json\n{json.dumps(run, indent=1)}\n```\n\n{used}\n\n![{measure}]({measure}.png)\n"
    (folder / "README.md").write_text(f"{text}\n{evaluation_table(log)}", encoding="utf-8")


def evaluation_table(log: list[dict[str, Any]]) -> str:
    """Return as Markdown what the first and the last evaluation of a log found, if there were any."""
    tested = [entry for entry in log if "eval_loss" in entry]
    if not tested:
        return ""
    first, last = tested[0], tested[-1]
    lines = [f"| evaluated | step {first['step']} | step {last['step']} |", "|---|---|---|"]
    for name, before in sorted(first.items()):  # as in the state of a training that was resumed
        is_shown = name.startswith(("eval_loss", "eval_reward")) and not name.endswith("std")
        if is_shown and None not in (before, after := last.get(name)):
            lines.append(f"| {name[5:]} | {before:.4f} | {after:.4f} |")
    return "\n".join(lines) + "\n"
