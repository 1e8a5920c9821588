import sys


def main() -> int:
    try:
        print(1 / 0)
    except Exception as error:
        print(f"error: {error}", file=sys.stderr)
        return 0
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
