# /// script
# requires-python = ">=3.11"
# dependencies = ["requests", "tqdm"]
# ///
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import requests
from tqdm import tqdm


def fetch(url: str) -> int:
    answer = requests.get(url, timeout=(5, 60))
    answer.raise_for_status()
    Path(url.rsplit("/", 1)[-1]).write_bytes(answer.content)
    return len(answer.content)


urls = Path("urls.txt").read_text().split()
with ThreadPoolExecutor(8) as pool:
    jobs = [pool.submit(fetch, url) for url in urls]
    print(sum(job.result() for job in tqdm(as_completed(jobs), total=len(jobs))), "bytes")
