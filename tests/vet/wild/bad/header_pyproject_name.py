# /// pyproject
# requires-python = ">=3.11"
# dependencies = ["rich"]
# ///
from rich import print

print("[bold]hello[/bold]")
# expect: UVS101 on line 1
