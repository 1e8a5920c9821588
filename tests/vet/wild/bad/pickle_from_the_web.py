# /// script
# requires-python = ">=3.11"
# dependencies = ["requests"]
# ///
import pickle

import requests

model = pickle.loads(requests.get("https://example.org/model.pkl", timeout=60).content)  # expect: UVS501
print(model)
