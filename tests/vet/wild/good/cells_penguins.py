# /// script
# requires-python = ">=3.11"
# dependencies = ["matplotlib", "pandas", "ipykernel"]
# ///

# %% [markdown]
# # Penguins

# %%
import matplotlib.pyplot as plt
import pandas as pd

# %%
penguins = pd.read_csv("penguins.csv").dropna()
penguins.head()

# %%
penguins.plot.scatter("bill_length", "bill_depth")
plt.show()
