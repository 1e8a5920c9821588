from huggingface_hub import get_token

token = get_token()
print("token starts with", token[:7])
