# /// script
# requires-python = ">=3.10"
# dependencies = ["pandas", "openpyxl"]
# ///
"""Sum a bank's CSV file by month and write a sheet.

Usage: uv run expenses_pandas.py january.csv --output sums.xlsx
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("statement", type=Path)
    parser.add_argument("--output", type=Path, default=Path("sums.xlsx"))
    args = parser.parse_args()
    frame = pd.read_csv(args.statement, parse_dates=["date"])
    frame["spent"] = np.where(frame["amount"] < 0, -frame["amount"], 0.0)
    frame.groupby(frame["date"].dt.to_period("M"))["spent"].sum().to_excel(args.output)


if __name__ == "__main__":
    main()
