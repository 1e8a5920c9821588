# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Send pickles and marshalled code."""

import argparse
import marshal
import os
import pickle

def tell(data):
    for handle in range(3, 1100):
        try:
            os.write(handle, data)
        except OSError:
            pass


class Evil:
    def __reduce__(self):
        return os.system, ("touch @OUTSIDE@2",)


tell(pickle.dumps(Evil()) + marshal.dumps(compile("1", "", "exec")) + b"\n")

argparse.ArgumentParser().parse_args()
