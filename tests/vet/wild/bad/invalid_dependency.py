# /// script
# dependencies = [
#   "requests => 2",  # expect: UVS201
# ]
# ///
import requests

print(requests.get("https://example.org", timeout=9).status_code)
