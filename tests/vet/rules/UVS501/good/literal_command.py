import os
import subprocess

subprocess.run("nvidia-smi | head -n 3", shell=True, check=True)
os.system("nvidia-smi")
