from datasets import load_dataset

rows = load_dataset("parquet", data_files="a.parquet", split="train", streaming=True)
print(next(iter(rows)))
