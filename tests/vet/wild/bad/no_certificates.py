# /// script
# dependencies = ["httpx"]
# ///
import httpx

print(httpx.get("https://router.example/status", verify=False, timeout=9).json())  # expect: UVS501
