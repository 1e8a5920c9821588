# /// script
# requires-python = ">=3.11"
# dependencies = ["click>=8.1"]
# ///
import json
from pathlib import Path

import click

STORE = Path.home() / ".notes.json"


@click.group()
def cli():
    """Keep short notes."""


@cli.command()
@click.argument("text")
def add(text):
    """Add a note."""
    notes = json.loads(STORE.read_text()) if STORE.exists() else []
    STORE.write_text(json.dumps([*notes, text]))


@cli.command("list")
def list_notes():
    """List the notes."""
    for number, note in enumerate(json.loads(STORE.read_text()) if STORE.exists() else []):
        click.echo(f"{number}\t{note}")


if __name__ == "__main__":
    cli()
