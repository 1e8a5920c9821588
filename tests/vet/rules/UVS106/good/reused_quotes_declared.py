# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
names = ["a"]
print(f"{', '.join(names)}")
