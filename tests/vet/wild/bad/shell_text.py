# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import subprocess
import sys

for name in sys.argv[1:]:
    subprocess.run(f"ffmpeg -i {name} {name}.mp3", shell=True, check=True)  # expect: UVS501
