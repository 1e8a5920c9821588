# Licensed under the Apache License, Version 2.0 (the "License").
# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# license = "Apache-2.0"
# ///
print("hello")
