# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
# TODO: faster
# %% a cell
print({1: {2}})
