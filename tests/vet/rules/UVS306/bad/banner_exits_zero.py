import sys

if len(sys.argv) == 1:
    print("usage: ...")
    sys.exit(0)
