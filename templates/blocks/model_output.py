"""The output of a training: the Hub may be away meanwhile."""

import time

from .output import Output
from .retrying import retrying


class ModelOutput(Output):
    """An Output that never ends a training: what is refused raises, until `patience` says how long to try at the end."""

    patience = 0.0  # seconds

    def send(self) -> None:
        """Send what waits; at the end, stop with 6 when it is refused for all that time."""
        limit = time.monotonic() + self.patience
        while any(self.folder.glob("*")):
            try:
                retrying(self.put)
                break
            except OSError:
                if not self.patience:
                    raise
                if time.monotonic() > limit:
                    break
        super().send()
