# /// script
# requires-python = ">=3.8"
# ///
import sys

match sys.argv[1:]:  # expect: UVS106
    case ["hello", name]:
        print("hello", name)
    case _:
        print("what?")
