# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Count the words of a file.

    uv run example_unknown_option.py book.txt --top 10
"""

import argparse
from collections import Counter
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("file", type=Path)
parser.add_argument("--most", type=int, default=20)
args = parser.parse_args()
for word, count in Counter(args.file.read_text().split()).most_common(args.most):
    print(count, word)
# expect: UVS302 on line 7
