# /// script
# requires-python = ">=3.11"
# dependencies = ["iniconfig>=1.2,<1.9"]
# ///
import iniconfig
