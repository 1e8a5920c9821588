# /// script
# dependencies = []
# ///
print("hello")
