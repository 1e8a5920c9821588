"""Count.

    hf jobs uv run --secrets HF_TOKEN https://example.org/count.py
"""

from huggingface_hub import HfApi, get_token

token = get_token()
print("token found:", token is not None)
HfApi(token=token).whoami()
