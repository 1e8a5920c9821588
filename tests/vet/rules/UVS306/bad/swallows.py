try:
    print(1 / 0)
except Exception:
    pass
