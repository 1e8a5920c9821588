import os
import sys
from itertools import islice

from datasets import load_dataset

rows = load_dataset("parquet", data_files="a.parquet", split="train", streaming=True)
print(list(islice(rows, 5)))
sys.stdout.flush()
os._exit(0)
