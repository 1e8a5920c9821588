# /// script
# requires-python = ">=3.11"
# dependencies = ["trl>=1,<2"]
# ///
import torch
import trl
