# block: train_card 1
"""A training after its last step: the model to its place, with log, plot and card.

Promises: every figure of the card is one of the log beside it; the model is pushed in one commit, or lies whole in a
folder; it waits for a Hub that is down, as it cannot be made again for nothing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .card import ScriptStamp, md, md_table, provenance, render_card
from .checkpoints import CHECKPOINT_FLUSH_S, CHECKPOINT_PAUSE_S, CHECKPOINTS_FOLDER
from .exits import EXIT_DONE, EXIT_ENVIRONMENT, Stop, note
from .persist_file import Run
from .persist_model import MODEL_MANIFEST, ModelHeld, _model_wanted, look_at_model, persist_model
from .train_job import TrainJob, TrainPlan
from .train_run import TRAIN_LOG

TRAIN_PLOT = "training.png"


def finish_training(
    job: TrainJob,
    plan: TrainPlan,
    args: argparse.Namespace,
    *,
    stamp: ScriptStamp,
    title: str,
    rows: int,
    kind: str,
    told: Sequence[str] = (),
) -> dict[str, Any]:
    """Persist the model with its log, plot and card; return the facts.

    `kind` is transformers' class that loads it, `told` what the card says after the figures, a section each.
    """
    folder = plan.work / "model"
    log = training_log(plan)
    (folder / TRAIN_PLOT).write_bytes(plot_training(log))

    def make_card(existing: str | None) -> str:
        return training_card(existing, job, plan, log, args, stamp=stamp, title=title, rows=rows, kind=kind, told=told)

    facts = {"steps": plan.settings["steps"], "rows": rows, **_last_figures(log)}
    if job.target.repo_id is None:
        _move_to_folder(job, folder, make_card)
        return facts | {"output": str(job.target)}
    _make_whole(folder, job.run, make_card)
    _await_hub(job.target.repo_id, job.token)
    commit = persist_model(job.target.repo_id, folder, job.run, token=str(job.token), make_card=make_card)
    shutil.rmtree(plan.work / CHECKPOINTS_FOLDER, ignore_errors=True)
    if job.target.folder is None:
        shutil.rmtree(plan.work, ignore_errors=True)
    else:
        _move_to_folder(job, folder, make_card)
    return facts | {"output": job.target.repo_id, "commit": commit}


def _make_whole(folder: Path, run: Run, make_card: Callable[[str | None], str]) -> None:
    """Put card and manifest into the folder: where the Hub refuses the model, somebody uploads it as it lies there."""
    (folder / "README.md").write_text(make_card(None), encoding="utf-8")
    nothing = ModelHeld(head="", private=False, files={}, manifest={}, card=None)
    manifest = _model_wanted(folder, run, nothing, None, "", keep=())[MODEL_MANIFEST]
    (folder / MODEL_MANIFEST).write_bytes(bytes(manifest))  # type: ignore[arg-type]


def _await_hub(repo_id: str, token: str | None) -> None:
    """Wait until the Hub answers, or for CHECKPOINT_FLUSH_S seconds: the model is made, and this disk may go with the Job."""
    deadline = time.monotonic() + CHECKPOINT_FLUSH_S
    while True:
        try:
            look_at_model(repo_id, token)
        except Stop as stop:
            if stop.code != EXIT_ENVIRONMENT or time.monotonic() > deadline:
                return  # persist_model says what can be done
            note(f"the model waits for the Hub ({stop.message})")
            time.sleep(CHECKPOINT_PAUSE_S)
        else:
            return


def training_card(
    existing: str | None,
    job: TrainJob,
    plan: TrainPlan,
    log: Sequence[Mapping[str, Any]],
    args: argparse.Namespace,
    *,
    stamp: ScriptStamp,
    title: str,
    rows: int,
    kind: str,
    told: Sequence[str] = (),
) -> str:
    """Return the model card: base, data and their commits, settings with reasons, figures, plot, versions, how to load it."""
    adapter = not args.full and not args.merge
    base, source = job.base, job.source
    tuning = {"lora": "LoRA", "qlora": "QLoRA", "full": "all weights"}[plan.settings["tuning"]]
    name = source.repo_id or source.given
    recipe = [{"setting": key, "value": one.value, "why": one.reason} for key, one in plan.settings.settings.items()]
    licence = base.licence or "not stated in its card"
    sections = [
        f"# {md(title)}",
        f"{md(base.name)}, trained with {md(plan.method)} ({tuning}) on {rows:,} rows of {md(name)} (split {md(source.split)}).",
        f"Base model: {md(base.name)}"
        + (f" at `{md(base.commit)}`" if base.commit else "")
        + f"; licence: {md(licence)}.",
        "## Load it\n\n" + _loading(job, kind, adapter=adapter),
        "## Figures\n\n" + md_table([{key: f"{value:.6g}" for key, value in _last_figures(log).items()}]),
        f"![{'Reward' if any('reward' in entry for entry in log) else 'Loss'} by step]({TRAIN_PLOT})",
        f"All figures by step are in `{TRAIN_LOG}`" + (f"; also in Trackio, {md(plan.space)}." if plan.space else "."),
        *told,
        "## Settings\n\n" + md_table(recipe),
        provenance(
            stamp,
            source=name,
            identity=source.identity,
            arguments=args.words,
            packages=("trl", "transformers", "peft", "datasets", "torch"),
        ),
    ]
    front: dict[str, Any] = {"library_name": "peft" if adapter else "transformers"}
    front |= {"base_model": base.name} if base.commit else {}  # a folder here is nothing that the Hub could link
    front |= {"license": base.licence} if base.licence else {}
    front |= {"datasets": [source.repo_id]} if source.repo_id else {}
    front["tags"] = ["trl", plan.method.lower(), *([] if args.full else ["lora"])]
    return render_card(existing, front_matter=front, body="\n\n".join(sections))


def training_log(plan: TrainPlan) -> list[dict[str, Any]]:
    """Return what a finished training logged, an entry for each step that was logged."""
    lines = (plan.work / "model" / TRAIN_LOG).read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def plot_training(log: Sequence[Mapping[str, Any]]) -> bytes:
    """Return the plot of the losses by step, or of the rewards, as PNG; the same log gives the same bytes."""
    import io
    import logging

    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    rewarded = any("reward" in entry for entry in log)  # the loss of such a training says nothing
    for name in ("reward", "eval_reward") if rewarded else ("loss", "eval_loss"):
        points = [(entry["step"], entry[name]) for entry in log if entry.get(name) is not None]
        if points:
            axes.plot(*zip(*points, strict=True), marker="." if len(points) < 40 else "", label=name.replace("_", " "))
    axes.set_xlabel("step")
    if axes.lines:
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def show_training(facts: Mapping[str, Any], *, as_json: bool) -> int:
    """Print what was done, as JSON or in lines; return the exit code."""
    if as_json:
        print(json.dumps(facts))
    else:
        print("\n".join(f"{name}: {value}" for name, value in facts.items()))
    return EXIT_DONE


def _last_figures(log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return the first and the last loss and reward, and the last of every other figure that says how good the model is."""
    figures: dict[str, float] = {}
    for name in ("loss", "reward"):
        values = [entry[name] for entry in log if entry.get(name) is not None]
        figures |= {f"first_{name}": values[0], f"last_{name}": values[-1]} if values else {}
    for name in (
        "eval_loss",
        "mean_token_accuracy",
        "rewards/accuracies",
        "rewards/margins",
        "accuracy",
        "margin",
        "eval_reward",
    ):
        values = [entry[name] for entry in log if entry.get(name) is not None]
        figures |= {name: values[-1]} if values else {}
    return figures


def _loading(job: TrainJob, kind: str, *, adapter: bool) -> str:
    model, place = job.base.name, job.target
    if adapter:
        lines = [f"from transformers import {kind}", "from peft import PeftModel", ""]
        lines += [f"model = PeftModel.from_pretrained({kind}.from_pretrained({model!r}), {str(place)!r})"]
    else:
        lines = [f"from transformers import {kind}", "", f"model = {kind}.from_pretrained({str(place)!r})"]
    return "```python\n" + "\n".join(lines) + "\n```"


def _move_to_folder(job: TrainJob, folder: Path, make_card: Callable[[str | None], str]) -> None:
    """Move the model to the folder that was asked for; the manifest comes last, and says that it is whole."""
    target = job.target.folder or folder
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        place = target / path.relative_to(folder)
        place.parent.mkdir(parents=True, exist_ok=True)
        path.replace(place)
    readme = target / "README.md"
    readme.write_text(make_card(readme.read_text("utf-8") if readme.is_file() else None), encoding="utf-8")
    manifest = {"script": job.run.script, "request": job.run.request, "source": job.run.source}
    (target / MODEL_MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name in (CHECKPOINTS_FOLDER, "model", "rows", "held-out"):
        shutil.rmtree(target / name, ignore_errors=True)
    (target / "plan.json").unlink(missing_ok=True)
