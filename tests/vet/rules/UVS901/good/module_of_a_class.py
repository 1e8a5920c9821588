import argparse
import sys
from typing import get_type_hints

from openai.resources.images import Images

names = vars(sys.modules[Images.generate.__module__])
hints = get_type_hints(Images.generate, globalns=names)
parser = argparse.ArgumentParser()
parser.add_argument("prompt", help="what is drawn")
parser.parse_args()
