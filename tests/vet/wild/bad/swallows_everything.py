# /// script
# requires-python = ">=3.11"
# dependencies = ["httpx"]
# ///
import httpx


def price(name):
    try:
        return httpx.get(f"https://prices.example/{name}", timeout=9).json()["price"]
    except Exception:  # expect: UVS306
        return None


for one in ("tea", "coffee"):
    try:
        print(one, price(one) * 1.2)
    except:  # expect: UVS306
        pass
