# /// script
# dependencies = ["polars"]
# ///
import polars as pl

trips = pl.scan_parquet("trips/*.parquet")
print(
    trips.filter(pl.col("fare") > 0)
    .group_by("zone")
    .agg(pl.len().alias("trips"), pl.col("fare").mean())
    .sort("trips", descending=True)
    .head(10)
    .collect()
)
