# /// script
# requires-python = ">=3.11"
# dependencies = ["fsspec>=2026.2,<2028"]
# ///
import fsspec

print(fsspec)
