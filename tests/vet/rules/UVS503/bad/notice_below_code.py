# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
print("hello")

# Licensed under the Apache License, Version 2.0 (the "License").
