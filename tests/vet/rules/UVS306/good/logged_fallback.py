# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Use what the server says, or what is known without it, and say so."""

import json
import logging
import urllib.request

logger = logging.getLogger(__name__)


def rates():
    try:
        with urllib.request.urlopen("https://example.org/rates.json", timeout=10) as answer:
            return json.load(answer)
    except (OSError, ValueError) as error:
        logger.warning("no rates from the server, using 1.0: %s", error)
        return {"EUR": 1.0}


print(rates())
