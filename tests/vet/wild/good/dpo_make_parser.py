# /// script
# requires-python = ">=3.11"
# dependencies = ["trl"]
# ///
import argparse

from datasets import load_dataset
from trl import DPOConfig, DPOTrainer, ModelConfig, ScriptArguments, TrlParser


def main(script_args, training_args, model_args):
    dataset = load_dataset(script_args.dataset_name)
    trainer = DPOTrainer(model_args.model_name_or_path, args=training_args, train_dataset=dataset["train"])
    trainer.train()
    trainer.save_model(training_args.output_dir)


def make_parser(subparsers: argparse._SubParsersAction | None = None):
    kinds = (ScriptArguments, DPOConfig, ModelConfig)
    if subparsers is not None:
        return subparsers.add_parser("dpo", help="run DPO", dataclass_types=kinds)
    return TrlParser(kinds)


if __name__ == "__main__":
    script_args, training_args, model_args, _ = make_parser().parse_args_and_config(return_remaining_strings=True)
    main(script_args, training_args, model_args)
