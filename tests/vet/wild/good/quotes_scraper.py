# /// script
# requires-python = ">=3.11"
# dependencies = ["httpx", "selectolax", "tenacity"]
# ///
import json
import logging

import httpx
from selectolax.parser import HTMLParser
from tenacity import retry, stop_after_attempt, wait_exponential

log = logging.getLogger(__name__)


@retry(stop=stop_after_attempt(3), wait=wait_exponential())
def page(client, number):
    return client.get(f"/page/{number}/").raise_for_status().text


def quotes(client):
    for number in range(1, 11):
        try:
            tree = HTMLParser(page(client, number))
        except Exception as error:
            log.warning("page %d is left out: %s", number, error)
            continue
        for node in tree.css(".quote"):
            yield {"text": node.css_first(".text").text(), "author": node.css_first(".author").text()}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    with httpx.Client(base_url="https://quotes.example") as client:
        print(json.dumps(list(quotes(client)), indent=2))
