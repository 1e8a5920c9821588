from pathlib import Path

HERE = Path(__file__).resolve()
SCRIPT = HERE

print(SCRIPT.with_name("prompt.txt").read_text())
