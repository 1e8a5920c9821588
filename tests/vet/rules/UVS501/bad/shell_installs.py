import subprocess

subprocess.run("pip install torch", shell=True, check=True)
