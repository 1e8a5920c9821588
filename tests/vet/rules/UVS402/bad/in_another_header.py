from huggingface_hub import get_token

token = get_token()
headers = {"X-Debug": f"token {token}"}
