# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
print("TODO(jobshelf)")  # vet: ignore[UVS603] -- prints the mark
