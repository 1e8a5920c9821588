# /// script
# requires-python = ">=3.11"
# dependencies = ["torch>=2.9,<3"]
# [tool.uv]
# extra-index-url = ["https://download.pytorch.org/whl/cu128"]  # vet: ignore[UVS205] -- CUDA wheels are only there
# ///
print("hello")
