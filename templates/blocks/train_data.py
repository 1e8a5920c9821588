# block: train_data 1
"""The rows of a training: read, renamed, judged by the rules of `formats` before a model is loaded, split, measured.

Promises: what TRL would trip over stops here, with 4 and the option that mends it; at most TRAIN_JUDGED rows are judged,
spread over all; the held-out rows are the same for the same seed; lengths are those of the model's own tokens.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .exits import EXIT_INPUT, EXIT_USAGE, Stop, note, one_line
from .formats import (
    CHAT_WORDS,
    CHATS,
    CHOSEN_WORDS,
    CONTENT_KEYS,
    METHODS,
    PROMPT_WORDS,
    READY,
    REJECTED_WORDS,
    RESPONSE_WORDS,
    ROLE_KEYS,
    ROLE_NAMES,
    TEXT_WORDS,
    Verdict,
    inspect_rows,
    kind_of,
)
from .preflight import require_columns
from .retry import retry
from .source import Source, resolve_source, unreadable

if TYPE_CHECKING:
    from datasets import Dataset
    from transformers import PreTrainedTokenizerBase

TRAIN_JUDGED, TRAIN_MEASURED = 20_000, 1000
TRAIN_EVAL_SHARE, TRAIN_EVAL_MOST, TRAIN_EVAL_FROM = 0.05, 500, 1000
# What a method can be fed after renaming: each a set of columns with the words that the columns of a dataset have.
TRAIN_WANTED: dict[str, tuple[dict[str, Sequence[str]], ...]] = {
    "SFT": ({"prompt": PROMPT_WORDS, "completion": RESPONSE_WORDS}, {"messages": CHAT_WORDS}, {"text": TEXT_WORDS}),
    "DPO": ({"prompt": PROMPT_WORDS, "chosen": CHOSEN_WORDS, "rejected": REJECTED_WORDS},),
    "Reward": ({"prompt": PROMPT_WORDS, "chosen": CHOSEN_WORDS, "rejected": REJECTED_WORDS},),
    "GRPO": ({"prompt": PROMPT_WORDS},),
}
_TRAIN_TEXTS = ("text", "messages", "conversations")
_TRAIN_FOREIGN = CHATS - {"messages"}
_TRAIN_ROLES = {"prompt": "user", "completion": "assistant", "chosen": "assistant", "rejected": "assistant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainLengths:
    """Tokens of the rows: mean, what 50 and 99 of 100 rows keep to, the longest; of how many rows (`rows`: of all)."""

    rows: int
    measured: int
    mean: float
    middle: int
    most: int
    longest: int


def read_examples(source: Source, token: str | None, most: int | None) -> Dataset:
    """Return the rows of `source`, the first `most` of them; stop with 4 when they cannot be read or there are none."""
    from datasets import Dataset, concatenate_datasets, disable_progress_bars
    from datasets.exceptions import DatasetGenerationError

    disable_progress_bars()
    files = [_train_file(source, file, token) for file in source.files]
    try:
        if source.format == "arrow":
            rows = concatenate_datasets([Dataset.from_file(file) for file in files])
        elif source.format == "parquet":
            rows = Dataset.from_parquet(files)
        elif source.format == "csv":
            rows = Dataset.from_csv(files, sep="\t" if files[0].lower().endswith(".tsv") else ",")
        else:
            rows = Dataset.from_json(files)
    except StopIteration:  # what the reader of JSON makes of an empty file
        raise _no_rows(source) from None
    except (DatasetGenerationError, ValueError, OSError) as error:
        if "corresponds to no data" in str(error):
            raise _no_rows(source) from error
        raise unreadable(source, source.files[0], error.__cause__ or error) from error  # type: ignore[arg-type]
    if not len(rows):
        raise _no_rows(source)
    return rows.select(range(min(most, len(rows)))) if most else rows


def prepare_examples(
    rows: Dataset,
    method: str,
    renames: Sequence[str],
    label: str,
    *,
    as_chat: bool = False,
    skip_bad: bool = False,
) -> Dataset:
    """Return `rows` as `method` takes them after the `renames` of --map; stop with 4, and the --map to add, otherwise.

    A conversation in another form than TRL's (ShareGPT, JSON text, other names of roles) gets that form when --map names
    it. With `as_chat`, texts become turns of user and assistant; with `skip_bad`, rows that are not usable go.
    """
    if renames:
        rows = rename_columns(rows, renames, label)
        rows = _with_turns(rows, [text.partition("=")[2] for text in renames])
    if as_chat:
        rows = _with_chats(rows, label)
    if skip_bad:
        rows = _without_bad(rows, method, label)
    verdict = judge_examples(rows, method)
    if verdict.status != READY:
        message = f"{label} is not what {method} takes: {verdict.reason}"
        raise Stop(EXIT_INPUT, message, fix=_train_fix(rows, method, verdict))
    for text in verdict.notes:
        note(text)
    return rows


def rename_columns(rows: Dataset, renames: Sequence[str], label: str) -> Dataset:
    """Return `rows` with columns renamed as in `["instruction=prompt", ...]`."""
    pairs = [text.partition("=")[::2] for text in renames]
    if not all(old and new for old, new in pairs):
        raise Stop(EXIT_USAGE, f"--map {' '.join(renames)} is no renaming", fix="write --map OLD=NEW")
    names = dict(pairs)
    require_columns(names, rows.column_names, where=label)
    taken = [new for new in names.values() if new in rows.column_names and new not in names]
    if taken or len(set(names.values())) < len(names):
        name = taken[0] if taken else next(iter(names.values()))
        message = f"--map would make a second column {name!r} in {label}"
        raise Stop(EXIT_USAGE, message, fix=f"move the other one away: --map {name}=other_{name} ...")
    return rows.rename_columns(names)


def judge_examples(rows: Dataset, method: str) -> Verdict:
    """Return what `method` makes of at most TRAIN_JUDGED rows, evenly spread."""
    verdicts = inspect_rows(_spread_rows(rows, TRAIN_JUDGED), dict.fromkeys(rows.column_names, ""))
    return verdicts[METHODS.index(method)]


def hold_out(
    rows: Dataset, source: Source, token: str | None, *, asked: str | None, strategy: str, smoke: bool, seed: int
) -> tuple[Dataset, Dataset | None, str]:
    """Return the rows to train on, those to evaluate on (None: no evaluation), and why.

    The split `asked` for is taken as it is; otherwise one is made where there are rows enough for it to pay.
    """
    if strategy == "no":
        return rows, None, "no evaluation: --eval-strategy no"
    if asked:
        pinned = None if "@" in source.given else source.commit
        named = resolve_source(source.given, config=source.config, split=asked, revision=pinned, token=token)
        return rows, read_examples(named, token, None), f"evaluated on the split {asked}"
    if strategy == "auto" and (smoke or len(rows) < TRAIN_EVAL_FROM):
        why = "--max-steps is a smoke test or a budget" if smoke else f"fewer than {TRAIN_EVAL_FROM:,} rows"
        return rows, None, f"no evaluation: {why}"
    count = max(1, min(TRAIN_EVAL_MOST, round(TRAIN_EVAL_SHARE * len(rows))))
    if count >= len(rows):
        raise Stop(EXIT_INPUT, f"{len(rows)} rows cannot be split", fix="add --eval-strategy no, or --eval-split NAME")
    parts = rows.train_test_split(test_size=count, seed=seed)
    return parts["train"], parts["test"], f"evaluated on {count} rows held out"


def measure_lengths(rows: Dataset, tokenizer: PreTrainedTokenizerBase, label: str) -> TrainLengths:
    """Return how many tokens a row is, prompt and answer together, the longer one of two answers."""
    sample = _spread_rows(rows, TRAIN_MEASURED)
    chats = any(isinstance(value, list) and value and isinstance(value[0], Mapping) for value in sample[0].values())
    if chats and not tokenizer.chat_template:
        message = f"{label} holds conversations, and the tokenizer of {tokenizer.name_or_path} has no chat template"
        fix = "train the instruct version of the model, or add --chat-template-path MODEL, whose template to take"
        raise Stop(EXIT_INPUT, message, fix=fix)
    try:
        lengths = sorted(max(_tokens_of(sequence, tokenizer) for sequence in _sequences(row)) for row in sample)
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "jinja2":
            raise
        message = f"the chat template of {tokenizer.name_or_path} refuses a conversation of {label}: {one_line(error)}"
        fix = "mend these rows, or take another template with --chat-template-path"
        raise Stop(EXIT_INPUT, message, fix=fix) from error
    if not lengths[-1]:
        raise Stop(EXIT_INPUT, f"the rows of {label} hold no text", fix="name another --config or --split")
    return TrainLengths(
        rows=len(rows),
        measured=len(lengths),
        mean=sum(lengths) / len(lengths),
        middle=lengths[len(lengths) // 2],
        most=lengths[min(len(lengths) - 1, math.ceil(0.99 * len(lengths)) - 1)],
        longest=lengths[-1],
    )


def _no_rows(source: Source) -> Stop:
    message = f"the split {source.split!r} of {source.given} has no rows"
    return Stop(EXIT_INPUT, message, fix="name another --config or --split")


def _train_file(source: Source, file: str, token: str | None) -> str:
    if source.folder is not None:
        return str(source.folder / file)
    from huggingface_hub import hf_hub_download

    where = {"repo_id": str(source.repo_id), "repo_type": "dataset", "revision": source.commit}
    return retry(lambda: hf_hub_download(filename=file, token=token or False, **where), what=f"reading {file}")


def _spread_rows(rows: Dataset, most: int) -> list[dict[str, Any]]:
    """Return at most `most` rows, evenly apart, always the same ones."""
    if len(rows) <= most:
        return rows.to_list()
    return rows.select([number * len(rows) // most for number in range(most)]).to_list()


def _train_fix(rows: Dataset, method: str, verdict: Verdict) -> str:
    """Return the --map that makes the rows fit, where one does, else where the code is to be had that does."""
    head = rows.select(range(min(100, len(rows)))).to_list()
    for wanted in TRAIN_WANTED[method]:
        renames = _likely_renames(rows.column_names, wanted)
        if len(renames) < len(wanted):
            continue
        names = {old: new for new, old in renames.items()}
        mapped = [
            {names.get(name, name): _turns_of(value) if name in names else value for name, value in row.items()}
            for row in head
        ]
        if inspect_rows(mapped)[METHODS.index(method)].status == READY:
            foreign = [old for old in names if kind_of(head[0][old]) in _TRAIN_FOREIGN]
            changed = [f"{old}={new}" for old, new in names.items() if old != new or old in foreign]
            return f"add --map {' '.join(changed)}" if changed else "add --skip-bad-rows"
    if verdict.mapping:
        return f"map it first: dataset_inspector.py --require {method.lower()} prints the code for this dataset"
    return "use another dataset, or another trainer: dataset_inspector.py says which one it can feed"


def _likely_renames(columns: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return wanted column -> the column whose name says so, for those that have one."""
    found: dict[str, str] = {}
    for new, words in wanted.items():
        free = [name for name in columns if name not in found.values()]
        named = [name for word in (new, *words) for name in free if name.lower() == word]
        if named:
            found[new] = named[0]
    return found


def _without_bad(rows: Dataset, method: str, label: str) -> Dataset:
    """Return the rows that `method` takes, each judged alone."""
    place = METHODS.index(method)
    kept = rows.filter(lambda row: inspect_rows([row])[place].status == READY)
    note(f"{len(rows) - len(kept):,} of {len(rows):,} rows of {label} are skipped: they lack what {method} needs")
    return kept if len(kept) else rows


def _with_turns(rows: Dataset, names: Sequence[str]) -> Dataset:
    """Return `rows` with the conversations among the columns `names` in TRL's form."""
    head = rows.select(range(min(100, len(rows)))).to_list()
    chats = [name for name in names if any(kind_of(row[name]) in _TRAIN_FOREIGN for row in head)]
    return rows.map(lambda row: {name: _turns_of(row[name]) for name in chats}) if chats else rows


def _with_chats(rows: Dataset, label: str) -> Dataset:
    names = [name for name in _TRAIN_ROLES if name in rows.column_names and isinstance(rows[0][name], str)]
    if "prompt" not in names:
        fix = "name the column with the prompts: --map NAME=prompt"
        raise Stop(EXIT_INPUT, f"--as-chat finds no column 'prompt' with text in {label}", fix=fix)
    return rows.map(lambda row: {name: [{"role": _TRAIN_ROLES[name], "content": row[name]}] for name in names})


def _turns_of(value: Any) -> Any:  # noqa: ANN401 - a value of any column
    """Return a conversation in TRL's form; anything else as it is."""
    if kind_of(value) not in CHATS:
        return value
    turns = json.loads(value) if isinstance(value, str) else value
    return [_turn_of(turn) for turn in turns if turn]


def _turn_of(turn: Mapping[str, Any]) -> dict[str, Any]:
    role = str(next((turn[key] for key in ROLE_KEYS if turn.get(key)), ""))
    content = next((turn[key] for key in CONTENT_KEYS if turn.get(key) is not None), None)
    kept = {name: turn[name] for name in ("tool_calls", "name") if turn.get(name)}
    return {"role": ROLE_NAMES.get(role.lower(), role.lower()), "content": content, **kept}


def _sequences(row: Mapping[str, Any]) -> list[object]:
    """Return what becomes a sequence of tokens: one, or both of a preference."""
    if row.get("input_ids"):
        return [row["input_ids"]]
    if "chosen" in row and "rejected" in row:
        return [_joined(row.get("prompt"), row[name]) for name in ("chosen", "rejected")]
    if "prompt" in row:
        return [_joined(row["prompt"], row.get("completion"))]
    return [next((row[name] for name in _TRAIN_TEXTS if row.get(name)), "")]


def _joined(prompt: object, answer: object) -> object:
    if isinstance(prompt, list) or isinstance(answer, list):
        return [*(prompt or []), *(answer or [])]  # type: ignore[misc]
    return f"{prompt or ''}{answer or ''}"


def _tokens_of(sequence: object, tokenizer: PreTrainedTokenizerBase) -> int:
    if isinstance(sequence, str):
        return len(tokenizer(sequence, verbose=False)["input_ids"])
    if not isinstance(sequence, list) or not sequence or not isinstance(sequence[0], Mapping):
        return len(sequence) if isinstance(sequence, list) else 0
    turns = [
        turn if "role" in turn else {"role": ROLE_NAMES.get(turn["from"], turn["from"]), "content": turn["value"]}
        for turn in sequence
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False)
    return len(tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
