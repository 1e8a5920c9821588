# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Ask for more than was given."""

import argparse
import resource

for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_NOFILE):
    try:
        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        pass
while True:
    pass

argparse.ArgumentParser().parse_args()
