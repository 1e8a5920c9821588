# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
from .helpers import run

run()
