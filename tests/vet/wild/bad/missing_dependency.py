# /// script
# requires-python = ">=3.11"
# dependencies = ["requests"]
# ///
import requests
from bs4 import BeautifulSoup  # expect: UVS206

soup = BeautifulSoup(requests.get("https://example.org", timeout=9).text, "html.parser")
print(soup.title)
