# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import sys


def show(path):
    import yaml  # expect: UVS206

    with open(path, encoding="utf-8") as file:
        print(yaml.safe_load(file))


show(sys.argv[1])
