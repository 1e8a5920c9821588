# block: persist_dataset 1
"""Rows, one parquet file a part, written to a Hub dataset or a local folder while the work goes on.

Promises: the manifest goes first; parts are committed every `commit_every` seconds, and on SIGTERM, Ctrl-C and errors;
a restart skips what is there; shards write to one output at once; each part is listed again at the end and compared by
sha256, then the card is written. What the Hub refuses goes to a mounted volume, the run's bucket or a local folder (6),
and the next attempt takes it from there. At most one part is in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import random
import re
import shlex
import shutil
import signal
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .exits import EXIT_INPUT, EXIT_NOT_PERSISTED, EXIT_USAGE, Stop, note, one_line
from .parts import PARTS_MANIFEST, Part, RunManifest, adopt_manifest, parse_run_manifest
from .persist_bucket import (
    BucketPlace,
    create_bucket_once,
    fetch_from_bucket,
    half_written,
    list_bucket,
    put_in_bucket,
)
from .persist_file import Held, Run, Target, look_at, refuse_foreign
from .retry import http_status, retry, retry_pause
from .shard import SHARD_MARKERS, Shard, missing_parts, parts_in_all, shard_marker

if TYPE_CHECKING:
    import pyarrow as pa

DATASET_COMMITS_PER_HOUR = 128  # the Hub's assumed limit for one repository, over all shards
DATASET_COMMIT_EVERY_S = 300.0
DATASET_RESERVED_COMMITS = 4  # of each shard: manifest, last parts, collected parts, card
DATASET_RACES = 7
DATASET_BUCKET_SHARDS = 8  # above this many shards, parts go to the run's bucket and one commit collects them
DATASET_RETRY_EVERY_S = 30.0
DATASET_MARGIN_S = 120.0
DATASET_JOB_TIMEOUT_S = 1800.0  # what a Job gets that asks for none
DATASET_STATS = "stats"
DATASET_DERIVED = "stats/derived.json"  # the files made from the parts, and the parts that they were made from
DATASET_ERROR_COLUMN = "error"
DATASET_FINISH_COLUMN = "finish_reason"
DatasetDerive = Callable[[Iterator["pa.Table"]], Mapping[str, bytes]]
_DATASET_FAILURES = (Stop, OSError, RuntimeError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetTotals:
    """What a complete run holds: parts, rows, and those of the rows that keep an error."""

    parts: int
    rows: int
    failed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetResult:
    """Where the rows are. `totals` is None while other shards are still at work.

    `derived` is the number of rows of each file that was made from the parts.
    """

    where: str
    totals: DatasetTotals | None
    derived: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PartReceipt:
    """What was written as one part: rows, rows with an error, bytes, sha256 of the file."""

    rows: int
    failed: int
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatasetEntry:
    """A file as a store lists it; only repositories tell the sha256."""

    size: int
    sha256: str | None

    def fits(self, receipt: PartReceipt) -> bool:
        return self.size == receipt.size and self.sha256 in {None, receipt.sha256}


def failed_row(row: Mapping[str, Any], error: object, *, outputs: Iterable[str]) -> dict[str, Any]:
    """Return `row` as it is kept when it could not be done: `outputs` are None, `error` and `finish_reason` say why."""
    blank = dict.fromkeys(outputs)
    return {**row, **blank, DATASET_ERROR_COLUMN: one_line(error), DATASET_FINISH_COLUMN: "error"}


def parse_commit_every(given: str) -> float:
    """Return the seconds that `--commit-every` names, 0 for a commit a part; stop with 2 for anything else."""
    seconds = float(given) if re.fullmatch(r"[0-9]+(\.[0-9]+)?", given) else -1.0
    if not 0 <= seconds <= 86400:
        message = f"--commit-every {given!r} is no number of seconds from 0 to 86400"
        raise Stop(EXIT_USAGE, message, fix=f"write --commit-every {DATASET_COMMIT_EVERY_S:g}, or 0 for each part")
    return seconds


def open_dataset(
    target: Target,
    held: Held,
    manifest: RunManifest,
    *,
    schema: pa.Schema,
    token: str | None,
    shard: Shard | None = None,
    overwrite: bool = False,
    commit_every: float = DATASET_COMMIT_EVERY_S,
) -> DatasetRun:
    """Begin the run `manifest` on `target`, or go on with it; `held` is what `look_at` found there.

    The result's `manifest` is the one to go by: its source and part size are those of the first attempt. Every part
    has the columns of `schema`. On a Job, JOBSHELF_VOLUME names a mounted folder to fall back on, JOBSHELF_TIMEOUT the
    Job's timeout. Stops with 4 when the target holds another request's result or somebody else's files.
    """
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()  # a bar for each commit would fill the Job's log
    shard = shard or Shard(index=1, count=1)
    if target.folder is not None:
        adopted = _dataset_begin_in_folder(target, held, manifest, overwrite=overwrite)
        home = _DatasetPlace(
            place=BucketPlace(bucket_id=None, prefix="", folder=target.folder), token=None, role="output"
        )
        return DatasetRun(adopted, schema, shard, home=home, desk=home, sides=(), commit_every=0)
    adopted = _dataset_begin_on_hub(target, held, manifest, str(token), overwrite=overwrite)
    repo = _DatasetRepo(repo_id=str(target.repo_id), token=str(token))
    sides = _dataset_sides(repo, adopted)
    # Writers of one repository share its commits; where there are too many, only the one that collects commits.
    desk = sides[-1] if shard.count > DATASET_BUCKET_SHARDS else repo
    if desk is not repo:
        sides[-1].prepare()
    return DatasetRun(adopted, schema, shard, home=repo, desk=desk, sides=sides, commit_every=commit_every)


class DatasetRun:
    """One shard's work on one output. Use it as a context manager: leaving it, however, commits what is finished."""

    def __init__(
        self,
        manifest: RunManifest,
        schema: pa.Schema,
        shard: Shard,
        *,
        home: _DatasetRepo | _DatasetPlace,
        desk: _DatasetRepo | _DatasetPlace,
        sides: Sequence[_DatasetPlace],
        commit_every: float,
    ) -> None:
        self.manifest = manifest
        self.finished: frozenset[int] = frozenset()
        self._schema, self._shard = schema, shard
        self._home, self._desk, self._sides = home, desk, sides
        self._commit_every = commit_every
        self._stats = _dataset_stats_name(shard)
        self._receipts: dict[int, PartReceipt] = {}
        self._pending: dict[str, Path] = {}
        self._commits: deque[float] = deque()
        self._markers: set[bytes] = set()
        self._keep_spool = False
        self._lock, self._committing = threading.Lock(), threading.Lock()
        self._closing = threading.Event()
        self._committer = threading.Thread(target=self._commit_now_and_then, name="committer", daemon=True)
        self._deadline = time.monotonic() + _dataset_job_timeout() - DATASET_MARGIN_S

    def __enter__(self) -> DatasetRun:
        self._spool = Path(tempfile.mkdtemp(prefix="parts-"))
        try:
            self._take_stock()
        except BaseException:
            shutil.rmtree(self._spool, ignore_errors=True)
            raise
        if self._commit_every > 0:
            self._committer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with _dataset_no_second_sigterm():
            self._stop_committer()
            self._commit_or_rescue(patient=error is None)
            if not self._keep_spool:
                shutil.rmtree(self._spool, ignore_errors=True)

    def wanted(self, index: int) -> bool:
        """Whether part `index` is this shard's and was not finished when the run was opened."""
        return self._shard.holds(index) and index not in self.finished

    def add(self, part: Part, rows: pa.Table | Sequence[Mapping[str, Any]]) -> None:
        """Take the finished rows of `part`; they are on this machine's disk when this returns, and committed later.

        With `commit_every` 0 they are committed when this returns. Stops with 4 when they do not fit the schema.
        """
        path = self._spool / self.manifest.path(part.index)
        receipt = _dataset_write_part(path, rows, self._schema)
        with self._lock:
            self._receipts[part.index] = receipt
            self._pending[self.manifest.path(part.index)] = path
        if self._commit_every == 0:
            self._commit_if_allowed()

    def finish(
        self,
        total: int,
        make_card: Callable[[str | None, DatasetTotals], str],
        *,
        derive: DatasetDerive | None = None,
    ) -> DatasetResult:
        """Commit the rest, leave this shard's marker, and complete the run where no other shard has work left.

        `total` is the number of parts of the whole run. `make_card` gets the card that is there now (None: none) and
        what the run holds, and returns the new one. `derive` gets the tables of all parts, in their order and one at a
        time, and returns further files (path -> content), which go into one commit with the card; it is not called
        where what it made of these parts is there. Stops with 6 when the result is not, or not provably, there.
        """
        if total == 0 and self.wanted(0):  # no rows at all still make a dataset, which has columns and loads
            self.add(Part(index=0, start=0, stop=0), [])
        total = max(total, 1)
        self._stop_committer()
        marker = shard_marker(self._shard, parts_in_all=total)
        if marker not in self._markers:
            path = self._spool / "marker"
            path.write_bytes(marker)
            with self._lock:
                self._pending[self._shard.marker] = path
        self._commit_or_rescue(patient=True)
        try:
            return self._complete(total, make_card, derive)
        except _DATASET_FAILURES as error:
            if isinstance(error, Stop) and error.code == EXIT_INPUT:
                raise
            message = f"the rows are in {self._desk}, but the run could not be completed ({_dataset_reason(error)})"
            raise Stop(
                EXIT_NOT_PERSISTED, message, fix="run the same command again: it does what is missing"
            ) from error

    def _take_stock(self) -> None:
        """Find the parts that are finished: in the output, or where an earlier attempt had to put them."""
        for store in (self._home, *self._sides):
            listed = store.listing()
            known = _dataset_receipts(store, [self._stats] if self._stats in listed else [], self._spool)
            markers = [self._shard.marker] if self._shard.marker in listed else []
            self._markers.update(_dataset_read(store, markers, self._spool).values())
            there = _dataset_parts(self.manifest, listed)
            whole = {index for index, path in there.items() if index not in known or listed[path].fits(known[index])}
            self._receipts.update({index: known[index] for index in whole & known.keys()})
            self.finished |= whole

    def _commit_now_and_then(self) -> None:
        while not self._closing.wait(self._commit_every):
            self._commit_if_allowed()

    def _commit_if_allowed(self) -> None:
        """Commit what is finished, within this shard's share of commits; what fails is kept for the next time."""
        now = time.monotonic()
        while self._commits and now - self._commits[0] > 3600:
            self._commits.popleft()
        share = DATASET_COMMITS_PER_HOUR // min(self._shard.count, DATASET_BUCKET_SHARDS) - DATASET_RESERVED_COMMITS
        if isinstance(self._desk, _DatasetRepo) and len(self._commits) >= share:
            return
        try:
            self._commit_pending()
        except _DATASET_FAILURES as error:
            note(
                f"{len(self._pending)} files are not in {self._desk} yet ({_dataset_reason(error)}); trying again later"
            )

    def _commit_pending(self) -> None:
        with self._committing:
            with self._lock:
                batch, receipts = dict(self._pending), dict(self._receipts)
            if not batch:
                return
            self._commits.append(time.monotonic())
            self._desk.put(self._with_stats(batch, receipts), self._title(batch))
            with self._lock:
                for path, file in batch.items():
                    del self._pending[path]
                    file.unlink()

    def _with_stats(self, batch: Mapping[str, Path], receipts: Mapping[int, PartReceipt]) -> dict[str, Path]:
        # Into a folder they go one by one: a receipt without its part is no harm, a part without its receipt is read.
        return {self._stats: self._stats_file(receipts), **batch}

    def _stats_file(self, receipts: Mapping[int, PartReceipt]) -> Path:
        path = self._spool / "stats.json"
        content = {str(index): asdict(receipt) for index, receipt in sorted(receipts.items())}
        path.write_text(json.dumps({"parts": content}, sort_keys=True) + "\n", encoding="utf-8")
        return path

    def _title(self, batch: Mapping[str, Path]) -> str:
        indexes = _dataset_parts(self.manifest, batch)
        what = f"parts {min(indexes)} to {max(indexes)}" if indexes else "done"
        return f"{self.manifest.script}: {what} (shard {self._shard})"

    def _stop_committer(self) -> None:
        self._closing.set()
        if self._committer.is_alive():
            self._committer.join()

    def _commit_or_rescue(self, *, patient: bool) -> None:
        """Commit what is left; where that fails, put it where it outlives this process and stop with 6.

        On a Job the places are the volume, the run's bucket and, when there is time (`patient`), the output again.
        """
        try:
            self._commit_pending()
        except _DATASET_FAILURES as error:
            reason = _dataset_reason(error)
        else:
            return
        if os.environ.get("JOB_ID"):
            self._save_and_stop(("volume", "bucket"), reason)
            if patient and self._committed_before_the_deadline():
                return
        self._save_and_stop(("folder",), reason)
        self._keep_spool = True
        self._pending.clear()
        message = f"{self._desk} does not take the parts ({reason}); they are in {self._spool}"
        raise Stop(EXIT_NOT_PERSISTED, message, fix="mend the cause, then run the same command again")

    def _save_and_stop(self, roles: Sequence[str], reason: str) -> None:
        """Put what is left into the first side of these roles that takes it, and stop with 6; return if none does."""
        with self._lock:
            batch, receipts = dict(self._pending), dict(self._receipts)
        for side in self._sides:
            if side.role not in roles or side is self._desk:
                continue
            try:
                side.prepare()
                side.put({**self._with_stats(batch, receipts), **self._manifest_file()}, self._title(batch))
            except _DATASET_FAILURES as error:
                note(f"{side} does not take the parts either ({_dataset_reason(error)})")
                continue
            self._pending.clear()
            message = f"{len(batch)} files are not in {self._desk} ({reason}); they are saved in {side}"
            raise Stop(
                EXIT_NOT_PERSISTED, message, fix=f"{side.push_command(self._home)}, or run the same command again"
            )

    def _manifest_file(self) -> dict[str, Path]:
        path = self._spool / "manifest.json"
        path.write_bytes(self.manifest.to_bytes())
        return {PARTS_MANIFEST: path}

    def _committed_before_the_deadline(self) -> bool:
        while time.monotonic() + DATASET_RETRY_EVERY_S < self._deadline:
            time.sleep(DATASET_RETRY_EVERY_S)
            try:
                self._commit_pending()
            except _DATASET_FAILURES as error:
                note(f"{self._desk} does not take the parts yet ({_dataset_reason(error)})")
            else:
                return True
        return False

    def _complete(
        self, total: int, make_card: Callable[[str | None, DatasetTotals], str], derive: DatasetDerive | None
    ) -> DatasetResult:
        """Bring together what all shards did, verify it and write the card; leave that to the last shard."""
        listings = {store: store.listing() for store in (self._home, *self._sides)}
        places: dict[int, _DatasetRepo | _DatasetPlace] = {}
        for store, listed in listings.items():
            for index in _dataset_parts(self.manifest, listed):
                places.setdefault(index, store)
        _dataset_verify(self.manifest, listings[self._desk], self._own_receipts(places))
        missing = missing_parts(total, places)
        if missing:
            note(f"shard {self._shard} is done; other shards still have {len(missing)} of {total} parts to do")
            return DatasetResult(where=str(self._home), totals=None)
        receipts = self._all_receipts(total, listings, places)
        if isinstance(self._home, _DatasetRepo) and any(store is not self._home for store in places.values()):
            self._collect(self._home, total, places, receipts)
        _dataset_verify(self.manifest, self._home.listing(), receipts)
        totals = DatasetTotals(
            parts=total,
            rows=sum(receipt.rows for receipt in receipts.values()),
            failed=sum(receipt.failed for receipt in receipts.values()),
        )
        if derive is None:
            self._home.put_card(lambda card: make_card(card, totals), {}, self._spool)
            return DatasetResult(where=str(self._home), totals=totals)
        derived = self._derived(receipts, derive, lambda card: make_card(card, totals))
        rows = {name: receipt.rows for name, receipt in derived.items()}
        return DatasetResult(where=str(self._home), totals=totals, derived=rows)

    def _derived(
        self, receipts: Mapping[int, PartReceipt], derive: DatasetDerive, make_card: Callable[[str | None], str]
    ) -> dict[str, PartReceipt]:
        """Put what `derive` makes of the parts beside them, with the card; leave it where it is there already."""
        parts = [receipt.sha256 for _, receipt in sorted(receipts.items())]
        listed = self._home.listing()
        made_of, there = _dataset_noted_derived(self._home, listed, self._spool)
        if made_of == parts and all(name in listed and listed[name].fits(there[name]) for name in there):
            return there
        folder = self._spool / "derived"
        contents = derive(self._tables(sorted(receipts)))
        made = {name: folder / name for name in sorted(contents)}
        for name, path in made.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(contents[name])
        noted = {name: _dataset_receipt_of(path) for name, path in made.items()}
        stats = folder / "derived.json"
        content = {"parts": parts, "files": {name: asdict(receipt) for name, receipt in noted.items()}}
        stats.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        self._home.put_card(make_card, {**made, DATASET_DERIVED: stats}, self._spool)
        listed = self._home.listing()
        wrong = [name for name, receipt in noted.items() if name not in listed or not listed[name].fits(receipt)]
        if wrong:
            raise RuntimeError(f"{len(wrong)} files are not there as they were written: {', '.join(wrong[:3])}")
        return noted

    def _tables(self, indexes: Iterable[int]) -> Iterator[pa.Table]:
        """Yield the parts as they were written, read back from the output."""
        import pyarrow.parquet as pq

        for index in indexes:
            path = self._spool / "table.parquet"
            self._home.fetch({self.manifest.path(index): path})
            yield pq.read_table(path)
            path.unlink()

    def _own_receipts(self, places: Mapping[int, object]) -> dict[int, PartReceipt]:
        return {index: receipt for index, receipt in self._receipts.items() if places.get(index) in {self._desk, None}}

    def _all_receipts(
        self,
        total: int,
        listings: Mapping[_DatasetRepo | _DatasetPlace, Mapping[str, _DatasetEntry]],
        places: Mapping[int, _DatasetRepo | _DatasetPlace],
    ) -> dict[int, PartReceipt]:
        """Return the receipt of every part: what its shard noted, else what the part itself says."""
        found: dict[int, PartReceipt] = {}
        markers: dict[str, bytes] = {}
        for store, listed in listings.items():
            own = (f"{DATASET_STATS}/", f"{SHARD_MARKERS}/")
            names = [name for name in listed if name.startswith(own) and name != DATASET_DERIVED]
            markers.update(
                _dataset_read(store, [name for name in names if name.startswith(SHARD_MARKERS)], self._spool)
            )
            noted = _dataset_receipts(store, [name for name in names if name.startswith(DATASET_STATS)], self._spool)
            for index, path in _dataset_parts(self.manifest, listed).items():
                if places[index] is store and index in noted and listed[path].fits(noted[index]):
                    found[index] = noted[index]
        parts_in_all(markers)
        for index in missing_parts(total, found):
            path = self._spool / "unknown.parquet"
            places[index].fetch({self.manifest.path(index): path})
            found[index] = _dataset_receipt_of(path)
            path.unlink()
        return {index: found[index] for index in range(total)}

    def _collect(
        self,
        home: _DatasetRepo,
        total: int,
        places: Mapping[int, _DatasetRepo | _DatasetPlace],
        receipts: Mapping[int, PartReceipt],
    ) -> None:
        """Bring the parts that lie elsewhere into the repository in one commit, one part at a time on this disk."""

        def fetched() -> Iterator[tuple[str, Path]]:
            for index in range(total):
                if places[index] is not home:
                    name = self.manifest.path(index)
                    places[index].fetch({name: self._spool / name})
                    yield name, self._spool / name

        whole = Shard(index=1, count=1)  # the same files whoever collects: two at once make one commit
        marker = self._spool / "marker"
        marker.write_bytes(shard_marker(whole, parts_in_all=total))
        small = {whole.marker: marker, _dataset_stats_name(whole): self._stats_file(receipts)}
        home.put_one_by_one(fetched(), small, f"{self.manifest.script}: {total} parts collected")


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatasetRepo:
    """A dataset repository as a store of parts. Commits have no parent, so that shards do not stop each other."""

    repo_id: str
    token: str

    def __str__(self) -> str:
        return self.repo_id

    def listing(self) -> dict[str, _DatasetEntry]:
        from huggingface_hub import HfApi

        api = HfApi(token=self.token)
        items = retry(
            lambda: list(api.list_repo_tree(self.repo_id, recursive=True, repo_type="dataset")),
            what=f"listing {self.repo_id}",
        )
        files = ((item, getattr(item, "lfs", None)) for item in items if hasattr(item, "size"))
        return {
            item.path: _DatasetEntry(size=item.size, sha256=str(lfs.sha256) if lfs else None) for item, lfs in files
        }

    def put(self, files: Mapping[str, Path], title: str) -> None:
        from huggingface_hub import CommitOperationAdd

        _dataset_commit(
            self,
            lambda: [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()],
            title,
        )

    def put_one_by_one(self, large: Iterable[tuple[str, Path]], small: Mapping[str, Path], title: str) -> None:
        """Put files in one commit; a large one is sent ahead as it comes, and removed from this disk."""
        from huggingface_hub import CommitOperationAdd, HfApi

        api, operations = HfApi(token=self.token), []
        for name, path in large:
            addition = CommitOperationAdd(path_in_repo=name, path_or_fileobj=path)
            retry(
                lambda addition=addition: api.preupload_lfs_files(self.repo_id, [addition], repo_type="dataset"),
                what=f"sending {name} to {self.repo_id}",
            )
            operations.append(addition)
            if addition.path_or_fileobj == b"":
                path.unlink()
        operations += [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in small.items()]
        _dataset_commit(self, lambda: operations, title)

    def fetch(self, wanted: Mapping[str, Path]) -> None:
        from huggingface_hub import hf_hub_download

        def read(name: str, folder: str) -> str:
            return hf_hub_download(
                self.repo_id, name, repo_type="dataset", local_dir=folder, token=self.token, force_download=True
            )

        for name, path in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                file = retry(lambda name=name, folder=folder: read(name, folder), what=f"reading {name}")
                Path(file).replace(path)

    def put_card(self, make_card: Callable[[str | None], str], files: Mapping[str, Path], spool: Path) -> None:
        """Write the card and `files` on the head that was looked at; look again when that has moved."""
        from huggingface_hub import CommitOperationAdd

        target = Target(repo_id=self.repo_id, folder=None)
        for _ in range(DATASET_RACES):
            held = look_at(target, token=self.token, private=False, public=True)
            card = make_card(held.card)
            operations = [CommitOperationAdd(path_in_repo="README.md", path_or_fileobj=card.encode())]
            operations += [CommitOperationAdd(path_in_repo=name, path_or_fileobj=path) for name, path in files.items()]
            if (card == held.card and not files) or _dataset_commit_on(self, held, operations, "Card"):
                return
        raise RuntimeError(f"{self.repo_id} changed {DATASET_RACES} times while its card was written")


@dataclass(frozen=True, slots=True, kw_only=True)
class _DatasetPlace:
    """A folder or a bucket as a store of parts. `role`: output, volume, folder (saved on this machine) or bucket."""

    place: BucketPlace
    token: str | None
    role: str

    def __str__(self) -> str:
        return str(self.place)

    def listing(self) -> dict[str, _DatasetEntry]:
        there = list_bucket(self.place, self.token)
        return {name: _DatasetEntry(size=size, sha256=None) for name, size in there.items()}

    def prepare(self) -> None:
        """Create the bucket where there is none."""
        if self.place.bucket_id is not None:
            create_bucket_once(self.place, str(self.token))

    def put(self, files: Mapping[str, Path], title: str) -> None:
        put_in_bucket(self.place, files, self.token)
        there = list_bucket(self.place, self.token)
        wrong = [name for name, path in files.items() if there.get(name) != path.stat().st_size]
        if wrong:
            raise RuntimeError(f"{self}: {', '.join(wrong[:3])} did not arrive whole ({title})")

    def fetch(self, wanted: Mapping[str, Path]) -> None:
        fetch_from_bucket(self.place, wanted, self.token)

    def put_card(self, make_card: Callable[[str | None], str], files: Mapping[str, Path], spool: Path) -> None:
        """Write the card into the folder, then `files`: the last of them says that all of it is there."""
        there = Path(str(self.place.folder)) / "README.md"
        card = make_card(there.read_text(encoding="utf-8") if there.is_file() else None)
        path = spool / "README.md"
        path.write_text(card, encoding="utf-8")
        self.put({"README.md": path, **files}, "card")

    def push_command(self, home: object) -> str:
        """Return the shell command that brings what lies here into the repository `home`."""
        folder = str(self.place.folder or "./to-push")
        push = shlex.join(["hf", "upload", str(home), folder, ".", "--repo-type", "dataset"])
        if self.place.folder is not None:
            return push
        return f"{shlex.join(['hf', 'buckets', 'sync', str(self.place), folder])} && {push}"


def _dataset_begin_on_hub(target: Target, held: Held, ours: RunManifest, token: str, *, overwrite: bool) -> RunManifest:
    """Return the manifest in the repository after writing it where needed; of racing shards the first one's counts."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    repo = _DatasetRepo(repo_id=str(target.repo_id), token=token)
    for attempt in range(DATASET_RACES):
        if attempt or held.head is None:
            held = look_at(target, token=token, private=False, public=True)
        there, adopted = _dataset_adopted(target, held, ours, repo, overwrite=overwrite)
        if adopted == there:
            return adopted
        operations = [CommitOperationAdd(path_in_repo=PARTS_MANIFEST, path_or_fileobj=adopted.to_bytes())]
        outdated = _dataset_outdated(there, held.names, repo)
        operations += [CommitOperationDelete(path_in_repo=name) for name in outdated]
        if _dataset_commit_on(repo, held, operations, f"{ours.script}: a run begins"):
            return adopted
    message = f"{target} changed {DATASET_RACES} times while the run began"
    raise Stop(EXIT_NOT_PERSISTED, message, fix="run the same command again when nobody else writes to it")


def _dataset_begin_in_folder(target: Target, held: Held, ours: RunManifest, *, overwrite: bool) -> RunManifest:
    """Return the manifest in the folder after writing it where needed; of racing shards the first one's counts."""
    folder = Path(str(target.folder))
    home = _DatasetPlace(place=BucketPlace(bucket_id=None, prefix="", folder=folder), token=None, role="output")
    for attempt in range(DATASET_RACES):
        if attempt:
            held = look_at(target, token=None, private=False, public=True)
        there, adopted = _dataset_adopted(target, held, ours, home, overwrite=overwrite)
        if adopted == there:
            for path in half_written(folder / PARTS_MANIFEST):
                path.unlink(missing_ok=True)
            return adopted
        for name in _dataset_outdated(there, held.names, home):
            (folder / name).unlink(missing_ok=True)
        _dataset_place_manifest(folder, adopted, replace=there is not None)
    raise Stop(EXIT_NOT_PERSISTED, f"{target} changed while the run began", fix="run the same command again")


def _dataset_place_manifest(folder: Path, manifest: RunManifest, *, replace: bool) -> None:
    """Write the manifest whole; unless it is to `replace` one, not over that of a sibling shard that was first."""
    folder.mkdir(parents=True, exist_ok=True)
    there = folder / PARTS_MANIFEST
    handle, name = tempfile.mkstemp(dir=folder, prefix=f".{PARTS_MANIFEST}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(manifest.to_bytes())
        # a sibling may have been first, and then taken this for a leftover
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            try:
                temporary.replace(there) if replace or there.exists() else there.hardlink_to(temporary)
            except (FileExistsError, FileNotFoundError):
                raise
            except OSError:  # a mounted bucket has no links
                temporary.replace(there)
    finally:
        temporary.unlink(missing_ok=True)


def _dataset_adopted(
    target: Target, held: Held, ours: RunManifest, store: _DatasetRepo | _DatasetPlace, *, overwrite: bool
) -> tuple[RunManifest | None, RunManifest]:
    """Return (the manifest that is there, the manifest to go by)."""
    there = parse_run_manifest(held.manifest)
    if there is None:
        run = Run(script=ours.script, request=ours.request, source=ours.source)
        refuse_foreign(target, held, run, overwrite=overwrite)
    complete = there is not None and there.source != ours.source and _dataset_is_complete(there, held.names, store)
    return there, adopt_manifest(there, ours, where=str(target), overwrite=overwrite, complete=complete)


def _dataset_is_complete(manifest: RunManifest, names: Sequence[str], store: _DatasetRepo | _DatasetPlace) -> bool:
    markers = [name for name in names if name.startswith(f"{SHARD_MARKERS}/")]
    with tempfile.TemporaryDirectory() as folder:
        total = parts_in_all(_dataset_read(store, markers[:1], Path(folder)))
    return total is not None and not missing_parts(total, _dataset_parts(manifest, names))


def _dataset_outdated(
    there: RunManifest | None, names: Sequence[str], store: _DatasetRepo | _DatasetPlace
) -> list[str]:
    """Return the files of a run that is replaced: its parts, what was made from them, stats and markers."""
    if there is None:
        return []
    own = (f"{DATASET_STATS}/", f"{SHARD_MARKERS}/")
    with tempfile.TemporaryDirectory() as folder:
        made = _dataset_noted_derived(store, names, Path(folder))[1]
    outdated = [name for name in names if name in made or name.startswith(own) or there.index(name) is not None]
    return sorted(outdated, key=lambda name: name == DATASET_DERIVED)  # last: it tells a second attempt of the others


def _dataset_sides(repo: _DatasetRepo, manifest: RunManifest) -> tuple[_DatasetPlace, ...]:
    """Return where this run's parts lie or go when they are not in `repo`; the run's bucket is the last."""
    run = hashlib.sha256(manifest.to_bytes()).hexdigest()[:8]
    name = f"{repo.repo_id.replace('/', '--')}-not-pushed-{run}"
    folders = {"folder": Path(name).absolute()}
    volume = os.environ.get("JOBSHELF_VOLUME")
    if volume:
        folders = {"volume": Path(volume) / name, **folders}
    sides = [
        _DatasetPlace(place=BucketPlace(bucket_id=None, prefix="", folder=folder), token=None, role=role)
        for role, folder in folders.items()
    ]
    bucket = BucketPlace(bucket_id=f"{repo.repo_id}-parts", prefix=run, folder=None)
    return (*sides, _DatasetPlace(place=bucket, token=repo.token, role="bucket"))


def _dataset_commit(repo: _DatasetRepo, operations: Callable[[], list[Any]], title: str) -> None:
    """Commit without a parent; a refusal because somebody else commits at this moment (409, 412) is tried again."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=repo.token)
    for race in range(1, DATASET_RACES + 1):
        try:
            retry(
                lambda: api.create_commit(repo.repo_id, operations(), commit_message=title, repo_type="dataset"),
                what=f"writing to {repo}",
            )
        except HfHubHTTPError as error:
            if http_status(error) not in {409, 412} or race == DATASET_RACES:
                raise
            time.sleep(retry_pause(error, race) * random.uniform(0.5, 1.5))  # noqa: S311 - it only spreads shards
        else:
            return


def _dataset_commit_on(repo: _DatasetRepo, held: Held, operations: list[Any], title: str) -> bool:
    """Commit on the head that was looked at; False when it has moved since."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi(token=repo.token)
    try:
        retry(
            lambda: api.create_commit(
                repo.repo_id, operations, commit_message=title, repo_type="dataset", parent_commit=held.head
            ),
            what=f"writing to {repo}",
        )
    except HfHubHTTPError as error:
        if http_status(error) not in {404, 409, 412}:
            raise
        return False
    return True


def _dataset_stats_name(shard: Shard) -> str:
    return f"{DATASET_STATS}/{shard.rank:05d}.json"


def _dataset_parts(manifest: RunManifest, names: Iterable[str]) -> dict[int, str]:
    """Return the parts among `names`: number -> path."""
    numbered = {name: manifest.index(name) for name in sorted(names)}
    return {index: name for name, index in numbered.items() if index is not None}


def _dataset_read(store: _DatasetRepo | _DatasetPlace, names: Sequence[str], spool: Path) -> dict[str, bytes]:
    """Return the content of small files of `store`."""
    with tempfile.TemporaryDirectory(dir=spool) as folder:
        wanted = {name: Path(folder) / f"{number}" for number, name in enumerate(names)}
        if wanted:
            store.fetch(wanted)
        return {name: path.read_bytes() for name, path in wanted.items()}


def _dataset_receipts(store: _DatasetRepo | _DatasetPlace, names: Sequence[str], spool: Path) -> dict[int, PartReceipt]:
    """Return the receipts in the stats files `names`; what is not a receipt counts as not noted."""
    found: dict[int, PartReceipt] = {}
    for content in _dataset_read(store, names, spool).values():
        try:
            noted = json.loads(content)["parts"]
            found.update({int(index): PartReceipt(**receipt) for index, receipt in noted.items()})
        except (ValueError, KeyError, TypeError, AttributeError):
            note(f"a file in {DATASET_STATS}/ of {store} is damaged; the parts are read instead")
    return found


def _dataset_noted_derived(
    store: _DatasetRepo | _DatasetPlace, names: Iterable[str], spool: Path
) -> tuple[list[str], dict[str, PartReceipt]]:
    """Return (sha256 of the parts, receipts of the files made from them); none where nothing was made, or it is damaged."""
    if DATASET_DERIVED not in names:
        return [], {}
    content = _dataset_read(store, [DATASET_DERIVED], spool)[DATASET_DERIVED]
    try:
        noted = json.loads(content)
        return list(noted["parts"]), {name: PartReceipt(**receipt) for name, receipt in noted["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        note(f"{DATASET_DERIVED} of {store} is damaged; what it lists is made again")
        return [], {}


def _dataset_write_part(path: Path, rows: pa.Table | Sequence[Mapping[str, Any]], schema: pa.Schema) -> PartReceipt:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if isinstance(rows, pa.Table):
            table = rows.select(schema.names).cast(schema)
        else:
            table = pa.Table.from_pylist(list(rows), schema=schema)
    except (ValueError, TypeError, KeyError) as error:
        message = f"the rows of {path.name} do not have the columns of the output: {one_line(error)}"
        raise Stop(EXIT_INPUT, message, fix=f"expected {one_line(', '.join(schema.names))} of these types") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd")
    return _dataset_receipt_of(path)


def _dataset_receipt_of(path: Path) -> PartReceipt:
    """Return what a part says of itself. Only the column of errors is read."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        rows, failed = file.metadata.num_rows, 0
        if DATASET_ERROR_COLUMN in file.schema_arrow.names:
            errors = file.read(columns=[DATASET_ERROR_COLUMN]).column(0)
            failed = rows - errors.null_count
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return PartReceipt(rows=rows, failed=failed, size=path.stat().st_size, sha256=digest)


def _dataset_verify(
    manifest: RunManifest, listed: Mapping[str, _DatasetEntry], receipts: Mapping[int, PartReceipt]
) -> None:
    """Raise RuntimeError when a part is not listed as it was written."""
    paths = {index: manifest.path(index) for index in receipts}
    wrong = [path for index, path in paths.items() if path not in listed or not listed[path].fits(receipts[index])]
    if wrong:
        raise RuntimeError(f"{len(wrong)} parts are not there as they were written: {', '.join(sorted(wrong)[:3])}")


def _dataset_reason(error: BaseException) -> str:
    return one_line(error.message if isinstance(error, Stop) else error)


def _dataset_job_timeout() -> float:
    """Return the seconds that this Job may run as JOBSHELF_TIMEOUT says (`300`, `90m`, `1.5h`, `2d`)."""
    given = os.environ.get("JOBSHELF_TIMEOUT", "")
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", given)
    if match is None:
        return DATASET_JOB_TIMEOUT_S
    return float(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


@contextlib.contextmanager
def _dataset_no_second_sigterm() -> Iterator[None]:
    """Hold off SIGTERM: it often comes twice, from `uv run` and to the whole group, and the first is being obeyed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
