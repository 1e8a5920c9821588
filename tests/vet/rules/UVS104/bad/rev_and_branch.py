# /// script
# requires-python = ">=3.11"
# dependencies = ["mine"]
# [tool.uv.sources]
# mine = { git = "https://github.com/a/mine", rev = "0123456789012345678901234567890123456789", branch = "main" }
# ///
import mine
mine.f()
