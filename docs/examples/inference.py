# SPDX-License-Identifier: Apache-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "datasets>=5.2,<6",
#     "fsspec>=2026.2,<2028",
#     "httpx2>=2.16,<3",
#     "huggingface-hub>=2.4,<3",
#     "tenacity>=9.1,<10",
#     "vllm>=0.32,<0.33",
#     "zstandard>=0.25,<1",  # used by: fsspec
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# [tool.hf-jobs]
# flavor = "l4x1"
# timeout = "2h"
# secrets = ["HF_TOKEN"]
#
# [tool.jobshelf]
# version = "0.1.0"
# title = "Example inference script"
# task = "text-generation"
# tags = ["dataset", "vllm"]
# inputs = ["dataset"]
# outputs = ["dataset"]
# persists = "hub-dataset"
# token = "write"
# license = "Apache-2.0"
# status = "preview"
# rehearse = ["{input:questions}", "{output}", "--model", "{model}", "--max-samples", "16", "--max-tokens", "8", "--prompt-column", "question", "--engine-args", "{\"enforce_eager\": true}", "--part-rows", "2", "--commit-every", "0"]
# ///
"""Example inference script.

Adds a language model's answer (vLLM) to each row of a dataset: one of the Hub, or local files (parquet, jsonl, json,
csv, tsv, arrow, also .gz and .zst). Run the same command again after a crash: only missing parts are computed, with the
answers of an uninterrupted run, as a row's seed is its number.

    uv run inference.py prompts.jsonl ./out --model org/model
    hf jobs uv run --secrets HF_TOKEN inference.py user/prompts user/result --model org/model

Exit codes: 0 done; 2 usage; 3 token; 4 input or output; 5 network or machine; 6 not persisted.
"""

import argparse
import ast
import csv
import glob
import hashlib
import io
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NoReturn


def conversation(row: dict[str, Any], column: str) -> list[dict[str, str]]:
    """Return what the model is asked for one row."""
    # TODO(jobshelf): make your prompt
    return [{"role": "user", "content": str(row[column])}]


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    add = parser.add_argument
    add("input", metavar="INPUT", help="Hub dataset (user/name), or a local file or folder")
    add("output", metavar="OUTPUT", help="Hub dataset (user/name), hf://buckets/user/name/folder, or a folder (./out)")
    add("--model", required=True, metavar="M", help="model on the Hub, or its local folder")
    add("--prompt-column", default="prompt", metavar="NAME", help="column to answer (default: %(default)s)")
    add("--temperature", type=float, default=0.7, help="randomness, 0 for none (default: %(default)s)")
    add("--max-tokens", type=int, default=1024, metavar="N", help="tokens of an answer (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="seed of the first row (default: %(default)s)")
    add("--engine-args", type=json.loads, default={}, metavar="JSON", help="more arguments of vllm.LLM")
    add("--config", metavar="NAME", help="configuration of the dataset")
    add("--split", default="train", help="split to read (default: %(default)s)")
    add("--max-samples", type=int, metavar="N", help="read only the first N rows")
    add("--part-rows", type=int, default=200, metavar="N", help="rows of one file (default: %(default)s)")
    add("--commit-every", type=int, default=240, metavar="S", help="seconds between commits (default: %(default)s)")
    add("--private", action="store_true", help="make a new output private, as for private input")
    add("--public", action="store_true", help="make a new output public, also for private input")
    add("--keep", action="store_true", help="keep the parts that another version of this script finished")
    add("--overwrite", action="store_true", help="replace what is in OUTPUT")
    add("--dry-run", action="store_true", help="check everything, write nothing")
    args = parser.parse_args()
    if args.part_rows < 1 or args.commit_every < 0 or (args.max_samples is not None and args.max_samples < 1):
        parser.error("--part-rows and --max-samples are at least 1, --commit-every is at least 0")
    if Path(args.input).absolute().is_relative_to(Path(args.output).absolute()):
        parser.error("INPUT lies in OUTPUT")
    require_write(args.output)
    rows, commit, private = read_rows(args.input, args.config, args.split)
    rows = rows.select(range(len(rows))[: args.max_samples])
    if args.prompt_column not in rows.column_names:
        stop(4, f"{args.input} has no column {args.prompt_column}", f"choose from {', '.join(rows.column_names)}")
    if clash := {"response", "finish_reason"} & set(rows.column_names):
        stop(4, f"{args.input} has a column {min(clash)} already", "rename it there, or in compute()")
    output = Output(args, run_identity(args, commit))
    starts = {f"data/train-{start:08d}.parquet": start for start in range(0, len(rows), args.part_rows)}
    print(f"{len(rows):,} rows of {args.input} at {commit}, in {len(starts):,} parts, to {args.output}")
    if args.dry_run:
        return 0
    output.claim(private=private)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that finished parts are sent
    try:
        for name, start in starts.items():
            if name not in output.finished:
                output.write(name, compute(args, rows, start))
        if "README.md" not in output.finished:
            output.write("README.md", card(args, len(rows), output.run).encode())
    finally:
        output.send()
    return 0


@cache
def load_model(name: str, options: str) -> Any:
    """Return the engine; it is loaded once."""
    from vllm import LLM

    return LLM(model=name, **json.loads(options))


def compute(args: argparse.Namespace, rows: Any, start: int) -> bytes:
    """Return the part that begins at row `start`, with the answers, as a parquet file."""
    from vllm import SamplingParams

    part = rows.select(range(start, min(start + args.part_rows, len(rows))))
    chats = [conversation(row, args.prompt_column) for row in part]
    options = {"temperature": args.temperature, "max_tokens": args.max_tokens}
    sampling = [SamplingParams(seed=args.seed + start + place, **options) for place in range(len(chats))]
    answers = ask(load_model(args.model, json.dumps(args.engine_args)), chats, sampling)
    buffer = io.BytesIO()
    for place, column in enumerate(("response", "finish_reason")):
        part = part.add_column(column, [answer[place] for answer in answers])
    part.to_parquet(buffer)
    return buffer.getvalue()


def ask(model: Any, chats: list[Any], sampling: list[Any]) -> list[tuple[str, str]]:
    """Return each conversation's answer and why it ended; one that vLLM refuses is found by halving."""
    try:
        done = model.chat(chats, sampling, use_tqdm=False)
    except ValueError as error:
        if len(chats) == 1:
            return [("", f"refused: {error}")]
        half = len(chats) // 2
        return ask(model, chats[:half], sampling[:half]) + ask(model, chats[half:], sampling[half:])
    return [(request.outputs[0].text, str(request.outputs[0].finish_reason)) for request in done]


def card(args: argparse.Namespace, count: int, run: dict[str, Any]) -> str:
    """Return the dataset card: what was made of what, by what."""
    configs = [{"config_name": "default", "data_files": "data/*.parquet"}]
    front = json.dumps({"tags": ["uv-script", "jobshelf"], "configs": configs})
    made = f"{count:,} rows of `{args.input}` at `{run['input']}`, answered by `{args.model}` with `inference.py`."
    return f"---\n{front}\n---\n# {args.output}\n\n{made}\n\n```json\n{json.dumps(run, indent=1)}\n```\n"


def read_rows(source: str, config: str | None, split: str) -> tuple[Any, str, bool]:
    """Return the rows of a Hub dataset or of local files, their commit or digest, and whether they are private."""
    import fsspec
    from datasets import Features, Value, load_dataset, load_dataset_builder
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    path = Path(source).expanduser().absolute()
    try:
        if not path.exists():
            info = retrying(HfApi().dataset_info, source)
            rows = retrying(load_dataset, source, config, split=split, revision=info.sha)
            return rows, info.sha, bool(info.private)
        folder = str(path if path.is_dir() else path.parent)
        options: dict[str, Any] = {} if path.is_dir() else {"data_files": glob.escape(str(path))}  # a name, no pattern
        builder = load_dataset_builder(folder, config, **options)
        files = sorted(Path(name) for names in builder.config.data_files.values() for name in names)
        names = glob.glob("**", root_dir=path, recursive=True)  # noqa: PTH207 -- it leaves out hidden files
        found = {kind for name in names for kind in Path(name).suffixes}
        if len(found & {".csv", ".tsv", ".jsonl", ".parquet", ".arrow"}) > 1:
            raise ValueError("the folder holds files of several kinds")
        digest, size = hashlib.sha256(), 0
        for file in files:
            with fsspec.open(str(file), compression="infer") as opened:
                digest.update(file.name.encode() + hashlib.file_digest(opened, "sha256").digest())
                size = max(size, opened.tell())
        if builder.name == "csv":  # all text, so that 007, NA and 2**70 stay what they are
            with fsspec.open(str(files[0]), "rt", compression="infer", encoding="utf-8-sig") as opened:
                header = opened.readline()
            separator = max(",;\t|", key="".join(header.split('"')[::2]).count)  # outside of quotes
            names = next(csv.reader([header], delimiter=separator))
            if len(set(names)) < len(names):
                raise ValueError("two columns have the same name")
            text = Features(dict.fromkeys(names, Value("string")))
            options |= {"sep": separator, "features": text, "keep_default_na": False}
        elif builder.name == "json":  # a type may show late: look at a whole file at once
            options["chunksize"] = size + 1
        elif builder.name == "parquet":  # else a file without rows fails
            options["batch_size"] = 1000
        return load_dataset(folder, config, split=split, **options), digest.hexdigest(), False
    except HfHubHTTPError as error:
        code = 4 if get_token() else 3  # without a token the Hub does not say whether a dataset exists
        fix = "check the name; a private dataset needs `hf auth login`, or --secrets HF_TOKEN for a Job"
        stop(code, f"the Hub answered {error.response.status_code} for {source}", fix)
    except ConnectionError:
        raise
    except Exception as error:  # noqa: BLE001 -- each kind of file fails in its own way
        stop(4, f"cannot read {source}: {str(error.__cause__ or error) or 'no rows'}", "check the file and the split")


def run_identity(args: argparse.Namespace, source: str) -> dict[str, str]:
    """Return what decides the result: this script's code, without comments, the arguments, the commit of the input."""
    words = sys.orig_argv  # with `uv run -` the script follows -c
    text = Path(__file__).read_text(encoding="utf-8") if "__file__" in globals() else words[words.index("-c") + 1]
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [one for one in body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    others = {"input", "output", "commit_every", "shard", "private", "public", "keep", "overwrite", "dry_run"}
    arguments = {key: value for key, value in vars(args).items() if key not in others}
    code = hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
    return {"script": code, "arguments": json.dumps(arguments, sort_keys=True), "input": source}


def require_write(target: str, kind: str = "dataset") -> None:
    """Stop with 3 unless the token may write to `target`; a folder, s3:// and gs:// need none."""
    # The Hub's client gets a timeout, as it has none: a silent Hub would hold a Job until the Job's own.
    if not os.environ.get("HF_HUB_DOWNLOAD_TIMEOUT", "").isdigit():
        os.environ["HF_HUB_DOWNLOAD_TIMEOUT"] = "60"
    import httpx2
    from huggingface_hub import HfApi, constants, get_session, get_token, set_client_factory
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError

    limit = httpx2.Timeout(constants.HF_HUB_DOWNLOAD_TIMEOUT).as_dict()
    hooks = [*get_session().event_hooks["request"], lambda request: request.extensions.update(timeout=limit)]
    set_client_factory(lambda: httpx2.Client(event_hooks={"request": hooks}, follow_redirects=True))
    match = re.fullmatch(r"(hf://buckets/)?((\w[\w.-]*)/[\w.-]+)(?(1)(?:/.*)?)", target)
    if match is None:
        return
    if not get_token():
        stop(3, f"no Hub token, needed to write to {target}", "run `hf auth login`; for a Job add `--secrets HF_TOKEN`")
    bucket, repo, owner = match.groups()
    fix = "make a write token at https://huggingface.co/settings/tokens, then run `hf auth login`"
    try:
        account = retrying(HfApi().whoami)
        access = account.get("auth", {}).get("accessToken") or {"role": "write"}
        owners = [account, *account.get("orgs", [])]
        writable = {one["name"] for one in owners if access["role"] == "write" and one.get("roleInOrg") != "read"}
        for scope in access.get("fineGrained", {}).get("scoped", []):
            writable |= {scope["entity"].get("name")} if "repo.write" in scope["permissions"] else set()
        if not writable & {owner, repo}:
            stop(3, f"the token may not write to {target}", fix)
        if not bucket:
            with suppress(RepositoryNotFoundError):  # it will be created
                retrying(HfApi().auth_check, repo, repo_type=kind, write=True)
    except (HfHubHTTPError, UnicodeError):  # refused, or characters that no token has
        stop(3, f"the Hub does not accept the token to write to {target}", fix)


class Output:
    """The place of a run's files: user/name on the Hub, hf://buckets/..., s3://..., gs://... or a folder.

    Its run.json says whose files they are; `finished` names those of this run. A new file waits in `folder`: in a
    repository for up to `--commit-every` seconds, as the Hub takes 128 commits an hour.
    """

    def __init__(self, args: argparse.Namespace, run: dict[str, Any], *, kind: str = "dataset") -> None:
        from fsspec import url_to_fs
        from fsspec.implementations.dirfs import DirFileSystem

        self.args, self.target, self.kind = args, args.output, kind
        self.repo = re.fullmatch(r"\w[\w.-]*/[\w.-]+", self.target) is not None
        prefix = {"dataset": "hf://datasets/", "model": "hf://"}[kind] if self.repo else ""
        store, self.root = url_to_fs(prefix + self.target)
        self.fs, self.local = DirFileSystem(self.root, store), "file" in store.protocol
        names, held = retrying(self.look)
        differs = [key for key, value in run.items() if held.get(key) != value]
        differs += ["kept"] if args.overwrite and "kept" in held else []
        self.run, self.finished, self.stale = run, set[str](), set[str]()
        if not differs:
            self.run, self.finished = held, names
        elif args.overwrite or not names:  # a repository has a history; elsewhere only files of a run are deleted
            made = re.compile("" if self.repo else r"(data|checkpoint-\d+)/|(README\.md|run\.json)$")
            self.stale = {name for name in names if made.match(name) and (self.repo or held)}
        elif args.keep and held:
            self.run, self.finished = {**run, "kept": held}, names - {"README.md", "run.json"}
        else:
            found = f"another run ({', '.join(differs)} differ)" if held else "files of another origin"
            also = "--keep to keep its parts, or " if held else ""
            stop(4, f"{self.target} holds {found}", f"name another output, or add {also}--overwrite")

    def look(self) -> tuple[set[str], dict[str, Any]]:
        """Return the names of the files that are there now, those of other processes too, and what run.json says."""
        names, held = set(), {}
        self.fs.fs.invalidate_cache()  # all of it: for one path, the Hub would be asked
        with suppress(FileNotFoundError, TypeError, ValueError):
            names = {name for name in self.fs.find("") if "/." not in f"/{name}"}
            held = dict(json.loads(self.fs.cat_file("run.json"))) if "run.json" in names else {}
        return names, held

    def claim(self, *, private: bool) -> None:
        """Make the place if there is none, private like its input, and write whose it is."""
        from huggingface_hub import HfApi

        api, private = HfApi(), self.args.private or (private and not self.args.public)
        bucket = re.match(r"hf://buckets/([^/]+/[^/]+)", self.target)
        if self.repo:
            retrying(api.create_repo, self.target, repo_type=self.kind, private=private, exist_ok=True)
            if private:  # also one that was there
                retrying(api.update_repo_settings, self.target, repo_type=self.kind, private=True)
        elif bucket:
            retrying(api.create_bucket, bucket[1], private=private, exist_ok=True)
            if private:
                retrying(api.update_bucket_settings, bucket[1], private=True)
        self.waiting, self.sent = tempfile.TemporaryDirectory(), float("-inf")
        self.folder = Path(self.waiting.name)
        for name in () if self.repo else self.stale:
            retrying(self.fs.rm_file, name)
        if "run.json" not in self.finished:
            self.write("run.json", json.dumps(self.run).encode())

    def write(self, name: str, data: bytes) -> None:
        """Put a file there: at once, or in a repository with the next commit."""
        part, path = self.folder / ".part", self.folder / name
        part.write_bytes(data)  # under a hidden name, which is not sent: a full disk or SIGTERM may cut it short
        path.parent.mkdir(parents=True, exist_ok=True)
        part.replace(path)
        self.finished.add(name)
        if not self.repo or time.monotonic() - self.sent >= self.args.commit_every:
            self.send()

    def send(self) -> None:
        """Send what waits; when it is refused for good, keep it here and stop with 6."""
        if not any(self.folder.glob("[!.]*")):
            return
        try:
            retrying(self.put)
        except Exception as error:
            if self.local:
                raise
            kept = shutil.move(self.folder, Path(f"unsaved-{os.getpid()}").absolute())
            here, there = shlex.quote(str(kept)), shlex.quote(self.target)
            sync = {"s3": "aws s3 sync", "gs": "gcloud storage rsync -r"}.get(self.target[:2], "hf buckets sync")
            push = f"hf upload {there} {here} . --repo-type {self.kind}" if self.repo else f"{sync} {here} {there}"
            stop(6, f"{self.target} refused the files now in {kept}: {error}", push)
        shutil.rmtree(self.folder)
        self.folder.mkdir()
        self.stale, self.sent = set(), time.monotonic()

    def put(self) -> None:
        """Put what waits in its place; into a repository in one commit. Repeated, it changes nothing."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        names, held = self.look()
        paths = sorted(filter(Path.is_file, self.folder.rglob("[!.]*")), key=lambda path: path.stat().st_mtime_ns)
        files = {path.relative_to(self.folder).as_posix(): path for path in paths}
        if held != self.run and files.keys() != {"run.json"}:
            self.waiting.cleanup()
            stop(4, f"another run has taken {self.target}", "name another output, or run this again with --overwrite")
        if self.repo:
            changes = [CommitOperationDelete(name) for name in self.stale & names - files.keys()]
            changes += [CommitOperationAdd(name, path) for name, path in files.items()]
            HfApi().create_commit(self.target, changes, repo_type=self.kind, commit_message=f"Add {len(files)} files")
            return
        for name, path in files.items():
            if self.local:
                self.place(path, Path(self.root, name))
            else:
                self.fs.put_file(str(path), name)

    def place(self, path: Path, there: Path) -> None:
        """Move a file into the folder, whole or not at all; another process may bring the same file."""
        there.parent.mkdir(parents=True, exist_ok=True)
        part = there.with_name(f".{there.name}.{self.folder.name}")
        try:
            shutil.move(path, part)  # a copy, if it comes from another disk
            part.replace(there)
        except FileNotFoundError:  # the other one was faster, and has cleaned up
            if not there.exists():
                raise
        finally:
            for left in there.parent.glob(f".{there.name}.*"):  # also what a killed run left
                left.unlink(missing_ok=True)


def retrying(call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return `call(*args, **kwargs)`, repeated for two minutes while the failure may pass; then ConnectionError."""
    import httpx2
    from tenacity import RetryError, Retrying, retry_if_exception, stop_before_delay, wait_exception, wait_exponential

    def passes(error: BaseException | None) -> bool:
        status = getattr(getattr(error, "response", None), "status_code", None)
        if status is not None:
            return status in {408, 409, 412, 425, 429} or (status >= 500 and status != 501)
        if isinstance(error, ConnectionError | TimeoutError | httpx2.TransportError):
            return type(error).__name__ not in {"OfflineModeIsEnabled", "LocalProtocolError", "UnsupportedProtocol"}
        unclear = type(error) in {OSError, RuntimeError} and getattr(error, "errno", None) is None
        return unclear or (error is not None and passes(error.__cause__))

    def asked(error: BaseException) -> float:
        seconds = getattr(getattr(error, "response", None), "headers", {}).get("Retry-After", "")
        return float(seconds) if seconds.isdigit() else 0

    waits, limit = wait_exponential(0.5, max=30) + wait_exception(asked), stop_before_delay(120)
    try:
        return Retrying(retry=retry_if_exception(passes), wait=waits, stop=limit)(call, *args, **kwargs)
    except RetryError as error:
        failure = error.last_attempt.exception()
        raise ConnectionError(f"no success within two minutes: {failure}") from failure


def stop(code: int, found: str, fix: str) -> NoReturn:
    """Print what was found and how to fix it on one line of stderr, and exit with `code`."""
    line = " ".join(f"error: {found[:500]}. Fix: {fix}".split())
    print("".join(char if char.isprintable() else "?" for char in line), file=sys.stderr)
    raise SystemExit(code)


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except OSError as error:
        stop(5, f"{error}", "check the network and the disk, then run the same command again")
