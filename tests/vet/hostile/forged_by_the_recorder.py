# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
"""Dig the recorder up and have it write nonsense."""

import argparse

import torch

trace = type(torch.x).trace
for value in ({}, [], {"library": 3}, {"library": "argparse", "prog": "x", "description": "", "arguments": [{"flags": {}}], "commands": []}):
    trace.record("interface", value)
trace.record("patterns", [["(a+)+$", 0]] * 1_000)
trace.record("generated", ["x" * 1_000_000])
trace.record("imported", ["venv.__main__"])

argparse.ArgumentParser().parse_args()
