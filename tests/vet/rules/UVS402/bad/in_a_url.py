from huggingface_hub import get_token

hf_token = get_token()
url = f"https://user:{hf_token}@huggingface.co/user/name"
