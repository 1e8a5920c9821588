import requests

from huggingface_hub import get_token

token = get_token()
headers = {"Authorization": f"token {token}"}
headers["authorization"] = f"Token {token}"
requests.get("https://huggingface.co/api/whoami-v2", headers=headers)
