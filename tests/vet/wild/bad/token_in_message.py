# /// script
# requires-python = ">=3.11"
# dependencies = ["huggingface-hub"]
# ///
from huggingface_hub import get_token, whoami

key = get_token()
print(f"logged in as {whoami()['name']} with {key[:10]}...")  # expect: UVS402
