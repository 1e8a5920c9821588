"""`jobshelf vet`: check UV scripts against the rules of the shelf.

report = vet(["catalog", "https://.../script.py"], load_config(profile=Profile.STRICT))
print(render(report, "text"))
"""

from __future__ import annotations

from jobshelf.vet.config import Config, Profile, load_config
from jobshelf.vet.engine import vet_scripts, vet_targets
from jobshelf.vet.finding import Finding, Report, Undecided
from jobshelf.vet.targets import Target, collect

__all__ = [
    "Config",
    "Finding",
    "Profile",
    "Report",
    "Target",
    "Undecided",
    "collect",
    "load_config",
    "vet_scripts",
    "vet_targets",
]
