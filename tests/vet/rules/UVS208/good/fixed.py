# /// script
# requires-python = ">=3.11"
# dependencies = ["iniconfig==2.1.0"]
# ///
import iniconfig
