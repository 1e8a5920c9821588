# /// script
# requires-python = >=3.11  # expect: UVS103
# dependencies = ["requests"]
# ///
import requests

print(requests.get("https://example.org", timeout=9).text)
