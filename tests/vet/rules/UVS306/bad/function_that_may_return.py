import sys


def stop(found: str, really: bool):
    if really:
        raise SystemExit(1)
    print(found, file=sys.stderr)


def main() -> int:
    try:
        print(1 / 0)
    except Exception as error:
        stop(str(error), really=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
