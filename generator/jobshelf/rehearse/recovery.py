"""After exit code 6: do what the script says, and see whether that brings the data to the Hub."""

from __future__ import annotations

import shlex

from jobshelf.rehearse.process import Ended
from jobshelf.rehearse.world import World

_FIX = "Fix: "
_JOINER = "&&"
# What a script says when all that it computed is on the Hub already and only the last commits are missing.
_AGAIN = "run the same command again"


def push_as_told(world: World, ended: Ended, *, seconds: float) -> str | None:
    """Type the commands that the last line on stderr ends with; return why that did not work, None when it did.

    Only `hf` is typed: what else a script may say is not run unseen.
    """
    commands = told_commands(ended.stderr)
    if not commands:
        return f"exit code 6 without a command that pushes the data ({ended.outcome})"
    for command in commands:
        if command[0] != "hf":
            return f"exit code 6 with a command that is not hf's: {shlex.join(command)}"
        done = world.type_command(command, seconds=seconds)
        if done.code != 0:
            return f"the printed command `{shlex.join(command)}` ended with {done.outcome}"
    return None


def told_to_run_again(ended: Ended) -> bool:
    """Whether the last line on stderr says that the same command finishes the work."""
    return _fix(ended.stderr).startswith(_AGAIN)


def told_commands(stderr: str) -> list[list[str]]:
    """Return the commands after `Fix:` on the last line of stderr, which `&&` joins."""
    commands: list[list[str]] = [[]]
    for word in shlex.split(_fix(stderr)):
        if word == _JOINER:
            commands.append([])
        else:
            commands[-1].append(word)
    return [command for command in commands if command]


def _fix(stderr: str) -> str:
    last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "")
    return last.partition(_FIX)[2]
