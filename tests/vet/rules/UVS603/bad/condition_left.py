# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
#% if token
print(1)
#% endif
