# /// script
# requires-python = ">=3.11"
# dependencies = ["duckdb", "click"]
# ///
import click
import duckdb


@click.command()
@click.argument("database", type=click.Path(exists=True))
@click.option("--limit", default=20, show_default=True, help="Rows to show.")
def main(database, limit):
    """Show the biggest orders of a DATABASE."""
    with duckdb.connect(database, read_only=True) as connection:
        connection.sql("select * from orders order by total desc").limit(limit).show()


if __name__ == "__main__":
    main()
