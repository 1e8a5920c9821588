from huggingface_hub import HfApi

HfApi().delete_files("user/name", ["data/*"], repo_type="dataset")
