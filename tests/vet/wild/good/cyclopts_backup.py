# /// script
# requires-python = ">=3.11"
# dependencies = ["cyclopts>=3"]
# ///
import shutil
from pathlib import Path

from cyclopts import App

app = App(help="Copy a folder into a dated archive.")


@app.default
def backup(folder: Path, target: Path = Path("backups"), *, kind: str = "zip"):
    """Archive FOLDER.

    Parameters
    ----------
    folder: What is archived.
    target: Where the archive goes.
    kind: zip or tar.
    """
    target.mkdir(exist_ok=True)
    print(shutil.make_archive(str(target / folder.name), kind, folder))


if __name__ == "__main__":
    app()
