# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
print(1)  # vet: ignore[UVS603] -- nothing to see
