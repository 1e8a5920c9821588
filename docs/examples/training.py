# SPDX-License-Identifier: Apache-2.0
# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "datasets>=5.2,<6",
#     "fsspec>=2026.2,<2028",
#     "httpx2>=2.16,<3",
#     "huggingface-hub>=2.4,<3",
#     "peft>=0.21,<0.22",  # used by: trl
#     "tenacity>=9.1,<10",
#     "torch>=2.13,<3",
#     "transformers>=5.19,<6",
#     "trl>=1.16,<1.17",
#     "zstandard>=0.25,<1",  # used by: fsspec
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-20T00:00:00Z"
#
# [tool.hf-jobs]
# flavor = "a10g-large"
# timeout = "4h"
# secrets = ["HF_TOKEN"]
#
# [tool.jobshelf]
# version = "0.1.0"
# title = "Example training script"
# task = "fine-tuning"
# tags = ["sft", "trl"]
# inputs = ["dataset", "model"]
# outputs = ["model"]
# persists = "hub-model"
# token = "write"
# license = "Apache-2.0"
# status = "preview"
# rehearse = ["{input:conversations}", "{output}", "--model", "{model}", "--max_steps", "4", "--save_steps", "1", "--per_device_train_batch_size", "2"]
# ///
"""Example training script.

Fine-tunes a language model with TRL's SFTTrainer on conversations, prompts with completions, or text. Every option of
trl.SFTConfig and trl.ModelConfig works under its own name, behind INPUT and OUTPUT. Each checkpoint goes to OUTPUT as
it is saved; run the same command again after a crash, and it resumes from the last one.

    uv run training.py conversations.jsonl ./out --model org/model
    hf jobs uv run --secrets HF_TOKEN training.py user/conversations user/result --model org/model

Exit codes: 0 done; 2 usage; 3 token; 4 input or output; 5 network or machine; 6 not persisted; 143 stopped, saved.
"""

import argparse
import ast
import csv
import glob
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

# What is not said on the command line; TRL's own defaults for the rest.
DEFAULTS = ["--use_peft", "true", "--lora_target_modules", "all-linear", "--learning_rate", "2e-4"]
DEFAULTS += ["--save_total_limit", "1", "--report_to", "none", "--disable_tqdm", "true"]


def prepare(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row as SFTTrainer takes it: `messages`, `prompt` and `completion`, or `text`."""
    # TODO(jobshelf): make a training example of your row
    return row


def main() -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0], allow_abbrev=False)
    add = parser.add_argument
    add("input", metavar="INPUT", help="Hub dataset (user/name), or a local file or folder")
    add("output", metavar="OUTPUT", help="Hub model (user/name), hf://buckets/user/name/folder, or a folder (./out)")
    add("--model", required=True, metavar="M", help="model to begin with: on the Hub, or a local folder")
    add("--config-name", metavar="NAME", help="configuration of the dataset")
    add("--split", default="train", help="split to train on (default: %(default)s)")
    add("--max-samples", type=int, metavar="N", help="read only the first N rows")
    add("--commit-every", type=int, default=240, metavar="S", help="seconds between commits (default: %(default)s)")
    add("--private", action="store_true", help="make a new output private, as for private input")
    add("--public", action="store_true", help="make a new output public, also for private input")
    add("--keep", action="store_true", help="keep the parts that another version of this script finished")
    add("--overwrite", action="store_true", help="replace what is in OUTPUT")
    add("--dry-run", action="store_true", help="check everything, write nothing")
    args, args.options = parser.parse_known_args()
    if sys.argv[1:3] != [args.input, args.output]:
        parser.error("INPUT and OUTPUT come first, then the options")
    if args.commit_every < 0 or (args.max_samples is not None and args.max_samples < 1):
        parser.error("--max-samples is at least 1, --commit-every is at least 0")
    if Path(args.input).absolute().is_relative_to(Path(args.output).absolute()):
        parser.error("INPUT lies in OUTPUT")
    require_write(args.output, "model")
    rows, commit, private = read_rows(args.input, args.config_name, args.split)
    output = TrainingOutput(args, args.output, run_identity(args, commit))
    examples = [example(row, number) for number, row in enumerate(rows.select(range(len(rows))[: args.max_samples]))]
    print(f"{len(examples):,} rows of {args.input} at {commit}, to {args.output}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = output.folder if output.folder and not args.dry_run else Path(temporary)
        trainer = make_trainer(args, examples, output, folder)
        if not args.dry_run and not output.is_finished:
            output.claim(private=private)
            train(trainer, output, card(args, len(examples), output.run))
    return 0


def example(row: dict[str, Any], number: int) -> dict[str, Any]:
    """Return a row as `prepare` makes it; stop where it fails."""
    try:
        return {**prepare(dict(row))}
    except Exception as error:  # noqa: BLE001 -- prepare() may raise anything
        stop(4, f"prepare() failed for row {number}: {error!r}", "correct the row, or prepare()")


def make_trainer(args: argparse.Namespace, examples: list[dict[str, Any]], output: Any, folder: Path) -> Any:
    """Return TRL's trainer, which sends each checkpoint to the output and stops with one on SIGTERM."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import ModelConfig, SFTConfig, SFTTrainer, TrlParser, get_peft_config

    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopped.append(number))

    class Keeper(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if stopped:
                control.should_save = control.should_training_stop = True

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            name = f"checkpoint-{state.global_step}"
            if output.folder is None:
                with tempfile.TemporaryDirectory() as sent:
                    shutil.copytree(folder / name, Path(sent, name))
                    send(output, Path(sent))

    words = [*DEFAULTS, "--model_name_or_path", args.model, "--output_dir", str(folder)]
    words += [] if torch.cuda.is_available() else ["--use_cpu", "true", "--bf16", "false"]
    try:
        config, model = TrlParser((SFTConfig, ModelConfig)).parse_args_and_config([*words, *args.options])
    except ValueError as error:
        stop(2, str(error), "see the options of trl.SFTConfig and trl.ModelConfig")
    try:
        rows, peft_config = Dataset.from_list(examples), get_peft_config(model)
        return SFTTrainer(args.model, config, train_dataset=rows, peft_config=peft_config, callbacks=[Keeper()])
    except Exception as error:  # noqa: BLE001 -- TRL refuses rows, models and options in many ways
        stop(4, f"TRL refuses {args.input}: {error!r}", "correct prepare(), the model or the options")


def train(trainer: Any, output: Any, text: str) -> None:
    """Train from the last checkpoint on, and publish the model with `text` as its card."""
    folder = Path(trainer.args.output_dir)
    if output.checkpoint and output.folder is None:
        retrying(output.fs.get, output.checkpoint, f"{folder}/", recursive=True)
    trainer.train(resume_from_checkpoint=output.checkpoint and str(folder / output.checkpoint))
    if trainer.state.global_step < trainer.state.max_steps:  # SIGTERM
        sys.exit(143)
    trainer.save_model(str(folder / "model"))
    (folder / "model" / "training_args.bin").unlink()  # a pickle
    (folder / "model" / "README.md").write_text(text, encoding="utf-8")
    log = [{"step": one["step"], "loss": one["loss"]} for one in trainer.state.log_history if "loss" in one]
    lines = "".join(json.dumps(entry) + "\n" for entry in log)
    (folder / "model" / "training_log.jsonl").write_text(lines, encoding="utf-8")
    output.publish(folder / "model")


def send(output: Any, folder: Path) -> None:
    """Put a checkpoint in its place; while that does not answer, training goes on."""
    try:
        output.send(folder)
    except Exception as error:  # noqa: BLE001  # vet: ignore[UVS306] -- a training is worth more
        print(f"the checkpoint was not sent, training goes on: {error}", file=sys.stderr)


def card(args: argparse.Namespace, count: int, run: dict[str, Any]) -> str:
    """Return the model card: what was trained on what, by what."""
    front = {"tags": ["uv-script", "jobshelf"], "base_model": args.model, "library_name": "transformers"}
    made = f"`{args.model}`, trained on {count:,} rows of `{args.input}` at `{run['input']}` by `training.py`."
    return f"---\n{json.dumps(front)}\n---\n# {args.output}\n\n{made}\n\n```json\n{json.dumps(run, indent=1)}\n```\n"


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


class TrainingOutput:
    """The place of a training: user/name on the Hub, hf://buckets/..., s3://..., gs://... or a folder.

    Its run.json says whose files they are. What is put there takes the place of the checkpoint before it.
    """

    def __init__(self, args: argparse.Namespace, target: str, run: dict[str, Any]) -> None:
        from fsspec import url_to_fs
        from fsspec.implementations.dirfs import DirFileSystem

        self.args, self.target, self.run = args, target, run
        self.repo = re.fullmatch(r"\w[\w.-]*/[\w.-]+", target) is not None
        store, root = url_to_fs(f"hf://{target}" if self.repo else target)
        self.fs = DirFileSystem(root, store)
        self.folder = Path(root) if "file" in store.protocol else None
        names, self.held = retrying(self.look)
        differs = [key for key, value in run.items() if self.held.get(key) != value]
        is_ours = bool(self.held) and (args.keep or not differs)
        if names and not is_ours and not args.overwrite:
            found = f"another run ({', '.join(differs)} differ)" if self.held else "files of another origin"
            also = "--keep to resume it, or " if self.held else ""
            stop(4, f"{target} holds {found}", f"name another output, or add {also}--overwrite")
        if is_ours:
            self.run = {**run, "kept": self.held} if differs else self.held
        self.is_finished = is_ours and not differs and "training_log.jsonl" in names
        steps = [re.fullmatch(r"checkpoint-(\d+)/trainer_state\.json", name) for name in names if is_ours]
        last = max((int(step[1]) for step in steps if step), default=None)
        self.checkpoint = last and f"checkpoint-{last}"

    def look(self) -> tuple[set[str], dict[str, Any]]:
        """Return the names of the files that are there now, and what run.json says."""
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
            retrying(api.create_repo, self.target, private=private, exist_ok=True)
            if private:  # also one that was there
                retrying(api.update_repo_settings, self.target, private=True)
        elif bucket:
            retrying(api.create_bucket, bucket[1], private=private, exist_ok=True)
            if private:
                retrying(api.update_bucket_settings, bucket[1], private=True)
        if self.run != self.held and "kept" not in self.run:
            self.clear()

    def clear(self) -> None:
        """Leave nothing of a training but run.json."""
        with tempfile.TemporaryDirectory() as empty:
            self.send(Path(empty))

    def send(self, folder: Path) -> None:
        """Put the files of a folder there; within two minutes, or ConnectionError."""
        retrying(self.put, folder)

    def put(self, folder: Path) -> None:
        """Put the files of a folder there, in a repository with one commit. Repeated, it changes nothing."""
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

        names, held = self.look()
        if held not in (self.held, self.run):
            stop(4, f"another run has taken {self.target}", "name another output, or run this again with --overwrite")
        (folder / "run.json").write_text(json.dumps(self.run), encoding="utf-8")
        files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
        if self.repo:
            changes = [CommitOperationDelete(name) for name in names - files.keys()]
            changes += [CommitOperationAdd(name, path) for name, path in files.items()]
            HfApi().create_commit(self.target, changes, commit_message=f"Add {len(files)} files")
        else:
            last = ("trainer_state.json", "training_log.jsonl")  # the others are there when these are
            for name in sorted(files, key=lambda name: name.endswith(last)):
                self.put_file(files[name], name)
            made = {name.partition("/")[0] for name in names if re.match(r"checkpoint-\d+/|training_log\.jsonl$", name)}
            for name in made - {name.partition("/")[0] for name in files}:  # of what else there may be, nothing is ours
                self.fs.rm(name, recursive=True)
        self.held = self.run

    def put_file(self, path: Path, name: str) -> None:
        """Put a file there, whole or not at all."""
        if self.folder is None:
            self.fs.put_file(str(path), name)
            return
        there = self.folder / name
        there.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, there.with_name(f".{there.name}"))  # a copy, if it comes from another disk
        there.with_name(f".{there.name}").replace(there)

    def publish(self, folder: Path) -> None:
        """Put the model there, within half an hour; if it is refused for good, keep it here and stop with 6."""
        from huggingface_hub import HfApi
        from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

        is_away, tries = retry_if_exception_type(ConnectionError), stop_after_attempt(20)  # of two minutes each
        try:
            Retrying(retry=is_away, stop=tries, reraise=True)(self.send, folder)
        except Exception as error:
            if self.folder:
                raise
            kept = shutil.move(folder, Path(f"unsaved-{os.getpid()}").absolute())
            here, there = shlex.quote(str(kept)), shlex.quote(self.target)
            sync = {"s3": "aws s3 sync", "gs": "gcloud storage rsync -r"}.get(self.target[:2], "hf buckets sync")
            push = f"hf upload {there} {here} . --delete 'checkpoint-*'" if self.repo else f"{sync} {here} {there}"
            stop(6, f"{self.target} refused the model now in {kept}: {error}", push)
        shutil.rmtree(folder)
        if self.repo and not self.args.overwrite:  # the checkpoints would stay in the history
            retrying(HfApi().super_squash_history, self.target)


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
