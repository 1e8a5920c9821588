# /// script
# requires-python = ">=3.11"
# dependencies = ["huggingface-hub>=2,<3"]
# ///
import hashlib
import os
import subprocess

from huggingface_hub import HfApi, get_token


def spelled(token: str) -> str:
    return token.lower()


for token in "a b c".split():
    print(spelled(token))
key = get_token()
settings = {"name": "x", "key": key}
print(settings["name"], len(key), key is not None, key.startswith("hf_"))
print(hashlib.sha256(os.urandom(8)).hexdigest(), HfApi(token=key).whoami()["name"])
subprocess.run(["git", "status"], env={**os.environ, "HF_TOKEN": key}, check=True)
print(os.environ.get("HOME"), sorted(os.environ), len(list(os.environ)))
