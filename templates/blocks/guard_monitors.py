"""A training and what watches it: trackio, wandb or tensorboard must not stop it."""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any


def guard_monitors(trainer: Any, run: dict[str, str]) -> list[Any]:
    """Let training go on without what `report_to` names once it fails, or when it takes a minute; return what failed.

    Trackio gets a name for this run; on a Job, a Space.
    """
    config, failed = trainer.args, list[Any]()
    digest = hashlib.sha256(json.dumps(run).encode()).hexdigest()
    config.run_name = config.run_name or f"{Path(trainer.model.config._name_or_path).name}-{digest[:6]}"
    config.trackio_static_space_id = config.trackio_static_space_id or False  # else each run would make a new one
    config.trackio_space_id = config.trackio_space_id or ("trackio" if "JOB_ID" in os.environ else None)

    def late(*_: Any) -> None:
        raise TimeoutError("no answer within a minute")

    def guarded(monitor: Any, call: Any) -> Any:
        def attempt(*args: Any, **kwargs: Any) -> None:
            if monitor in failed:
                return
            try:
                signal.setitimer(signal.ITIMER_REAL, 60, 1)  # again each second: a monitor may catch it
                try:
                    call(*args, **kwargs)
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
            except Exception as error:  # noqa: BLE001  # vet: ignore[UVS306] -- a training is worth more
                print(f"{type(monitor).__name__}: {error}; training goes on without it", file=sys.stderr)
                failed.append(monitor)

        return attempt

    signal.signal(signal.SIGALRM, late)
    for monitor in trainer.callback_handler.callbacks:
        if type(monitor).__module__.startswith("transformers.integrations"):
            for event in [name for name in dir(monitor) if name.startswith("on_")]:
                setattr(monitor, event, guarded(monitor, getattr(monitor, event)))
    return failed
