# /// script
# requires-python = ">=3.11"
# dependencies = ["pillow>=12,<13", "scikit-learn>=1,<2", "pyyaml>=6,<7", "huggingface-hub>=2,<3"]
# ///
import huggingface_hub
import sklearn.metrics
import yaml
from PIL import Image
