"""Run scripts: here, as Jobs, in shards, on a schedule, when a repository changes; and look after Jobs."""

from jobshelf.jobs.local import run
from jobshelf.jobs.target import Target, command, find_target, pinned, read_local, read_target

__all__ = ["Target", "command", "find_target", "pinned", "read_local", "read_target", "run"]
