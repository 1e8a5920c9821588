# /// script
# requires-python = ">=3.11"
# dependencies = ["uvloop>=0.22,<0.23 ; sys_platform != 'win32'", "polars[pyarrow]>=2.1,<3"]
# ///
print("hello")
