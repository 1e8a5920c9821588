# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
print(1)


# --- block: greeting 1 (jobshelf) ---
x = 1
# --- end block ---
