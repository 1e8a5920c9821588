# /// script
# ///
print(1)
