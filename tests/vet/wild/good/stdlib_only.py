# /// script
# requires-python = ">=3.9"
# dependencies = []
# ///
import csv
import sys

rows = list(csv.DictReader(sys.stdin))
for row in sorted(rows, key=lambda row: float(row["price"])):
    print(f"{row['name']:<30}{row['price']:>10}")
