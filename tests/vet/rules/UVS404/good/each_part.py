from huggingface_hub import HfApi
from tenacity import retry, stop_after_attempt

EXIT_NOT_PERSISTED = 6


@retry(stop=stop_after_attempt(5))
def push(part, output):
    HfApi().upload_file(path_or_fileobj=part, path_in_repo=part, repo_id=output)

import argparse


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    from vllm import LLM

    llm = LLM(args.input)
    for part in ("a", "b"):
        llm.generate(part)
        push(part, args.output)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
