# /// script
# requires-python = ">=3.11"
# dependencies = ["polars"]
# ///
import os  # expect: UVS505

import polars as pl

print(pl.read_csv("a.csv").describe())
