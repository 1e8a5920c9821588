# /// script
# requires-python = ">=3.11"
# dependencies = ["iniconfig>=2,<3"]
# ///
import iniconfig
