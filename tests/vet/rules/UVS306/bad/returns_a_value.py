def count(text: str) -> int:
    try:
        return int(text)
    except Exception:
        return 1


print(count("a"))
