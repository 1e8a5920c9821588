import argparse

from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("output", help="dataset")
parser.add_argument("--dry-run", action="store_true", help="write nothing")
args = parser.parse_args()
if args.dry_run:
    print(f"would write to {args.output}")
    raise SystemExit(0)
HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
HfApi().upload_folder(repo_id=args.output, repo_type="dataset", folder_path="out")
