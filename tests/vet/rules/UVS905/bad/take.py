from datasets import load_dataset

rows = load_dataset("parquet", data_files="a.parquet", split="train", streaming=True)
rows = rows.filter(bool)
print(list(rows.take(5)))
