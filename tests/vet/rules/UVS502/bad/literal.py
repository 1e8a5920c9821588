from datasets import load_dataset

print(load_dataset("user/name", split="train"))
