def main() -> int:
    return 3


if __name__ == "__main__":
    main()
