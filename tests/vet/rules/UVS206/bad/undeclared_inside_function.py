# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
def main():
    from PIL import Image
    return Image
