from datasets import load_dataset

rows = load_dataset("parquet", data_files="a.parquet", split="train", streaming=True)
for row in rows:
    for word in row:
        if not word:
            break
    print(row)
