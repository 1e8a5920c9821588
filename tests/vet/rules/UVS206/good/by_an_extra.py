# /// script
# requires-python = ">=3.11"
# dependencies = ["datasets[vision]>=5,<6", "pandas[excel]>=3,<4", "trl[peft,quantization]>=1,<2"]
# ///
import bitsandbytes
import datasets
import openpyxl
import pandas
import peft
import trl
from PIL import Image

print(bitsandbytes, datasets, openpyxl, pandas, peft, trl, Image)
