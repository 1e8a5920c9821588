import torch

print(torch.load("a.pt"))
