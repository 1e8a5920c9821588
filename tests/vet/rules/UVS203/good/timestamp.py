# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3"]
# [tool.uv]
# exclude-newer = "2026-11-01T00:00:00Z"
# ///
print("hello")
