"""The command line: each verb parses, calls one library function, and prints."""

from jobshelf.cli.main import ACTIONS, build_parser, main, parse

__all__ = ["ACTIONS", "build_parser", "main", "parse"]
