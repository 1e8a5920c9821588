# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
print("TODO(jobshelf)")  # vet: ignore -- prints it
