# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
import os
import platform

print(platform.platform())
print(dict(os.environ))  # expect: UVS402
