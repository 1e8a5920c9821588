import sys


def main() -> int:
    try:
        print(open("a").read())
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
