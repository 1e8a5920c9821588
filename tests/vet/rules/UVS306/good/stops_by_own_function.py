import sys


def stop(code: int, found: str):
    print(f"error: {found}", file=sys.stderr)
    raise SystemExit(code)


def give_up(found: str):
    if found:
        stop(4, found)
    else:
        sys.exit(1)


class Output:
    def write(self, content: bytes) -> None:
        try:
            open("result", "wb").write(content)
        except Exception as error:
            self.refuse(error)

    def refuse(self, error: Exception):
        stop(6, f"not written: {error}")


def load():
    try:
        return open("rows").read()
    except Exception as error:
        give_up(str(error))


if __name__ == "__main__":
    Output().write(load().encode())
