try:
    print(open("a").read())
except OSError as error:
    print(f"Error: {error}")
    raise SystemExit(4) from error
