"""The end of a training: what was learned goes to its place."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from .publish_model import publish_model


def publish_training(trainer: Any, folder: Path, output: Any, card: str) -> None:
    """Publish model and tokenizer from `folder`, the log, a plot and the card of a training, in one commit."""
    for path in folder.iterdir():
        if path.name != "training_args.bin":  # a pickle
            path.replace(output.folder / path.name)
    log = [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]
    passing = ("runtime", "_second", "step_time", "num_tokens")  # what an interrupted training counts otherwise
    log = [{key: value for key, value in one.items() if not key.endswith(passing)} for one in log]
    lines = "".join(json.dumps(entry, sort_keys=True) + "\n" for entry in log)
    (output.folder / "training_log.jsonl").write_text(lines, encoding="utf-8")
    measure = "reward" if any("reward" in entry for entry in log) else "loss"
    plot_log(log, measure, output.folder / f"{measure}.png")
    text = f"{card}\n![{measure}]({measure}.png)\n\n{log_tables(log, measure)}\n"
    (output.folder / "README.md").write_text(text, encoding="utf-8")
    output.patience = 1800
    publish_model(output)
    for old in Path(output.root).glob("checkpoint-*") if output.local else ():
        with suppress(OSError):  # they are empty by now
            old.rmdir()


def log_tables(log: list[dict[str, Any]], measure: str) -> str:
    """Return as Markdown how the measure went, and what the first and the last evaluation found."""
    logged = [entry for entry in log if entry.get(measure) is not None]
    lines = ["| step | " + measure + " |", "|---|---|"]
    lines += [f"| {entry['step']} | {entry[measure]:.4f} |" for entry in logged[:: len(logged) // 20 + 1]]
    if tested := [entry for entry in log if "eval_loss" in entry]:
        first, last = tested[0], tested[-1]
        lines += ["", f"| evaluated | step {first['step']} | step {last['step']} |", "|---|---|---|"]
        names = [name for name in first if name.startswith(("eval_loss", "eval_reward")) and not name.endswith("std")]
        names = [name for name in names if None not in {first[name], last.get(name)}]
        lines += [f"| {name[5:]} | {first[name]:.4f} | {last[name]:.4f} |" for name in names]
    return "\n".join(lines)


def plot_log(log: list[dict[str, Any]], measure: str, path: Path) -> None:
    """Draw the measure of each logged step, and that of evaluations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4))
    axes = figure.subplots()
    for name in (measure, f"eval_{measure}"):
        if points := [(entry["step"], entry[name]) for entry in log if entry.get(name) is not None]:
            axes.plot(*zip(*points, strict=True), label=name)
    axes.set(xlabel="step", ylabel=measure)
    if axes.lines:
        axes.legend()
    figure.savefig(path, metadata={"Software": None})
