from datasets import load_dataset

for row in load_dataset("parquet", data_files="a.parquet", split="train", streaming=False):
    print(row)
    break
