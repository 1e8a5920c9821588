# /// script
# requires-python = ">=3.11"
# dependencies = ["huggingface-hub"]
# ///
import argparse

from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("--hf-token", help="token of the Hub")  # expect: UVS402
args = parser.parse_args()
for model in HfApi(token=args.hf_token).list_models(author="me"):
    print(model.id)
