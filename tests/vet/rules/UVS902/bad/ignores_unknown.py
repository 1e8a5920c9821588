import argparse

args, rest = argparse.ArgumentParser().parse_known_args()
print(args)
