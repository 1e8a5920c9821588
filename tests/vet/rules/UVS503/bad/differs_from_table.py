# SPDX-License-Identifier: MIT
# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# license = "Apache-2.0"
# ///
print("hello")
