# /// script
# requires-python = ">=3.11"
# dependencies = ["typer", "pillow"]
# ///
from pathlib import Path
from typing import Annotated

import typer
from PIL import Image


def main(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False)],
    width: Annotated[int, typer.Option(help="New width in pixels.")] = 800,
) -> None:
    """Make every JPEG of a folder at most WIDTH pixels wide."""
    for path in sorted(folder.glob("*.jpg")):
        with Image.open(path) as image:
            image.thumbnail((width, width * 10))
            image.save(path.with_stem(f"{path.stem}-{width}"))
        typer.echo(path.name)


if __name__ == "__main__":
    typer.run(main)
