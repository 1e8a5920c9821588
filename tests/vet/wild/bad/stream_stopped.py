# /// script
# requires-python = ">=3.11"
# dependencies = ["datasets"]
# ///
from itertools import islice

from datasets import load_dataset

rows = load_dataset("someone/data", split="train", streaming=True)
for row in islice(rows, 5):  # expect: UVS905
    print(row)
