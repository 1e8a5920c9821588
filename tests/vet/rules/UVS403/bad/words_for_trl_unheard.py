# /// script
# requires-python = ">=3.11"
# dependencies = []
# [tool.jobshelf]
# persists = "hub-model"
# ///
from trl import ModelConfig, SFTConfig, SFTTrainer, TrlParser


def main(output: str) -> int:
    words = ["--push_to_hub", "--hub_model_id", output]
    config, model = TrlParser((SFTConfig, ModelConfig)).parse_args_and_config(words)
    vars(config).update(push_to_hub=False)
    SFTTrainer(model=model.model_name_or_path, args=config).train()
    return 0


if __name__ == "__main__":
    raise SystemExit(main("user/model"))
