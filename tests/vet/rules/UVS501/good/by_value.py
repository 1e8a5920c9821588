# /// script
# requires-python = ">=3.11"
# dependencies = ["numpy>=2,<3", "pyyaml>=6,<7", "requests>=2.32,<3"]
# ///
import shlex
import subprocess

import numpy as np
import requests
import yaml


def evaluate(text: str) -> int:
    return len(text)


run = evaluate
run("1 + 1")
np.load("numbers.npy")
yaml.safe_load("a: 1")
yaml.load("a: 1", Loader=yaml.SafeLoader)
requests.get("https://example.org", verify=True, timeout=9)
subprocess.run(shlex.split("git status"), check=True)
subprocess.run(["sh", "-c", "ls | wc -l"], check=True)
options = {"trust_remote_code": False}
