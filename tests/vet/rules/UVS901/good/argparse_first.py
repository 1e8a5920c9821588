import argparse

import torch

argparse.ArgumentParser().parse_args()
print(torch.cuda.is_available())
