# SPDX-License-Identifier: do what you want, really
# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
print("hello")
