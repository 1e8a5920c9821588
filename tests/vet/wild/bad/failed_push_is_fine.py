# /// script
# requires-python = ">=3.11"
# dependencies = ["huggingface-hub"]
# ///
import sys

from huggingface_hub import HfApi, get_token

if get_token() is None:
    sys.exit("no token: run `hf auth login`")
api = HfApi()
api.create_repo(sys.argv[1], exist_ok=True)
try:
    api.upload_folder(repo_id=sys.argv[1], folder_path="out")
except Exception as error:  # expect: UVS306
    print(f"the upload did not work: {error}", file=sys.stderr)
