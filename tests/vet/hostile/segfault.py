# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Break the interpreter."""

import argparse

def function():
    pass


function.__code__ = function.__code__.replace(co_code=bytes([100, 255]) * 50, co_consts=())
function()

argparse.ArgumentParser().parse_args()
