import argparse


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    from huggingface_hub import HfApi
    from tenacity import retry
    from vllm import LLM

    llm = LLM(args.input)
    rows = [prompt for prompt in open(args.input)]
    for row in rows:
        llm.generate(row)
    HfApi().upload_folder(folder_path="out", repo_id=args.output)
    raise SystemExit(6)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
