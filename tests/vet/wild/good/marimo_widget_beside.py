# /// script
# requires-python = ">=3.12"
# dependencies = ["marimo", "anywidget"]
# ///

import marimo

app = marimo.App()

with app.setup:
    from pathlib import Path

    import anywidget
    import marimo as mo
    import traitlets


@app.class_definition
class Counter(anywidget.AnyWidget):
    _esm = Path(__file__).parent / "counter.js"
    value = traitlets.Int(0).tag(sync=True)


@app.cell
def _():
    mo.ui.anywidget(Counter())
    return


if __name__ == "__main__":
    app.run()
