# /// script
# requires-python = ">=3.11"
# dependencies = ["pytest==8.4.2", "iniconfig<2.1"]
# ///
import pytest
