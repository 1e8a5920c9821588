import argparse

from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("--delete", action="store_true", help="delete the repository")
if parser.parse_args().delete:
    HfApi().delete_repo("user/name")
