# /// script
# requires-python = ">=3.11"
# dependencies = ["vllm>=0.32,<0.33"]
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
# ///
"""Serve a model with `vllm serve`: `serve_vllm.py MODEL`; prints the address that will answer."""

import json
import os
import socket
import sys
from pathlib import Path

with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
print(json.dumps({"url": f"http://127.0.0.1:{port}/v1"}), flush=True)
command = Path(sys.executable).with_name("vllm")
options = ["--served-model-name", "m", "--dtype", "float32", "--max-model-len", "2048", "--enforce-eager"]
os.dup2(2, 1)  # what it says later is its log
os.execv(command, [command, "serve", sys.argv[1], *options, "--host", "127.0.0.1", "--port", str(port)])
