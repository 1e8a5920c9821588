import argparse

parser = argparse.ArgumentParser()
parser.add_argument("--max-tokens", type=int)
args = parser.parse_args()
print(f"{args.max_tokens} tokens")
print("token_count", 3)
