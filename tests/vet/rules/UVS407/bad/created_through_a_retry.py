import argparse

from datasets import load_dataset
from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("input", help="dataset")
parser.add_argument("output", help="dataset")
args = parser.parse_args()
from tenacity import Retrying, stop_after_attempt

patiently = Retrying(stop=stop_after_attempt(3))
patiently(getattr(HfApi(), "create_" + "bucket"), "user/store")
rows = patiently(load_dataset, args.input, split="train")
