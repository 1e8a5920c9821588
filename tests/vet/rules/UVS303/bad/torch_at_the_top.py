import argparse

import torch

argparse.ArgumentParser().parse_args()
print(torch.__version__)
