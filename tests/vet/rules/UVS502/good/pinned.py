from datasets import load_dataset

print(load_dataset("user/name", split="train", revision="0123456789abcdef0123456789abcdef01234567"))
