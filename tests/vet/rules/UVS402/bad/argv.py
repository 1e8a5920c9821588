import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--hf-token")
