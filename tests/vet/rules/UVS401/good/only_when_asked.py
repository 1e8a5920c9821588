# /// script
# requires-python = ">=3.11"
# dependencies = ["transformers>=5,<6"]
# ///
"""Trains, and pushes when it is asked to: the Trainer checks the token then."""

from transformers import HfArgumentParser, Trainer, TrainingArguments


def main():
    (training_args,) = HfArgumentParser(TrainingArguments).parse_args_into_dataclasses()
    trainer = Trainer(args=training_args)
    trainer.train()
    if training_args.push_to_hub:
        trainer.push_to_hub()


if __name__ == "__main__":
    main()
