from transformers import AutoModel

model = AutoModel.from_pretrained("a/b", trust_remote_code=True, revision="abc")
