# /// script
# requires-python = ">=3.11"
# dependencies = ["transformers", "torch"]
# ///
from transformers import AutoModelForCausalLM

options = {"torch_dtype": "auto"}
options["trust_remote_code"] = True  # expect: UVS501
model = AutoModelForCausalLM.from_pretrained("someone/model", **options)
print(model.num_parameters())
