import sys


def stop(code: int, found: str):
    print(f"error: {found}", file=sys.stderr)
    raise SystemExit(code)


try:
    print(1 / 0)
except Exception as error:
    if "zero" in str(error):
        stop(1, str(error))
