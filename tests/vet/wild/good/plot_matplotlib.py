#!/usr/bin/env -S uv run --script
# /// script
# requires-python = ">=3.11"
# dependencies = ["matplotlib"]
# ///
import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(-3, 3, 400)
figure, axes = plt.subplots()
axes.plot(x, np.exp(-(x**2)), label="bell")
axes.legend()
figure.savefig("bell.svg")
