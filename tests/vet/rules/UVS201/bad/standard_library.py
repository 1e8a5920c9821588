# /// script
# requires-python = ">=3.11"
# dependencies = ["argparse>=1,<2"]
# ///
print("hello")
