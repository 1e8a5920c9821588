# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = ["torch>=2.6", "torchvision"]
#
# [tool.uv.sources]
# torch = [{ index = "pytorch-cpu" }]
# torchvision = [{ index = "pytorch-cpu" }]
#
# [[tool.uv.index]]
# name = "pytorch-cpu"
# url = "https://download.pytorch.org/whl/cpu"
# explicit = true
# ///
import torch
from torchvision.models import resnet18

model = resnet18()
print(sum(parameter.numel() for parameter in model.parameters()))
print(torch.__version__)
