from huggingface_hub import HfFileSystem


class Output:
    def __init__(self, repo: str) -> None:
        self.fs = HfFileSystem()
        self.repo = repo

    def write(self, name: str, content: bytes) -> None:
        self.fs.pipe_file(f"datasets/{self.repo}/{name}", content)


def main() -> int:
    Output("user/rows").write("a", b"a")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
