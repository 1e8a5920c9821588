# /// script
# requires-python = ">=3.11"
# dependencies = ["rich", "shapes"]
#
# [tool.uv.sources]
# shapes = { git = "https://github.com/example/shapes", rev = "0123456789abcdef0123456789abcdef01234567" }
# ///
from geometry import Circle
from rich import print

print(Circle(2).area())
