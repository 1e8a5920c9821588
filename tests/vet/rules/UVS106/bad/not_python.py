# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
def broken(:
    pass
