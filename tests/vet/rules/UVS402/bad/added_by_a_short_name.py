import argparse

parser = argparse.ArgumentParser()
add = parser.add_argument
add("--token")
