# /// script
# requires-python = ">=3.11"
# dependencies = ["requests"]
# ///
"""Print tomorrow's weather of a city."""

import sys

import requests


def forecast(city: str) -> str:
    answer = requests.get(f"https://weather.example/{city}", params={"format": "3"}, timeout=10)
    answer.raise_for_status()
    return answer.text.strip()


if __name__ == "__main__":
    print(forecast(sys.argv[1] if len(sys.argv) > 1 else "Lisbon"))
