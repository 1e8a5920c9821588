# /// script
# requires-python = ">=3.11"
# dependencies = ["iniconfig>=2,<3"]
# [tool.uv]
# exclude-newer = "2026-11-01T00:00:00Z"
# ///
import iniconfig
