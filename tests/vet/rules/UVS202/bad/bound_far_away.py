# /// script
# requires-python = ">=3.11"
# dependencies = ["six>=1.16,<999"]
# ///
import six

print(six)
