# /// script
# requires-python = ">=3.8"
# dependencies = ["iniconfig>=2.3,<3"]
# ///
import iniconfig
