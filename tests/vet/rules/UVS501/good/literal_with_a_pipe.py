# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import subprocess

subprocess.run("ls *.csv | wc -l", shell=True, check=True)
