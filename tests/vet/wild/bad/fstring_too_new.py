# /// script
# requires-python = ">=3.10"
# ///
names = ["a", "b"]
print(f"{"\n".join(name for name in names)} and {"\t".join(names)}")  # expect: UVS106
