import urllib.request

from huggingface_hub import get_token

token = get_token()
headers = {"authorization": f"Bearer {token}"}
request = urllib.request.Request("https://huggingface.co/api/whoami-v2", headers=headers)
