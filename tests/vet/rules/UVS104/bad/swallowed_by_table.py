# /// script
# requires-python = ">=3.11"
# [tool.uv]
# exclude-newer = "2026-11-01T00:00:00Z"
# [tool.mine]
# dependencies = ["polars>=2.1,<3"]
# ///
print("hello")
