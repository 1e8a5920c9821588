import os
import sys

os.system(f"ls {sys.argv[1]}")
