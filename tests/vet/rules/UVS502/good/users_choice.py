import argparse


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    from datasets import load_dataset

    print(load_dataset(args.input), load_dataset("parquet", data_files=args.input), load_dataset("./local"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
