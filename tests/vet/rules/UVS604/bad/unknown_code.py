# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
print(1)  # vet: ignore[UVS999] -- because
