# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
# vet: ignore[UVS104] -- nothing to see
print(1)
