# /// script
# requires-python = ">=3.11"
# dependencies = ["polars>=2.1,<3"]
# [tool.uv]
# prerelease = "allow"
# ///
print("hello")
