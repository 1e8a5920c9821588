# SPDX-License-Identifier: Apache-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = []
#
# [tool.jobshelf]
# version = "1.0.0"
# inputs = ["dataset"]
# outputs = ["dataset"]
# persists = "hub-dataset"
# token = "write"
# shardable = true
# rehearse = ["{input:questions}", "{output}"]
# ///
"""Count the words of each question: a small script that does all that a rehearsal asks for, in plain Python.

The tests of the rehearsal break it, one line at a time.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import shlex
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

SIZE = 10
PATIENCE = float(os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "60"))
CARD = """---
tags: [uv-script, jobshelf]
configs:
- config_name: default
  data_files: [{{split: train, path: data/*.jsonl}}]
---
{rows} rows in {parts} parts, counted from {source} at {commit}.
"""


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("output")
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    parser.add_argument("--shard", default="1/1")
    args = parser.parse_args()
    index, count = map(int, args.shard.split("/"))
    require_write()
    rows, commit = read(args.input)
    if "question" not in rows[0]:
        return stop(4, f"{args.input} has no column question", "use another input")
    parts = [rows[start : start + SIZE] for start in range(0, len(rows), SIZE)]
    mine = {name(n): jsonl(part) for n, part in enumerate(parts) if n % count == index - 1}
    if args.dry_run:
        print(f"would write {len(parts)} parts")
        return 0
    files = dict(mine)
    try:
        create(args.output)
        there = held(args.output)
        for path, data in mine.items():
            if path not in there:
                commit_file(args.output, path, data)
        if len([path for path in held(args.output) if path.startswith("data/")]) == len(parts):
            card = CARD.format(rows=len(rows), parts=len(parts), source=args.input, commit=commit).encode()
            files["README.md"] = card
            if "README.md" not in held(args.output):
                commit_file(args.output, "README.md", card)
    except (OSError, http.client.HTTPException) as error:
        return save(args.output, files, error)
    print(f"{len(rows)} rows")
    return 0


def read(repo: str) -> tuple[list, str]:
    try:
        info = json.loads(ask(f"/api/datasets/{repo}"))
        text = ask(f"/datasets/{repo}/resolve/{info['sha']}/train.jsonl").decode()
    except urllib.error.HTTPError as error:
        raise SystemExit(stop(4, f"{repo} cannot be read: {error.code}", "check the name")) from error
    return [json.loads(line) for line in text.splitlines()], info["sha"]


def jsonl(rows: list) -> bytes:
    return "".join(json.dumps({**row, "words": len(row["question"].split())}) + "\n" for row in rows).encode()


def name(number: int) -> str:
    return f"data/part-{number}.jsonl"


def require_write() -> None:
    if not os.environ.get("HF_TOKEN"):
        raise SystemExit(stop(3, "no token", "hf auth login, or --secrets HF_TOKEN"))
    if json.loads(ask("/api/whoami-v2"))["auth"]["accessToken"]["role"] != "write":
        raise SystemExit(stop(3, "the token can only read", "use one that writes"))


def create(repo: str) -> None:
    body = json.dumps({"name": repo.split("/")[1], "type": "dataset"}).encode()
    try:
        ask("/api/repos/create", body)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise


def held(repo: str) -> list[str]:
    return [item["rfilename"] for item in json.loads(ask(f"/api/datasets/{repo}"))["siblings"]]


def commit_file(repo: str, path: str, data: bytes) -> None:
    file = {"path": path, "content": base64.b64encode(data).decode(), "encoding": "base64"}
    lines = [{"key": "header", "value": {"summary": path, "description": ""}}, {"key": "file", "value": file}]
    ask(f"/api/datasets/{repo}/commit/main", "\n".join(map(json.dumps, lines)).encode())


def ask(path: str, body: bytes | None = None) -> bytes:
    headers = {"Authorization": f"Bearer {os.environ.get('HF_TOKEN')}"}
    request = urllib.request.Request(os.environ["HF_ENDPOINT"] + path, data=body, headers=headers)
    for pause in (0.05, 0.1, None):
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return answer.read()
        except urllib.error.HTTPError as error:
            exists = error.code == 409 and path.endswith("create")
            if error.code not in (409, 412, 429, 500) or exists or pause is None:
                raise
        except (OSError, http.client.HTTPException):
            if pause is None:
                raise
        time.sleep(pause)
    raise AssertionError


def save(repo: str, files: dict[str, bytes], error: Exception) -> int:
    folder = Path("not-pushed").absolute()
    for path, data in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    push = shlex.join(["hf", "upload", repo, str(folder), ".", "--repo-type", "dataset"])
    return stop(6, f"not on the Hub ({error}), saved in {folder}", push)


def stop(code: int, message: str, fix: str) -> int:
    print(f"error: {message}. Fix: {fix}", file=sys.stderr)
    return code


if __name__ == "__main__":
    raise SystemExit(main())
