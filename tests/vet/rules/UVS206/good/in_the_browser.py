# /// script
# requires-python = ">=3.11"
# dependencies = ["marimo"]
# ///
import sys

import marimo

if "pyodide" in sys.modules:
    import micropip
    from js import window

    print(micropip.list(), window.location)
print(marimo.__version__)
