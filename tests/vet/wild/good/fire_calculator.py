# /// script
# dependencies = ["fire"]
# ///
import fire


class Calculator:
    """Two operations."""

    def add(self, a: float, b: float) -> float:
        return a + b

    def times(self, a: float, b: float) -> float:
        return a * b


if __name__ == "__main__":
    fire.Fire(Calculator)
