import os
import sys
from itertools import islice

from datasets import load_dataset


def leave(code):
    def flushed(stream):
        return stream.flush()

    flushed(sys.stdout)
    os._exit(code)


rows = load_dataset("parquet", data_files="a.parquet", split="train", streaming=True)
print(list(islice(rows, 5)))
leave(0)
