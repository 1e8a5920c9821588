try:
    print(1 / 0)
except Exception:
    print("cleaning up")
    raise
