"""A script that breaks one promise fails exactly the step that is there for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobshelf.rehearse import Outcome, Rehearsal, rehearse, to_text
from rehearse.conftest import GOOD, Broken

NOT_SHARDABLE = ("# shardable = true", "# shardable = false")


def failed(shown: Rehearsal) -> list[str]:
    return [verdict.step for verdict in shown.verdicts if verdict.outcome is Outcome.FAILED]


def test_a_sound_script_passes_every_step() -> None:
    shown = rehearse(GOOD)
    assert {verdict.outcome for verdict in shown.verdicts} == {Outcome.PASSED}, to_text(shown)
    assert shown.is_whole
    figures = {verdict.step: verdict.figures for verdict in shown.verdicts}
    assert (figures["run"]["rows"], figures["run"]["writes"]) == (40, 6)
    assert (figures["kill"]["points"], figures["kill"]["killed"], figures["kill"]["wrong"]) == (10, 10, 0)
    assert figures["faults"] == {"faults": 35, "survived": 34, "saved": 1, "wrong": 0}
    assert 5 < figures["run"]["peak_memory_mib"] < 100
    assert shown.folder is None


# Each runs through every step, and only its own may fail.
WHOLE = {
    "prints the token": (
        "token",
        "it is in",
        [("    rows, commit = read(", "    print(os.environ['HF_TOKEN'][:8])\n    rows, commit = read(")],
    ),
    "pushes twice": (
        "second-run",
        "it wrote to the Hub: 4 requests, the first POST /api/datasets/rehearsal/output/commit/main",
        [("            if path not in there:", "            if path:")],
    ),
    "loses rows on a kill": (
        "kill",
        "rows lost",
        [
            (
                "                commit_file(args.output, path, data)",
                "                commit_file(args.output, path, data.partition(b'\\n')[0])\n"
                "                commit_file(args.output, path, data)",
            )
        ],
    ),
    "goes on without a token": (
        "no-token",
        "exit code 0",
        [('stop(3, "no token"', 'stop(0, "no token"')],
    ),
    "writes in a dry run": (
        "dry-run",
        "it wrote to the Hub: 1 requests, the first POST /api/repos/create",
        [('        print(f"would write', '        create(args.output)\n        print(f"would write')],
    ),
    "swallows a 500": (
        "faults",
        "500 at POST /api/datasets/rehearsal/output/commit/main (5): exit code 0, but",
        [
            (
                "            if error.code not in (409,",
                "            if error.code == 500 and '/commit/' in path:\n                return b''\n"
                "            if error.code not in (409,",
            )
        ],
    ),
    "changes what it was given": (
        "run",
        "the columns answer, question of the input came out otherwise: 40 rows lost, 40 rows too many",
        [("{**row, ", '{**row, "answer": row["answer"].lower(), ')],
    ),
}


@pytest.mark.parametrize(("step", "reason", "changes"), WHOLE.values(), ids=WHOLE.keys())
def test_a_broken_promise_fails_its_step_alone(
    broken: Broken, step: str, reason: str, changes: list[tuple[str, str]]
) -> None:
    shown = rehearse(broken(*changes), kills=8 if step == "kill" else 2, faults=12 if step == "faults" else 2)
    assert failed(shown) == [step], to_text(shown)
    assert reason in shown.verdict(step).reason


# The same for single steps.
SINGLE = {
    "help needs a token": (
        "help",
        "exit code 3",
        [("    parser = argparse", "    require_write()\n    parser = argparse")],
    ),
    "takes any option": ("bad-arguments", "exit code 0", [("parser.parse_args()", "parser.parse_known_args()[0]")]),
    "asks nobody what the token may": ("read-only-token", "exit code 6", [('!= "write"', '== "nothing"')]),
    "input error without its code": (
        "missing-input",
        "exit code 1",
        [('stop(4, f"{repo} cannot', 'stop(1, f"{repo} cannot')],
    ),
    "column not looked for": ("missing-column", "KeyError", [('if "question" not in', 'if "" in')]),
    "leaves a file in a dry run": (
        "dry-run",
        "it left plan.txt in the working folder",
        [('        print(f"would write', '        Path("plan.txt").touch()\n        print(f"would write')],
    ),
    "drops a row": (
        "run",
        "1 of 40 rows of the input are missing",
        [("    parts = [", "    rows = rows[1:]\n    parts = [")],
    ),
    "random rows": ("run", "not twice the same", [('len(row["question"].split())', "id(row) + time.time_ns()")]),
    "card without its source": ("run", "it does not name the commit of rehearsal/questions", [(" at {commit}", "")]),
    "card without tags": ("run", "it lacks the tag jobshelf", [("tags: [uv-script, jobshelf]", "tags: [uv-script]")]),
    "claims to be a Job": (
        "run",
        "it says that this ran as a Job",
        [("{rows} rows in", "Ran as a Hugging Face Job: {rows} rows in")],
    ),
    "config that names nothing": (
        "run",
        "names data/*.parquet, which is not there",
        [("data/*.jsonl}}", "data/*.parquet}}")],
    ),
    "card of the last attempt only": (
        "kill",
        "the card of datasets/rehearsal/output says '40 rows in",
        [NOT_SHARDABLE, ("parts=len(parts)", "parts=len([path for path in mine if path not in there])")],
    ),
    "exit 6, nothing saved": (
        "faults",
        "exit code 6, but datasets/rehearsal/output/README.md is missing",
        [("        (folder / path).write", "        str(folder / path) or (folder / path).write")],
    ),
    "exit 6, no command": (
        "faults",
        "without a command that pushes",
        [('saved in {folder}", push)', 'saved in {folder}", "")')],
    ),
    "half an answer is enough": (
        "faults",
        "truncated at GET /api/whoami-v2 (1): exit code 1",
        [
            (
                "                return answer.read()",
                "                return answer.read() if '/whoami' not in path else answer.read1(1 << 30)",
            )
        ],
    ),
    "shards do it all": (
        "shards",
        "40 rows too many",
        [
            ("{name(n): jsonl(part)", "{name(n * count + index - 1): jsonl(part)"),
            ("if n % count == index - 1}", "}"),
        ],
    ),
    "token on a command line": (
        "token",
        "the command line",
        [
            (
                "    rows, commit = read(",
                "    import subprocess\n"
                "    words = [sys.executable, '-c', 'import time; time.sleep(0.3)', os.environ['HF_TOKEN']]\n"
                "    subprocess.run(words)\n"
                "    rows, commit = read(",
            )
        ],
    ),
    "token in a file at home": (
        "token",
        "/home/.login",
        [
            (
                "    rows, commit = read(",
                "    Path.home().joinpath('.login').write_text(os.environ['HF_TOKEN'])\n    rows, commit = read(",
            )
        ],
    ),
    "token in the rows": ("token", "the rows", [('{**row, "words"', '{**row, "by": os.environ["HF_TOKEN"], "words"')]),
    "token in an address": (
        "token",
        "the address of GET /api/datasets/",
        [
            (
                'ask(f"/api/datasets/{repo}"))\n        text',
                "ask(f\"/api/datasets/{repo}?token={os.environ['HF_TOKEN']}\"))\n        text",
            )
        ],
    ),
}


@pytest.mark.parametrize(("step", "reason", "changes"), SINGLE.values(), ids=SINGLE.keys())
def test_a_broken_promise_is_named(broken: Broken, step: str, reason: str, changes: list[tuple[str, str]]) -> None:
    shown = rehearse(broken(*changes), steps=[step], kills=4, faults=4)
    assert failed(shown) == [step], to_text(shown)
    assert reason in shown.verdict(step).reason


def test_a_script_that_waits_for_a_silent_hub_is_named(broken: Broken) -> None:
    waits = broken(("timeout=PATIENCE", "timeout=None"))
    shown = rehearse(waits, steps=["faults"], seconds=25)
    assert failed(shown) == ["faults"], to_text(shown)
    assert shown.verdict("faults").reason.startswith("silence at POST /api/datasets/rehearsal/output/commit/main (5): ")
    assert shown.verdict("faults").figures["wrong"] == 1


def test_a_script_that_fails_is_not_compared(broken: Broken) -> None:
    shown = rehearse(
        broken(("    if args.dry_run:", "    return stop(5, 'no machine', 'get one')\n    if args.dry_run:"))
    )
    assert failed(shown) == ["dry-run", "run"], to_text(shown)
    assert shown.verdict("kill").reason.startswith("the run itself fails: exit code 5 (error: no machine")


def test_a_script_that_never_ends_is_ended(broken: Broken) -> None:
    shown = rehearse(
        broken(("    if args.dry_run:", "    time.sleep(600)\n    if args.dry_run:")), steps=["run"], seconds=0.7
    )
    assert shown.verdict("run").reason.startswith("did not end in time")


def test_what_the_runs_left_can_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shown = rehearse(GOOD, steps=["run"], keep=True)
    assert shown.folder is not None
    assert (shown.folder / "first-run" / "run-1" / "stdout").read_text() == "40 rows\n"
    assert "everything is in" in to_text(shown)
    rehearse(GOOD, steps=["help"])
    assert [path.name for path in tmp_path.iterdir()] == [shown.folder.name]
