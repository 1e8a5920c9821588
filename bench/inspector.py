"""How long dataset_inspector.py takes from its URL to its verdict: `uv run python bench/inspector.py`.

Beside a script with the same header that imports what it imports, makes the same requests and judges nothing. Both are
started by `uv run URL` from an embedded Hub, in turns.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi

from jobshelf.hub import Account, serve
from jobshelf.sample_data import questions

ROUNDS = 11
CATALOG = Path(__file__).parents[1] / "catalog"
SCRIPT = CATALOG / "dataset_inspector.py"
TOKEN = "hf_" + "b" * 34
MOST_CALLS = 3


def bare_script() -> str:
    """Return a script with the inspector's header and imports that fetches what it fetches."""
    text = SCRIPT.read_text(encoding="utf-8")
    header = text[: text.index("# ///\n", text.index("# /// script") + 1) + len("# ///\n")]
    names = re.findall(r"^(?:import|from) .+$", text, re.MULTILINE)
    imports = "\n".join(dict.fromkeys(["from __future__ import annotations", *names]))
    return f"""{header}
{imports}
import httpx2

with httpx2.Client(base_url=os.environ["HF_ENDPOINT"], timeout=10) as client:
    for what in ("splits?dataset=ada/d", "rows?dataset=ada/d&config=default&split=train&offset=0&length=100"):
        print(len(client.get("/" + what).json()))
"""


def seconds(argv: list[str], env: dict[str, str]) -> tuple[float, float]:
    """Return how long the command took by the clock, and how much of a core it used meanwhile."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(argv, env=env, stdout=subprocess.DEVNULL, check=True)
    taken, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return taken, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def timed(commands: dict[str, list[str]], env: dict[str, str]) -> dict[str, list[tuple[float, float]]]:
    """Return what `seconds` says of each command; one round of all, then the next."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for argv in commands.values():
        seconds(argv, env)  # uv makes the environment once
    for _ in range(ROUNDS):
        for name, argv in commands.items():
            times[name].append(seconds(argv, env))
    return times


def main() -> None:
    """Print medians in milliseconds, the ratio, and how many requests the inspector made."""
    with tempfile.TemporaryDirectory() as folder:
        account = Account(name="ada", token=TOKEN)
        with serve(Path(folder) / "hub", accounts=(account,)) as hub:
            api = HfApi(endpoint=hub.endpoint, token=TOKEN)
            rows = "".join(json.dumps(row) + "\n" for row in questions(100)).encode()
            empty = b'# /// script\n# requires-python = ">=3.11"\n# ///\n'
            files = {"inspector.py": SCRIPT.read_bytes(), "bare.py": bare_script().encode(), "empty.py": empty}
            for repo, content in (("ada/d", {"train.jsonl": rows}), ("ada/scripts", files)):
                api.create_repo(repo, repo_type="dataset")
                operations = [CommitOperationAdd(name, data) for name, data in content.items()]
                api.create_commit(repo, operations, commit_message="bench", repo_type="dataset")
            env = {**os.environ, "HF_ENDPOINT": hub.endpoint, "HF_HOME": folder}
            url = f"{hub.endpoint}/datasets/ada/scripts/resolve/main"
            measure(f"{url}/inspector.py", f"{url}/bare.py", Path(folder) / "empty.py", env, empty)
            hub.clear_journal()
            seconds([sys.executable, str(SCRIPT), "ada/d"], env)
            calls = len(hub.journal())
            print(f"requests: {calls} (at most {MOST_CALLS})")
            if calls > MOST_CALLS:
                raise SystemExit(1)


def measure(inspector: str, bare: str, empty: Path, env: dict[str, str], nothing: bytes) -> None:
    """Print how long the inspector takes by URL and how long it takes to say --help."""
    empty.write_bytes(nothing)
    by_url = {
        "inspector": ["uv", "run", "--no-project", inspector, "ada/d"],
        "the same imports and requests": ["uv", "run", "--no-project", bare],
    }
    helped = {
        "--help": ["uv", "run", "--no-project", str(SCRIPT), "--help"],
        "an empty script": ["uv", "run", "--no-project", str(empty)],
    }
    for commands in (by_url, helped):
        times = timed(commands, env)
        for place, clock in enumerate(("wall", "CPU")):
            medians = {name: statistics.median(pair[place] for pair in taken) for name, taken in times.items()}
            first, second = medians.values()
            shown = ", ".join(f"{name} {value * 1000:.0f} ms" for name, value in medians.items())
            print(f"{clock}: {shown}: {first / second:.2f}x")


if __name__ == "__main__":
    main()
