import click


@click.command()
@click.argument("name")
def main(name: str) -> None:
    """Greet."""
    print(name)


if __name__ == "__main__":
    main()
