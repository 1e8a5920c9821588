# /// script
# requires-python = ">=3.11"
# dependencies = ["marimo", "numpy==2.3.4", "altair==5.5.0", "polars==1.34.0"]
# ///

import marimo

__generated_with = "0.17.0"
app = marimo.App(width="medium")


@app.cell
def _():
    import altair as alt
    import marimo as mo
    import numpy as np
    import polars as pl

    return alt, mo, np, pl


@app.cell
def _(mo):
    frequency = mo.ui.slider(1, 10, label="frequency")
    frequency
    return (frequency,)


@app.cell
def _(alt, frequency, np, pl):
    x = np.linspace(0, 6, 300)
    data = pl.DataFrame({"x": x, "y": np.sin(frequency.value * x)})
    alt.Chart(data).mark_line().encode(x="x", y="y")
    return


if __name__ == "__main__":
    app.run()
