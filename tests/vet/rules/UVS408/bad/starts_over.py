from huggingface_hub import HfApi

HfApi().delete_repo("user/name", repo_type="dataset", missing_ok=True)
HfApi().create_repo("user/name", repo_type="dataset")
