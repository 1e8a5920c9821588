# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.mine]
# name = "x"
# [tool.hatch]
# python = 3
# ///
print("hello")
