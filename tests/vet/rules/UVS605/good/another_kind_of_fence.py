# /// script
# requires-python = ">=3.11"
# dependencies = []
# ///
# --- block: greeting ---
x = 1
# --- end ---
