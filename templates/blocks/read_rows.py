"""Reading rows: one reader for a Hub dataset and for local files."""

import csv
import glob
import hashlib
from pathlib import Path
from typing import Any

from .retrying import retrying
from .stop import stop


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
