# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import subprocess
import sys

subprocess.run([sys.executable, "-m", "pip", "install", "colorama"], check=True)  # expect: UVS501
import colorama  # expect: UVS206

print(colorama.Fore.RED + "hello")
