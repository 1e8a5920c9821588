import argparse
import sys


class Parser(argparse.ArgumentParser):
    def error(self, message):
        sys.exit(message)


Parser().parse_args()
