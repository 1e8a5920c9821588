import torch


def evaluate(model):
    model.eval()


evaluate(torch.load("a.pt", weights_only=True))
