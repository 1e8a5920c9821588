# /// script
# requires_python = ">=3.11"
# dependencies = []
# ///
print("hello")
