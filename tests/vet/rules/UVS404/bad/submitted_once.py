import sys
from concurrent.futures import ThreadPoolExecutor

from huggingface_hub import HfApi


def main() -> int:
    with ThreadPoolExecutor() as pool:
        job = pool.submit(HfApi().upload_file, path_or_fileobj="a", path_in_repo="a", repo_id="user/rows")
    if job.exception():
        print("error: not uploaded, it is in ./a", file=sys.stderr)
        return 6
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
