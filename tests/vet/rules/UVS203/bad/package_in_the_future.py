# /// script
# requires-python = ">=3.11"
# dependencies = ["rich>=13,<15"]
# [tool.uv]
# exclude-newer-package = { rich = "2030-01-01T00:00:00Z" }
# ///
import rich
rich.print("x")
