# /// script
# requires-python = ">=3.11"
# dependencies = ["x @ https://example.org/x-1.0-py3-none-any.whl#sha256=abababababababababababababababababababababababababababababababab"]
# ///
print("hello")
