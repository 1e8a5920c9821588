import argparse

from huggingface_hub import HfApi

parser = argparse.ArgumentParser()
parser.add_argument("output", help="dataset")
parser.add_argument("--dry-run", action="store_true", help="write nothing")
args = parser.parse_args()
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    Path(folder, "part.txt").write_text("a")
    if not args.dry_run:
        HfApi().upload_folder(repo_id=args.output, repo_type="dataset", folder_path=folder)
