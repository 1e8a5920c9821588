import argparse


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    args = parser.parse_args()
    from pathlib import Path

    Path(args.output).write_text("a", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
