"""Trackio, wandb and their like beside a training: they never stop it."""

import copy
import hashlib
import json
import os
import sys
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any


def guard_monitors(trainer: Any, run: dict[str, str]) -> Event:
    """Let what `report_to` names work in a thread; training goes on when it fails, and waits a minute for it at the end.

    Returns an event that is set while there is nothing left to do. Trackio gets a name for this run; on a Job, a Space.
    """
    config, calls, idle = trainer.args, SimpleQueue[Any](), Event()
    name = hashlib.sha256(json.dumps(run).encode()).hexdigest()[:6]
    config.run_name = config.run_name or f"{Path(trainer.model.config._name_or_path).name}-{name}"
    config.trackio_static_space_id = config.trackio_static_space_id or False  # else each push would make a new one
    config.trackio_space_id = config.trackio_space_id or ("trackio" if "JOB_ID" in os.environ else None)
    idle.set()

    def work() -> None:
        failures = 0
        while True:
            call, args, kwargs, done = calls.get()
            try:
                if failures < 3:
                    call(*args, **kwargs)
            except Exception as error:  # noqa: BLE001  # vet: ignore[UVS306] -- a training is worth more
                print(f"{type(call.__self__).__name__}: {error}; training goes on", file=sys.stderr)
                failures += 1
            if calls.empty():
                idle.set()
            done.set()

    def later(call: Any) -> Any:
        def add(args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            idle.clear()
            done = Event()
            calls.put((call, (args, copy.copy(state), control), kwargs, done))
            if call.__name__ == "on_train_end":
                done.wait(60)

        return add

    for monitor in trainer.callback_handler.callbacks:
        if type(monitor).__module__.startswith("transformers.integrations"):
            for event in [name for name in dir(monitor) if name.startswith("on_")]:
                setattr(monitor, event, later(getattr(monitor, event)))
    Thread(target=work, daemon=True).start()
    return idle
