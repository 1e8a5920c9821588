# /// script
# requires-python = ">=3.11"
# dependencies = ["iniconfig==2.0.0"]
# ///
import iniconfig
