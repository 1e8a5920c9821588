# /// script
# requires-python = ">=3.11"
# dependencies = ["transformers", "torch"]
# ///
import sys

from transformers import pipeline

classify = pipeline("sentiment-analysis", device_map="auto")
for line in sys.stdin:
    (best,) = classify(line.strip())
    print(f"{best['label']}\t{best['score']:.2f}\t{line.strip()}")
