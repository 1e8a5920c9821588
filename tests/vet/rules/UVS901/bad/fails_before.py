import argparse
import os

home = os.environ["HF_HOME"]
argparse.ArgumentParser().parse_args()
