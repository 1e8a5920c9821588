"""Print the version.

Reads nothing, writes one line to stdout.
"""

import sys

print(sys.version)
