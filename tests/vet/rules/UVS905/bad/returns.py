from datasets import load_dataset


def first(name, stream):
    for row in load_dataset(name, streaming=stream):
        return row
