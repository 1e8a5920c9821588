# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3"]
# ///
from typing import TYPE_CHECKING

import polars

if TYPE_CHECKING:
    import numpy

try:
    import tqdm
except ImportError:
    tqdm = None
