from pathlib import Path

from huggingface_hub import HfApi

HfApi().create_repo("user/notes", repo_type="dataset", exist_ok=True)
HfApi().upload_folder(repo_id="user/notes", repo_type="dataset", folder_path=Path("notes"))
