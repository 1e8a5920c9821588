import argparse


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    from transformers import AutoModel

    AutoModel.from_pretrained(args.input, trust_remote_code=args.trust, revision=args.revision)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
