# /// script
# dependencies = ["httpx"]
# ///
import httpx

with httpx.Client(timeout=None) as client:
    print(client.get("https://example.org").text)
