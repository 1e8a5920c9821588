# /// script
# requires-python = ">=3.11"
# dependencies = ["requests>=2.32,<3"]
# ///
import json  # noqa: F401

import requests

steps = []
for name in requests.__all__:
    steps.append(lambda name=name: print(name))
