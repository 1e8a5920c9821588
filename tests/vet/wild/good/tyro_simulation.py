# /// script
# requires-python = ">=3.11"
# dependencies = ["tyro", "numpy"]
# ///
from dataclasses import dataclass

import numpy as np
import tyro


@dataclass
class Settings:
    """A random walk."""

    steps: int = 1000
    """How many steps."""
    seed: int = 0
    """Seed of the generator."""


def main(settings: Settings) -> None:
    steps = np.random.default_rng(settings.seed).choice([-1, 1], settings.steps)
    print(int(steps.sum()))


if __name__ == "__main__":
    main(tyro.cli(Settings))
