import polars as pl

pl.DataFrame({"a": [1]}).write_parquet("out.parquet")
