import argparse

from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("output", help="dataset")
parser.add_argument("--dry-run", action="store_true", help="write nothing")
args = parser.parse_args()
HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
if not args.dry_run:
    HfApi().upload_folder(repo_id=args.output, repo_type="dataset", folder_path="out")
