import argparse
from pathlib import Path

Path("log.txt").write_text("started", encoding="utf-8")
argparse.ArgumentParser().parse_args()
