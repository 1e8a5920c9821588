"""Start scripts: here, as Jobs, in shards, by the clock, when a repository changes; and look after what was started."""

from jobshelf.jobs.local import run
from jobshelf.jobs.target import Target, command, find_target, pinned, read_target

__all__ = ["Target", "command", "find_target", "pinned", "read_target", "run"]
