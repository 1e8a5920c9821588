import os

print(open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "prompt.txt")).read())
