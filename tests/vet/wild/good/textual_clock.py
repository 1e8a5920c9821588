# /// script
# requires-python = ">=3.11"
# dependencies = ["textual>=1"]
# ///
from datetime import datetime

from textual.app import App, ComposeResult
from textual.widgets import Digits


class Clock(App):
    CSS = "Screen { align: center middle; } Digits { width: auto; }"

    def compose(self) -> ComposeResult:
        yield Digits("")

    def on_ready(self) -> None:
        self.set_interval(1, self.show)

    def show(self) -> None:
        self.query_one(Digits).update(f"{datetime.now():%X}")


if __name__ == "__main__":
    Clock().run()
