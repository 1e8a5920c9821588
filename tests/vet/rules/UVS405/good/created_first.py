import argparse


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    from datasets import load_dataset

    from huggingface_hub import HfApi

    HfApi().create_repo(args.output, exist_ok=True)
    load_dataset(args.input).push_to_hub(args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
