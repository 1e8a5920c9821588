import sys

EXIT_NOT_PERSISTED, EXIT_FAILED = 6, 1


def push() -> int:
    try:
        print(1 / 0)
    except Exception as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, OSError):
            return EXIT_NOT_PERSISTED
        return 1
    return 0


def main() -> int:
    try:
        return push()
    except:
        print("error: unknown", file=sys.stderr)
        return EXIT_FAILED


if __name__ == "__main__":
    raise SystemExit(main())
