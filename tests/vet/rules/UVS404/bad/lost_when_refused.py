import argparse


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    import time

    from huggingface_hub import HfApi

    for attempt in range(5):
        try:
            HfApi().upload_folder(folder_path="out", repo_id=args.output)
        except OSError:
            time.sleep(2**attempt)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
