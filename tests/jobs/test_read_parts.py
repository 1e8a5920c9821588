"""The reader of a merged result leaves no thread behind that would take its process down."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from jobshelf.jobs.read_parts import read_whole


class Watched(io.FileIO):
    """A file that remembers which threads read it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.readers: set[int] = set()

    def read(self, size: int = -1, /) -> bytes:
        self.readers.add(threading.get_ident())
        return super().read(size)


def test_a_part_is_read_by_the_thread_that_asks(tmp_path):
    numbers = pa.table({"odd": list(range(1, 100, 2)), "square": [n * n for n in range(50)]})
    pq.write_table(numbers, tmp_path / "part.parquet", row_group_size=5)
    with Watched(tmp_path / "part.parquet") as stream:
        assert read_whole(stream).equals(numbers)
    assert stream.readers == {threading.get_ident()}
