# /// script
# requires-python = ">=3.10"
# dependencies = ["huggingface_hub"]
# ///
"""List my models. The help does not show defaults, so the token that is one is never printed."""

import argparse
import os

from huggingface_hub import HfApi

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--limit", type=int, default=20, help="how many")
parser.add_argument("--hub-key", default=os.environ.get("HF_TOKEN"), help="key of the Hub (default: HF_TOKEN)")
args = parser.parse_args()

for model in HfApi(token=args.hub_key).list_models(author="me", limit=args.limit):
    print(model.id)
