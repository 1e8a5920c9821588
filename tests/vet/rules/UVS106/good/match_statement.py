# /// script
# requires-python = ">=3.10"
# dependencies = []
# ///
match 1:
    case 1:
        print("one")
