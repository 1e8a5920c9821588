import logging
import os
import warnings

os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
logging.basicConfig(level=logging.INFO)
warnings.filterwarnings("ignore")
