"""The callback of a trainer that keeps its checkpoints."""

import math
import os
import shutil
import signal
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from .publish_model import publish_model
from .stop import stop


def keep_checkpoints(output: Any, folder: Path, every: float) -> Any:
    """Return a callback that saves a checkpoint in `folder` every so many seconds and on SIGTERM, and sends each to `output`.

    They are sent in the background, by the first process. While the place does not answer, training goes on.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list
    from transformers import TrainerCallback

    pool = ThreadPoolExecutor(1)

    class Keeper(TrainerCallback):
        stopped, saved, sending = False, time.monotonic(), Future[None]()

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            signal.signal(signal.SIGTERM, lambda *_: (folder / "stop").touch())
            self.saved = time.monotonic()
            self.sending.set_result(None)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            asked = [(folder / "stop").exists(), time.monotonic() - self.saved > every]
            self.stopped, due = broadcast_object_list(asked)  # all processes save the same step
            control.should_save |= due or self.stopped
            control.should_training_stop |= self.stopped
            self.on_epoch_end(args, state, control)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step >= state.max_steps and not args.load_best_model_at_end:
                control.should_save = self.stopped = False  # the model itself follows

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not all(math.isfinite(logs.get(name, 0)) for name in ("loss", "grad_norm")):
                stop(4, f"the loss is no number at step {state.global_step}", "lower --learning-rate; check the rows")

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.saved = time.monotonic()
            PartialState().wait_for_everyone()
            if output is None or not state.is_world_process_zero:
                return
            self.settle(timeout=None if self.stopped else 30)
            if self.sending.done():  # else the next one is sent
                name = f"checkpoint-{state.global_step}"
                shutil.rmtree(output.folder)
                shutil.copytree(folder / name, output.folder / name, copy_function=link_or_copy)
                self.sending = pool.submit(publish_model, output)
            self.settle(timeout=None if self.stopped else 0)

        def settle(self, timeout: float | None = None) -> None:
            """Wait for the checkpoint on its way; say so when it was refused."""
            wait([self.sending], timeout)
            if self.sending.done() and (error := self.sending.exception()):
                if not isinstance(error, Exception):  # another run has taken the place
                    raise error
                print(f"the checkpoint was not sent, training goes on: {error}", file=sys.stderr)
                self.sending = Future[None]()
                self.sending.set_result(None)

    return Keeper()


def link_or_copy(source: str, target: str) -> None:
    """Make `target` the same file, or a copy on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
