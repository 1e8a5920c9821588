# /// script
# requires-python = ">=3.11"
# dependancies = ["rich"]  # expect: UVS104
# ///
from rich import print  # expect: UVS206

print("[bold]hello[/bold]")
