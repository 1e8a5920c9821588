# /// script
# requires-python = ">=3.11"
# dependencies = ["openai", "click"]
# ///
import click
from openai import OpenAI


@click.command()
@click.argument("file", type=click.File())
@click.option("--api-key", envvar="OPENAI_API_KEY", required=True, help="Key of the service.")
@click.option("--model", default="gpt-5-mini", show_default=True)
def main(file, api_key, model):
    """Summarise FILE in three sentences."""
    text = file.read()
    answer = OpenAI(api_key=api_key).responses.create(model=model, input=f"Summarise in three sentences:\n\n{text}")
    click.echo(answer.output_text)


if __name__ == "__main__":
    main()
