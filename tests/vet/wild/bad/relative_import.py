# /// script
# dependencies = []
# ///
from .helpers import load  # expect: UVS504

print(load())
