from pathlib import Path

Path("result.txt").write_text("a", encoding="utf-8")
