"""Print the version."""

import sys

print(sys.version)
