# /// script
# dependencies = ["requests"]
# ///
import requests

for page in range(3):
    print(requests.get("https://example.org", params={"page": page}).text)  # expect: UVS505
