import subprocess
import sys

command = "ls " + sys.argv[1]
subprocess.run(command, shell=True, check=True)
