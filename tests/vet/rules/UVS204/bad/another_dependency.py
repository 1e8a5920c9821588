# /// script
# requires-python = ">=3.11"
# dependencies = ["iniconfig>=2,<3", "pluggy>=1,<2"]
# ///
import iniconfig
