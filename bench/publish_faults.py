"""What a publish does when one of its requests fails: `uv run python bench/publish_faults.py` writes publish_faults.md.

Every request of a first, an unchanged, a changed and a released publish fails once in each of five ways, with the real
command and the real client on the embedded Hub. Exit code 1 when one of them leaves the Hub in between, ends with the wrong
exit code or message, or is not completed by the next publish.
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from huggingface_hub import HfApi

from conftest import ShelfMaker
from jobshelf.hub import Account, serve
from publisher import DELAY_SECONDS, PATIENCE, Rig, Struck, cases, sweep, table, wrong_answer
from support import TOKEN

REPORT = Path(__file__).with_suffix(".md")
HEAD = """\
# A publish, one failing request at a time

{date}, `uv run python bench/publish_faults.py`: {count} publishes of the real command on the embedded Hub, in each of which one
request fails once. A cell is the exit code and the state in which the repository was left: as `before`, or as `after` an
uninterrupted publish; never in between. After each, one more publish without a fault left exactly what an uninterrupted one
leaves, the tag on the head included. {zero} survived the fault (exit code 0), {rest} said in one line what failed and what to type.

`timeout`: the Hub is silent for {delay} s, the client's patience is {patience} s. `truncate`: the Hub does the request, its answer
breaks off in the middle. `429` comes with `Retry-After: 1`.

"""


def swept(folder: Path) -> list[Struck]:
    """Return how every publish ended."""
    account = Account(name="alice", token=TOKEN, orgs=("jobshelf",))
    home = {"HOME": str(folder / "home"), "HF_HOME": str(folder / "home" / "hf"), "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    with serve(folder / "hub", accounts=(account,)) as hub:
        environment = {**os.environ, **home, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN}
        rig = Rig(hub, HfApi(endpoint=hub.endpoint, token=TOKEN), environment)
        return sweep(rig, cases(rig, ShelfMaker(folder)).values())


def report(found: list[Struck]) -> str:
    """Return the text of publish_faults.md."""
    survived = sum(one.code == 0 for one in found)
    head = HEAD.format(
        date=datetime.now(UTC).date(),
        count=len(found),
        zero=survived,
        rest=len(found) - survived,
        delay=DELAY_SECONDS,
        patience=PATIENCE["HF_HUB_DOWNLOAD_TIMEOUT"],
    )
    return head + table(found)


def main() -> int:
    """Write the table; print what was wrong."""
    with tempfile.TemporaryDirectory() as folder:
        found = swept(Path(folder))
    wrong = [f"{one.case}, {one.fault} at {one.request}: {text}" for one in found if (text := wrong_answer(one))]
    if wrong:
        print("\n".join(wrong))
        return 1
    REPORT.write_text(report(found), encoding="utf-8")
    print(f"{len(found)} failing requests, 0 left in between; wrote {REPORT.name}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
