"""Checkpoints while a training runs: when they are saved, and how they get to their place."""

import math
import os
import shutil
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from .stop import stop


def keep_checkpoints(output: Any, every: float) -> Any:
    """Return a callback that saves a checkpoint every so many seconds and on SIGTERM, and sends each to `output`, if any.

    They are sent in the background. While the place does not answer, training goes on.
    """
    from accelerate import PartialState
    from accelerate.utils import broadcast_object_list
    from transformers import TrainerCallback

    pool = ThreadPoolExecutor(1)

    class Keeper(TrainerCallback):
        asked, stopped, saved, sending = False, False, 0.0, pool.submit(int)

        def on_train_begin(self, args: Any, *_: Any, **__: Any) -> None:
            signal.signal(signal.SIGTERM, lambda *_: vars(self).update(asked=True))
            self.links, self.saved = Path(args.output_dir, ".sending"), time.monotonic()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            is_last = state.global_step >= state.max_steps  # then the model itself follows
            wanted = [self.asked and not is_last, time.monotonic() - self.saved > every]
            self.stopped, is_due = broadcast_object_list(wanted)  # all processes save the same step
            control.should_save |= is_due or self.stopped
            control.should_training_stop |= self.stopped

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if not all(math.isfinite(logs.get(name, 0)) for name in ("loss", "grad_norm")):
                stop(4, f"the loss is no number at step {state.global_step}", "lower --learning-rate; check the rows")

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.saved = time.monotonic()
            PartialState().wait_for_everyone()
            is_last = state.global_step >= state.max_steps
            if output is None or not state.is_world_process_zero or is_last:
                return
            wait([self.sending], None if self.stopped else 30)
            if self.sending.done():  # else the next one is sent
                self.settle()
                name = f"checkpoint-{state.global_step}"
                shutil.copytree(Path(args.output_dir, name), self.links / name, copy_function=os.link)
                self.sending = pool.submit(output.send, self.links)
            if self.stopped:
                self.settle()

        def settle(self) -> None:
            """Wait for the checkpoint on its way; say so when it was refused."""
            try:
                self.sending.result()
            except Exception as error:  # noqa: BLE001  # vet: ignore[UVS306] -- a training is worth more
                print(f"the checkpoint was not sent, training goes on: {error}", file=sys.stderr)
            shutil.rmtree(self.links, ignore_errors=True)

    return Keeper()
