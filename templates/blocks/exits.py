# block: exits 1
"""The exit codes, the one exception that a script stops with, and the one place that turns it into a line on stderr.

Promises: every failure that is not a bug ends as one line `error: what was found ... Fix: what to do next` and the
right code; Ctrl-C gives 130, SIGTERM 143 with clean-up handlers run, a closed pipe 141; nothing else is caught.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType

EXIT_DONE = 0
EXIT_UNEXPECTED = 1
EXIT_USAGE = 2
EXIT_TOKEN = 3
EXIT_INPUT = 4
EXIT_ENVIRONMENT = 5
EXIT_NOT_PERSISTED = 6


class Stop(Exception):
    """Ends the script with `code`. `message` says what was found and where, `fix` what to type or change next."""

    def __init__(self, code: int, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = fix

    def __str__(self) -> str:
        return f"{one_line(self.message).rstrip('.')}. Fix: {one_line(self.fix)}"


def one_line(text: object) -> str:
    """Return `text` on one line, control characters escaped, without the signed part of any URL."""
    joined = " ".join(re.sub(r"(https?://[^\s?]+)\?\S+", r"\1", str(text)).split())
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in joined)


def note(text: str) -> None:
    """Write one line of progress or advice to stderr."""
    print(f"note: {one_line(text)}", file=sys.stderr, flush=True)


def run_to_exit(work: Callable[[], int]) -> int:
    """Run `work` and return its exit code, or the code of what stopped it."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = signal.signal(signal.SIGTERM, _terminate) if in_main_thread else None
    try:
        code = work()
        sys.stdout.flush()
        return code
    except Stop as stop:
        return _failed(stop.code, str(stop))
    except KeyboardInterrupt:
        return _failed(130, "interrupted. Fix: run the same command again")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except MemoryError:
        return _failed(EXIT_ENVIRONMENT, "out of memory. Fix: use a machine or a Job flavor with more memory")
    except OSError as error:
        return _failed(
            EXIT_ENVIRONMENT, f"{one_line(error).rstrip('.')}. Fix: check the network, the disk and the path"
        )
    finally:
        if in_main_thread:
            signal.signal(signal.SIGTERM, previous or signal.SIG_DFL)


def _failed(code: int, text: str) -> int:
    print(f"error: {text}", file=sys.stderr, flush=True)
    return code


def _terminate(signal_number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + signal_number)
