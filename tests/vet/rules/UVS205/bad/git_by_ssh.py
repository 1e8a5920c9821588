# /// script
# requires-python = ">=3.11"
# dependencies = ["x @ git+ssh://git@github.com/a/x@0123456789012345678901234567890123456789"]
# ///
print("hello")
