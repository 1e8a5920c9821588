import sys

from huggingface_hub import HfApi


def stop(code: int, found: str):
    print(f"error: {found}", file=sys.stderr)
    raise SystemExit(code)


def patiently(call, *args, **kwargs):
    from tenacity import Retrying, stop_after_attempt

    policy = Retrying(stop=stop_after_attempt(6), reraise=True)
    return policy(call, *args, **kwargs)



def main() -> int:
    from datasets import load_dataset

    api = HfApi()
    patiently(api.create_repo, "user/result", repo_type="dataset", exist_ok=True)
    rows = patiently(load_dataset, "user/rows", revision="main")
    rows.to_parquet("rows.parquet")
    patiently(api.upload_file, path_or_fileobj="rows.parquet", path_in_repo="rows.parquet", repo_id="user/result")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
