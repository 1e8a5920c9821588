# /// script
# requires-python = ">=3.11"
# dependencies = ["httpx"]
# ///
import httpx

answer = httpx.get("https://example.org", timeout=9)
print(json.dumps(dict(answer.headers)))  # expect: UVS505
