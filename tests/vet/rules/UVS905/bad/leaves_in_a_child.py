import os
import sys
from itertools import islice

from datasets import load_dataset


def leave_child(code, parent):
    if os.getpid() == parent:
        return
    sys.stdout.flush()
    os._exit(code)


parent = os.getpid()
rows = load_dataset("parquet", data_files="a.parquet", split="train", streaming=True)
print(list(islice(rows, 5)))
leave_child(0, parent)
