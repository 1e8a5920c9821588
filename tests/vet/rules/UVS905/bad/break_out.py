from datasets import load_dataset

rows = load_dataset("parquet", data_files="a.parquet", split="train", streaming=True)
for number, row in enumerate(rows):
    if number > 4:
        break
    print(row)
