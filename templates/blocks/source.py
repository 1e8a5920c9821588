# block: source 3
"""Where the rows come from: a Hub dataset, an hf:// path, a local file or a local folder, described before any is read.

Promises: a Hub input is resolved to a commit in one call; config and split are chosen the same way every time, with
the alternatives listed; what does not exist stops with 4 and names what does; a private repository is known as such.
"""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

from .exits import EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_TOKEN, EXIT_USAGE, Stop, note, one_line
from .retry import http_status, retry
from .token import token_advice

SOURCE_FORMATS = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "csv",
    ".arrow": "arrow",
}
SOURCE_METADATA = frozenset({"dataset_infos.json", "dataset_info.json", "state.json", "jobshelf.json", "index.json"})
SOURCE_SPLIT_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing", "eval", "evaluation"),
}
SOURCE_SAMPLED_BYTES = 65536
# What Polars goes on with after it has said what is wrong: which of its own options would help, where it was.
_SOURCE_ADVICE = re.compile(r" (?:Consider setting|You might want to try|The current offset|This error occurred) ")
_REPO_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One split of a dataset. `files` are paths inside the repository `repo_id` at `commit`, or inside `folder`.

    `identity` is the commit, or "sha256:..." of local files (name, size, first and last 64 KiB of each).
    """

    given: str
    repo_id: str | None
    commit: str | None
    folder: Path | None
    identity: str
    private: bool
    config: str
    split: str
    configs: tuple[str, ...]
    splits: tuple[str, ...]
    format: str
    files: tuple[str, ...]

    @property
    def label(self) -> str:
        """The input as people name it, with the commit where there is one."""
        return f"{self.repo_id}@{self.commit[:12]}" if self.repo_id and self.commit else self.given


def resolve_source(
    given: str,
    *,
    config: str | None = None,
    split: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    preferred_config: str | None = None,
) -> Source:
    """Describe the input `given`; nothing but names and metadata is read.

    `preferred_config` is taken, where it exists, when `config` is not given. Stops with 2 for what cannot be an
    input, 3 for a gated one, 4 for one that is missing or holds nothing readable.
    """
    described, layout = _found(given, revision, token)
    return _choose(described, layout, config, split, preferred_config)


def resolve_configs(
    given: str,
    *,
    split: str | None = None,
    revision: str | None = None,
    token: str | None = None,
    preferred_config: str | None = None,
) -> tuple[Source, ...]:
    """Describe the same split of every config that has it, in the order of the dataset, with the calls that one takes.

    `split` is by default that of the `preferred_config`, or of the first config. Stops as `resolve_source` does.
    """
    described, layout = _found(given, revision, token)
    having = [config for config, splits in layout.items() if split is None or split in splits]
    if not having:
        return (_choose(described, layout, None, split, preferred_config),)
    first = _choose(described, layout, preferred_config if preferred_config in having else having[0], split, None)
    others = [config for config, splits in layout.items() if first.split not in splits]
    if others:
        note(f"{len(others)} configs have no split {first.split} and are left out: {', '.join(others[:5])}")
    return tuple(_choose(described, layout, config, first.split, None) for config in layout if config not in others)


def _found(given: str, revision: str | None, token: str | None) -> tuple[Source, _Layout]:
    path = Path(given).expanduser()
    if not given.strip():
        raise Stop(EXIT_USAGE, "the input is empty", fix="name a Hub dataset (user/name), or ./path")
    if given.startswith("hf://"):
        return _from_hf_path(given, revision, token)
    if not path.exists() and _REPO_ID.fullmatch(given):
        return _from_hub(given, given, "", revision, token)
    if path.exists() and revision is not None:
        raise Stop(EXIT_USAGE, f"{given} is here and has no revision {revision!r}", fix="leave --revision away")
    return _from_local(given, path)


def locate(source: Source, files: Iterable[str], token: str | None) -> tuple[list[str], dict[str, str] | None]:
    """Return what polars reads `files` of `source` from: paths or URLs, and its storage options.

    polars asks huggingface.co whatever HF_ENDPOINT says and sends no token to plain URLs: with HF_ENDPOINT set, each
    file becomes a signed URL (large files) or a downloaded one (small files). Signed URLs expire: call this late.
    """
    if source.folder is not None:
        return [str(source.folder / file) for file in files], None
    if "HF_ENDPOINT" not in os.environ:
        base = f"hf://datasets/{source.repo_id}@{source.commit}"
        return [f"{base}/{file}" for file in files], {"token": token} if token else None
    return [_signed_or_downloaded(source, file, token) for file in files], None


def unreadable(source: Source, what: str, error: Exception) -> Stop:
    """Return the Stop for what Polars says about `what`: 5 when the network failed, 4 when the data is at fault."""
    said = _SOURCE_ADVICE.split(one_line(error), maxsplit=1)[0].rstrip(" .:")
    if re.search(
        r"error (sending request|following redirect)|object-store|HTTP status|timed out|too many requests",
        said,
        re.IGNORECASE,
    ):
        fix = "check the network, then run the same command again"
        return Stop(EXIT_ENVIRONMENT, f"{what} of {source.given} could not be fetched: {said}", fix=fix)
    fix = "mend the file, or name another config or split"
    return Stop(EXIT_INPUT, f"{what} of {source.given} is not readable {source.format}: {said}", fix=fix)


def _signed_or_downloaded(source: Source, file: str, token: str | None) -> str:
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    where = {"repo_id": str(source.repo_id), "repo_type": "dataset", "revision": source.commit}
    url = hf_hub_url(filename=file, **where)
    location = retry(lambda: get_hf_file_metadata(url, token=token), what=f"locating {file}").location
    if location != url:
        return location
    return retry(lambda: hf_hub_download(filename=file, token=token, **where), what=f"downloading {file}")


_Layout = dict[str, dict[str, tuple[str, ...]]]  # config -> split -> files, in the order of the dataset


def _from_local(given: str, path: Path) -> tuple[Source, _Layout]:
    if path.is_file():
        folder, files, card = path.parent, (path.name,), None
    elif path.is_dir():
        folder, files = path, _files_below(path)
        card = path / "README.md"
    elif _REPO_ID.fullmatch(given) or "/" in given or Path(given).suffix in SOURCE_FORMATS:
        raise Stop(EXIT_INPUT, f"found no file or folder {given!r}", fix="check the path")
    else:
        message = f"the input {given!r} is no Hub dataset, hf:// path, file or folder"
        raise Stop(EXIT_USAGE, message, fix="write it as user/name, hf://datasets/user/name/..., or ./path")
    data = _data_files(given, files)
    # One file is one split: its name says nothing about a dataset around it.
    layout = {"default": {"train": data}} if path.is_file() else _layout(data, _front_matter(card))
    described = _described(given, None, None, folder, data)
    return described, layout


def _files_below(folder: Path) -> tuple[str, ...]:
    # Nothing but files: to open a pipe would wait for its other end.
    return tuple(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file()))


def _from_hf_path(given: str, revision: str | None, token: str | None) -> tuple[Source, _Layout]:
    match = re.fullmatch(r"hf://datasets/([^/@]+/[^/@]+)(?:@([^/]+))?(?:/(.*?))?/?", given)
    if match is None:
        message = f"{given!r} is no path in a Hub dataset"
        raise Stop(EXIT_USAGE, message, fix="write hf://datasets/user/name[@revision][/folder or file]")
    repo_id, pinned, inside = match.groups()
    if pinned and revision:
        raise Stop(EXIT_USAGE, f"{given!r} names a revision and so does --revision", fix="give one of the two")
    return _from_hub(given, repo_id, inside or "", revision or (pinned or "").replace("%2F", "/") or None, token)


def _from_hub(given: str, repo_id: str, inside: str, revision: str | None, token: str | None) -> tuple[Source, _Layout]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=token or False)
    try:
        info = retry(lambda: api.dataset_info(repo_id, revision=revision), what=f"reading {repo_id}")
        if info.gated:  # everybody may see what it is; only some may read its files
            retry(lambda: api.auth_check(repo_id, repo_type="dataset"), what=f"asking for access to {repo_id}")
    except HfHubHTTPError as error:
        raise _refusal(error, repo_id, revision, token) from error
    names = tuple(sorted(sibling.rfilename for sibling in info.siblings or ()))
    files = _inside(given, names, inside) if inside else names
    data = _data_files(given, files)
    front_matter = {} if inside or info.card_data is None else info.card_data.to_dict()
    described = _described(given, repo_id, info.sha, None, data)
    return replace(described, private=bool(info.private)), _layout(data, front_matter)


def _refusal(error: Exception, repo_id: str, revision: str | None, token: str | None) -> Stop:
    kind, status = type(error).__name__, http_status(error)
    if kind == "GatedRepoError":
        fix = f"ask for access at its page on the Hub, then {token_advice()}"
        return Stop(EXIT_TOKEN, f"{repo_id} is gated and this account has no access", fix=fix)
    if kind == "RevisionNotFoundError":
        return Stop(EXIT_INPUT, f"{repo_id} has no revision {revision!r}", fix="name a branch, tag or commit of it")
    if kind == "RepositoryNotFoundError":
        seen = "for this account" if token else "for anonymous readers"
        fix = f"check the spelling; if it is private, {token_advice()}"
        return Stop(EXIT_INPUT, f"there is no dataset {repo_id} {seen}", fix=fix)
    if status in {401, 403}:
        return Stop(EXIT_TOKEN, f"the Hub does not accept the token for {repo_id}: {status}", fix=token_advice())
    fix = "check HF_ENDPOINT and the proxy, then run the same command again"
    return Stop(EXIT_ENVIRONMENT, f"the Hub answered {status} for {repo_id}", fix=fix)


def _described(
    given: str, repo_id: str | None, commit: str | None, folder: Path | None, files: Sequence[str]
) -> Source:
    return Source(
        given=given,
        repo_id=repo_id,
        commit=commit,
        folder=folder,
        identity=commit or _fingerprint(folder or Path(), files),
        private=False,
        config="",
        split="",
        configs=(),
        splits=(),
        format="",
        files=(),
    )


def _fingerprint(folder: Path, files: Sequence[str]) -> str:
    digest = hashlib.sha256()
    for name in files:
        with (folder / name).open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            ends = [stream.read(SOURCE_SAMPLED_BYTES)]
            stream.seek(max(0, size - SOURCE_SAMPLED_BYTES))
            ends.append(stream.read())
        digest.update(f"{name}\0{size}\0".encode() + b"".join(ends))
    return f"sha256:{digest.hexdigest()}"


def _data_files(given: str, names: Iterable[str]) -> tuple[str, ...]:
    data = tuple(name for name in names if _format(name) and not _is_metadata(name))
    if not data:
        kinds = ", ".join(sorted(SOURCE_FORMATS))
        raise Stop(EXIT_INPUT, f"{given} holds no file ending in {kinds}", fix="name a dataset that has such files")
    return data


def _format(name: str) -> str | None:
    return SOURCE_FORMATS.get(PurePosixPath(name.lower()).suffix)


def _is_metadata(name: str) -> bool:
    path = PurePosixPath(name)
    return path.name in SOURCE_METADATA or any(part.startswith(".") for part in path.parts)


def _inside(given: str, names: Sequence[str], pattern: str) -> tuple[str, ...]:
    found = tuple(n for n in names if n == pattern or n.startswith(f"{pattern}/") or _matches(n, pattern))
    if not found:
        close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.4)
        fix = f"did you mean {', '.join(close)}" if close else "list the files with `hf datasets info`"
        raise Stop(EXIT_INPUT, f"nothing at {given}", fix=fix)
    return found


def _front_matter(card: Path | None) -> Mapping[str, Any]:
    if card is None or not card.is_file():
        return {}
    from huggingface_hub import metadata_load

    try:
        return metadata_load(card) or {}
    except Exception as error:
        message = f"the front matter of {card} is not YAML: {one_line(error)}"
        raise Stop(EXIT_INPUT, message, fix="mend it, or name one file") from error


def _layout(files: Sequence[str], front_matter: Mapping[str, Any]) -> _Layout:
    """Return config -> split -> files: as the front matter says, else by the words in the paths, as `datasets` does."""
    declared = front_matter.get("configs")
    if not isinstance(declared, list):
        return {"default": _splits_by_name(files)}
    entries = [entry for entry in declared if isinstance(entry, dict) and "config_name" in entry]
    # The config that load_dataset() takes without a name comes first.
    entries.sort(key=lambda entry: not (entry.get("default") or entry["config_name"] == "default"))
    layout = {str(entry["config_name"]): _declared_splits(entry, files) for entry in entries}
    return {name: splits for name, splits in layout.items() if splits} or {"default": _splits_by_name(files)}


def _declared_splits(entry: Mapping[str, Any], files: Sequence[str]) -> dict[str, tuple[str, ...]]:
    folder = str(entry.get("data_dir") or "").strip("/")
    within = [file for file in files if not folder or file.startswith(f"{folder}/")]
    declared = entry.get("data_files")
    if declared is None:
        return _splits_by_name(within)
    if isinstance(declared, dict):
        declared = [{"split": split, "path": path} for split, path in declared.items()]
    if isinstance(declared, str) or not all(isinstance(item, dict) for item in declared):
        declared = [{"split": "train", "path": declared}]
    prefix = f"{folder}/" if folder else ""
    splits = {str(item.get("split")): _matching(item.get("path"), prefix, files) for item in declared}
    return {split: found for split, found in splits.items() if found}


def _matching(patterns: object, prefix: str, files: Sequence[str]) -> tuple[str, ...]:
    wanted = [patterns] if isinstance(patterns, str) else list(patterns or ())
    return tuple(file for file in files if any(_matches(file, f"{prefix}{pattern}") for pattern in wanted))


def _matches(file: str, pattern: str) -> bool:
    """Match as the Hub does: `*` stays inside a folder, `**` does not."""
    parts = re.split(r"(\*\*/?|\*|\?|\[[^\]]*\])", pattern.removeprefix("./"))
    regex = "".join(_glob_part(part) for part in parts)
    return re.fullmatch(regex, file) is not None


def _glob_part(part: str) -> str:
    if part.startswith("["):
        return fnmatch.translate(part).removeprefix("(?s:").partition(")")[0]
    return {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part, re.escape(part))


def _splits_by_name(files: Sequence[str]) -> dict[str, tuple[str, ...]]:
    found: dict[str, list[str]] = {}
    for file in files:
        found.setdefault(_split_of(file), []).append(file)
    if "" in found and len(found) > 1:  # files without a split word beside files that have one are not data of a split
        del found[""]
    named = {split or "train": tuple(names) for split, names in found.items()}
    order = list(SOURCE_SPLIT_WORDS)
    return dict(sorted(named.items(), key=lambda item: (order.index(item[0]) if item[0] in order else 9, item[0])))


def _split_of(file: str) -> str:
    """Return the split that the path names, the file name counting before its folders; "" when it names none."""
    for part in reversed(PurePosixPath(file).with_suffix("").parts):
        sharded = re.fullmatch(r"(\w+)-\d{5}-of-\d{5}(?:-\w+)?", part)
        if sharded:
            return sharded[1]
        words = re.split(r"[^a-z0-9]+", part.lower())
        for split, synonyms in SOURCE_SPLIT_WORDS.items():
            if any(word in synonyms for word in words):
                return split
    return ""


def _choose(
    source: Source, layout: _Layout, config: str | None, split: str | None, preferred_config: str | None
) -> Source:
    preferred = preferred_config if preferred_config in layout else next(iter(layout))
    chosen_config = _pick("config", config, layout, preferred, source.given)
    splits = layout[chosen_config]
    chosen_split = _pick("split", split, splits, default_split(splits), source.given)
    files = splits[chosen_split]
    formats = sorted({str(_format(file)) for file in files})
    kind = "parquet" if "parquet" in formats else formats[0]
    read = tuple(file for file in files if _format(file) == kind)
    if len(formats) > 1:
        note(f"{source.given} mixes {', '.join(formats)}: reading the {kind} files")
    return replace(
        source,
        config=chosen_config,
        split=chosen_split,
        configs=tuple(layout),
        splits=tuple(splits),
        format=kind,
        files=read,
    )


def default_split(splits: Iterable[str]) -> str:
    """Return the split to take when none is named: train, else the first that begins so, else the first."""
    names = list(splits)
    return "train" if "train" in names else next((name for name in names if name.startswith("train")), names[0])


def _pick(what: str, asked: str | None, available: Iterable[str], default: str, given: str) -> str:
    names = list(available)
    if asked is None or asked in names:
        return asked or default
    close = difflib.get_close_matches(asked, names, n=1) or [default]
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    message = f"{given} has no {what} {asked!r}; it has: {listed}"
    raise Stop(EXIT_INPUT, message, fix=f"add --{what} {close[0]}")
