"""UVS9xx: what the script does when it is run: help, wrong arguments, no token, the rehearsal, hostile deeds; streams that never end."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from jobshelf.interface import Event, Run
from jobshelf.vet import flow
from jobshelf.vet.rule import Audience, Hit, Inconclusive, Severity, Tier, rule
from jobshelf.vet.rules.interface import exits_without_arguments, hands_words_on, parses_by_library
from jobshelf.vet.rules.persistence import line_of, needs_token
from jobshelf.vet.subject import Subject

MAX_HELP_SECONDS = 1.0
_EXIT_USAGE, _EXIT_TOKEN = 2, 3
_DOES = {
    "evasion": "evades its record:",
    "native": "loads the native library",
    "network": "asks the network for",
    "process": "starts the process",
    "remove": "removes",
    "signal": "sends the signal",
    "write": "writes",
}
_STOPPERS = frozenset({"head", "islice", "next", "take", "zip"})


@rule("UVS901", "help-fails", severity=Severity.ERROR, tier=Tier.STUB, audience=Audience.COMMAND, since="0.1.0")
def help_fails(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """`--help` prints the usage, at once, and does nothing else.

    ## What it does

    Runs the script with `--help`, third-party imports stubbed, without network, token or home folder. It must exit with 0 within a second
    of processor time, print its usage on stdout, write and remove nothing, and start nothing.

    ## Why is this bad?

    Help is what people, agents and the index read before they run a script that costs money.

    ## Example

    ```python
    print("starting")
    ```

    ```python
    import argparse
    from pathlib import Path

    Path("results").mkdir()
    argparse.ArgumentParser().parse_args()
    ```

    ## Use instead

    ```python
    import argparse

    argparse.ArgumentParser().parse_args()
    print("starting")
    ```

    ## How to fix or suppress

    Parse the arguments before anything else, with argparse, click or typer. `# vet: ignore[UVS901] -- reason` suppresses it.
    """
    if subject.script.tree is None:
        return
    run = subject.probe.help
    deeds = [event for event in run.events if event.kind in _DOES]
    if deeds:
        yield _deed(subject, deeds[0])
    elif run.ended and not run.inconclusive:
        yield _behaviour("--help does not come back", run.ended, "the usage and exit 0", "parse the arguments first")
    elif undecided := _undecided(run):
        yield Inconclusive(reason=undecided)
    elif run.exit != 0:
        yield _behaviour("--help fails", _ending(run), "exit 0", "parse the arguments before anything that can fail")
    elif "usage" not in run.stdout.lower() and not parses_by_library(subject):
        yield _behaviour(
            "--help prints no usage", "no usage on stdout", "a usage line", "parse the arguments with argparse"
        )
    elif run.seconds > MAX_HELP_SECONDS:
        yield _behaviour(
            "--help is slow", f"{run.seconds} s", f"at most {MAX_HELP_SECONDS:g} s", "import and compute later"
        )


@rule(
    "UVS902",
    "bad-args-exit",
    severity=Severity.ERROR,
    tier=Tier.STUB,
    audience=Audience.COMMAND,
    since="0.1.0",
    requires=("UVS901",),
)
def bad_args_exit(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """An unknown option and a missing argument exit with 2, and say so on stderr only.

    ## What it does

    Runs the script with an option that does not exist and, when something is required, with no arguments at all. Both must exit with 2,
    with a message on stderr and nothing on stdout. Where a parser of TRL or transformers reads the options (TrlParser,
    HfArgumentParser), or of a library that is not installed beside jobshelf, that parser is a stub here and refuses nothing: then only
    missing arguments are tried. A rehearsal, with the real parser, tries both.

    ## Why is this bad?

    A misspelt option that is ignored changes a paid run silently. 38 of 56 public scripts exit with 0 when their arguments are missing,
    which a Job shows as completed.

    ## Example

    ```python
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--split", default="train", help="split")
    args, ignored = parser.parse_known_args()
    print(args.split)
    ```

    ## Use instead

    ```python
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--split", default="train", help="split")
    args = parser.parse_args()
    print(args.split)
    ```

    ## How to fix or suppress

    Use `parse_args`, let the parser do the refusing, and print no banner. `# vet: ignore[UVS902] -- reason` suppresses it.
    """
    if subject.script.tree is None:
        return
    probe = subject.probe
    if not hands_words_on(subject):
        yield from _refusal(subject, probe.unknown_option, "an unknown option")
    known = exits_without_arguments(subject) and Audience.SHELF not in subject.audiences
    if probe.missing_required is not None and not known:
        yield from _refusal(subject, probe.missing_required, "no arguments, though some are required")


@rule(
    "UVS903",
    "missing-token-exit",
    severity=Severity.ERROR,
    tier=Tier.STUB,
    audience=Audience.SHELF,
    since="0.1.0",
    requires=("UVS103", "UVS901"),
    catalogue=True,
)
def missing_token_exit(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """Without a token, a script that needs one exits with 3 and says how to pass it.

    ## What it does

    Runs the script without a token, with the arguments of `[tool.jobshelf] rehearse`. When it needs one (`token = "read"` or `"write"`, or
    it writes to the Hub) it must exit with 3 and name `HF_TOKEN` and the way to give it: `--secrets HF_TOKEN`, or `hf auth login`.

    ## Why is this bad?

    A missing token is the most common first failure of a Job. The message is read in a log, where nothing else helps.

    ## Example

    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["huggingface-hub>=2.4,<3"]
    # [tool.jobshelf]
    # token = "read"
    # rehearse = []
    # ///
    from huggingface_hub import get_token

    import argparse

    argparse.ArgumentParser().parse_args()
    if get_token() is None:
        raise SystemExit("not logged in")
    ```

    ## Use instead

    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["huggingface-hub>=2.4,<3"]
    # [tool.jobshelf]
    # token = "read"
    # rehearse = []
    # ///
    from huggingface_hub import get_token

    import argparse
    import sys

    argparse.ArgumentParser().parse_args()
    if get_token() is None:
        print("error: no Hub token. Fix: add `--secrets HF_TOKEN`, or run `hf auth login`", file=sys.stderr)
        raise SystemExit(3)
    ```

    ## How to fix or suppress

    Use the block `token`. `# vet: ignore[UVS903] -- reason` suppresses it.
    """
    if subject.script.tree is None or not needs_token(subject):
        return
    run = subject.probe.without_token
    if undecided := _undecided(run, expected=_EXIT_TOKEN):
        yield Inconclusive(reason=undecided)
    elif run.exit != _EXIT_TOKEN:
        yield _behaviour(
            f"without a token the script does not exit with {_EXIT_TOKEN}",
            _ending(run),
            f"exit {_EXIT_TOKEN}",
            "assert the token right after the arguments are parsed (block: token)",
        )
    elif "HF_TOKEN" not in run.stderr or not ("--secrets HF_TOKEN" in run.stderr or "hf auth login" in run.stderr):
        yield _behaviour(
            "the message about the missing token does not say how to pass one",
            run.stderr.strip()[-100:] or "nothing on stderr",
            "HF_TOKEN, and `--secrets HF_TOKEN` or `hf auth login`",
            "add the fix to the message",
        )


@rule(
    "UVS904",
    "smoke",
    severity=Severity.ERROR,
    tier=Tier.STATIC,
    audience=Audience.SHELF,
    since="0.1.0",
    requires=("UVS103",),
    catalogue=True,
)
def smoke(subject: Subject) -> Iterator[Hit]:
    """A script says how it is rehearsed, its last rehearsal succeeded, and was of these bytes.

    ## What it does

    `[tool.jobshelf]` has `rehearse`, the arguments of the smallest real run. When there is a record of such a run
    (`catalog/records/<name>.json`, written by `jobshelf rehearse --record`), a step that failed is an error, and a record of other bytes
    (another sha256) is a hint.

    ## Why is this bad?

    Code rots: a script that once worked is not a script that works.

    ## Example

    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # [tool.jobshelf]
    # version = "0.1.0"
    # ///
    ```

    ## Use instead

    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # [tool.jobshelf]
    # version = "0.1.0"
    # rehearse = ["{input}", "{output}"]
    # ///
    ```

    ## How to fix or suppress

    Declare `rehearse`; run `jobshelf rehearse <script> --record`. `# vet: ignore[UVS904] -- reason` suppresses it.
    """
    header = subject.script.header
    if header and header.tool("jobshelf") and not isinstance(header.tool("jobshelf").get("rehearse"), list):
        yield Hit(
            line=header.line_of("", table="tool.jobshelf"),
            message="the script does not say how it is rehearsed",
            found="no list 'rehearse' in [tool.jobshelf]",
            expected='rehearse = ["{input}", "{output}"]',
            advice="add rehearse with the arguments of the smallest real run",
        )
    record = _record(subject)
    if record is None:
        return
    failed = [step["name"] for step in record.get("steps", []) if step.get("verdict") == "failed"]
    if failed:
        yield _behaviour(
            f"the last rehearsal failed: {', '.join(failed)}",
            "a failed step in the record",
            "every step passed",
            f"run `jobshelf rehearse {subject.script.path} --record`",
        )
    elif record.get("sha256") != subject.script.sha256:
        yield Hit(
            line=1,
            message="the last rehearsal was of other bytes",
            found=str(record.get("sha256"))[:12],
            expected=subject.script.sha256[:12],
            advice=f"run `jobshelf rehearse {subject.script.path} --record`",
            severity=Severity.HINT,
        )


@rule("UVS905", "stream-stopped-early", severity=Severity.ERROR, tier=Tier.STATIC, since="0.1.0")
def stream_stopped_early(subject: Subject) -> Iterator[Hit]:
    """A streamed dataset is read to its end, or the process leaves with `os._exit`.

    ## What it does

    Reports a dataset of `load_dataset(..., streaming=True)` that is not read to its end: a loop with `break` or `return`, `islice`, `next`,
    `zip`, `.take(n)`, `.head(n)`.

    ## Why is this bad?

    With today's datasets (5.2) and pyarrow (26) such a process hangs when it exits, all its work done: a Job then runs, and is paid for,
    until its timeout (apache/arrow#45214, huggingface/datasets#7467; 100 % of 14 tries with islice, one in 17 with `.take`).

    ## Example

    ```python
    from itertools import islice

    from datasets import load_dataset

    rows = load_dataset("parquet", data_files="a.parquet", split="train", streaming=True)
    for row in islice(rows, 5):
        print(row)
    ```

    ```python
    from datasets import load_dataset

    for row in load_dataset("parquet", data_files="a.parquet", split="train", streaming=True):
        print(row)
        break
    ```

    ## Use instead

    ```python
    import polars as pl

    print(pl.scan_parquet("a.parquet").head(5).collect())
    ```

    ## How to fix or suppress

    Read the first rows with `polars.scan_parquet(...).head(n)`, or flush stdout and stderr and call `os._exit(code)` at the very end.
    `# vet: ignore[UVS905] -- reason` suppresses it.
    """
    if subject.script.tree is None or "streaming" not in subject.script.text or _leaves_at_once(subject):
        return
    streams = _streams(subject)
    for loop in (*subject.nodes(ast.For), *subject.nodes(ast.AsyncFor)):
        if _is_stream(loop.iter, streams) and _leaves_loop(loop):
            yield _stopped(subject, loop.iter)
    for call in subject.nodes(ast.Call):
        verb = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        owner = [call.func.value] if isinstance(call.func, ast.Attribute) else []
        if verb in _STOPPERS and any(_is_stream(value, streams) for value in [*owner, *call.args]):
            yield _stopped(subject, call)


@rule("UVS906", "leaves-the-fence", severity=Severity.ERROR, tier=Tier.STUB, since="0.1.0", security=True)
def leaves_the_fence(subject: Subject) -> Iterator[Hit]:
    """A script does nothing to other processes, loads no native code by itself, and leaves the record of its run alone.

    ## What it does

    Looks at every run with stubbed imports. It reports what only a hostile script does, or one that cannot be judged: a signal to another
    process, a native library (`ctypes`), a system call that only an attempt to leave the fence makes, a broken interpreter, hundreds of
    threads or files, a record that was forged, closed or flooded. On a system whose kernel has no such fence, a hint says so.

    ## Why is this bad?

    A script from a stranger runs with your token. What it tries on the machine that vets it, it tries in a Job.

    ## Example

    ```python
    import argparse
    import os
    import signal

    argparse.ArgumentParser().parse_args()
    os.kill(os.getppid(), signal.SIGTERM)
    ```

    ```python
    import argparse
    import ctypes

    argparse.ArgumentParser().parse_args()
    ctypes.CDLL("libc.so.6").getppid()
    ```

    ## Use instead

    ```python
    import argparse
    import os

    argparse.ArgumentParser().parse_args()
    print(os.getppid())
    ```

    ## How to fix or suppress

    Remove it; native code belongs in a package of the header. This is a security rule: it cannot be suppressed inside the file.
    """
    if subject.script.tree is None:
        return
    probe = subject.probe
    runs = [*probe.runs, *(subject.watched.runs if subject.watched else ())]
    breaches = dict.fromkeys(run.breach for run in runs if run.breach)
    events = dict.fromkeys((event.kind, event.name) for run in runs for event in run.hostile)
    for breach in breaches:
        yield _hostile(1, f"the run with stubbed imports was stopped: {breach}", breach)
    for kind, name in events:
        yield _hostile(line_of(subject, name), f"the script {_DOES[kind]} {name}", f"{kind} {name}")
    if probe.unfenced and not breaches and not events:
        yield Hit(
            line=1,
            message=f"the script ran without the kernel's fence: {probe.unfenced}",
            found="Python's own guard only",
            expected="Linux 6.2 or newer with Landlock and seccomp",
            advice="vet scripts of strangers on Linux, or add --no-stub",
            severity=Severity.HINT,
        )


def _hostile(line: int, message: str, found: str) -> Hit:
    return Hit(
        line=line,
        message=message,
        found=found,
        expected="a script that reads its input, computes and writes its output",
        advice="remove it; do not run a script of a stranger that does this",
    )


def _behaviour(message: str, found: str, expected: str, advice: str) -> Hit:
    return Hit(line=1, message=message, found=found, expected=expected, advice=advice)


def _deed(subject: Subject, event: Event) -> Hit:
    name = event.name if event.name != "." else "its working folder"
    return Hit(
        line=line_of(subject, event.name),
        message=f"--help {_DOES[event.kind]} {name}",
        found=f"{event.kind} {event.name}",
        expected="a usage text and nothing else",
        advice="do it after the arguments are parsed",
    )


def _undecided(run: Run, *, expected: int = 0) -> str | None:
    if run.inconclusive:
        return run.inconclusive
    if run.exit != expected and run.guesses:
        return f"{_ending(run)} after it had asked a stubbed value: {run.guesses[0]}"
    return None


def _ending(run: Run) -> str:
    return run.ended or run.error or f"exit {run.exit}"


def _refusal(subject: Subject, run: Run, what: str) -> Iterator[Hit | Inconclusive]:
    beyond = _beyond_the_parser(subject, run)
    if beyond and run.exit != _EXIT_USAGE:
        yield _behaviour(
            f"{what}: the script goes on to work",
            f"a call of {beyond}",
            f"exit {_EXIT_USAGE} and a message on stderr",
            "let the parser refuse it (parse_args, required=True, parser.error)",
        )
    elif undecided := _undecided(run, expected=_EXIT_USAGE):
        yield Inconclusive(reason=undecided)
    elif run.exit != _EXIT_USAGE:
        yield _behaviour(
            f"{what}: the script does not exit with {_EXIT_USAGE}",
            _ending(run),
            f"exit {_EXIT_USAGE} and a message on stderr",
            "let the parser refuse it (parse_args, required=True, parser.error)",
        )
    elif run.stdout.strip() or not run.stderr.strip():
        yield _behaviour(
            f"{what}: the message is not on stderr",
            run.stdout.strip()[:80] or "no message",
            "stderr, and nothing on stdout",
            "print it with file=sys.stderr, or use parser.error",
        )


def _beyond_the_parser(subject: Subject, run: Run) -> str | None:
    """Return the first call that `--help` does not come to; None when the run did not get that far."""
    before = {event.name for event in subject.probe.help.events}
    return next((event.name for event in run.events if event.kind == "call" and event.name not in before), None)


def _record(subject: Subject) -> dict[str, Any] | None:
    if subject.shelf is None:
        return None
    try:
        return json.loads(
            (subject.shelf.catalog / "records" / f"{subject.script.name}.json").read_text(encoding="utf-8")
        )
    except (FileNotFoundError, NotADirectoryError):
        return None


def _streams(subject: Subject) -> frozenset[str]:
    """Return the names that a streamed dataset, or something made from one, is bound to."""
    names: set[str] = set()
    for node in sorted(subject.nodes(ast.Assign), key=lambda node: node.lineno):
        if _is_stream(node.value, frozenset(names)):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return frozenset(names)


def _is_stream(value: ast.expr, streams: frozenset[str]) -> bool:
    if isinstance(value, ast.Name):
        return value.id in streams
    if isinstance(value, ast.Subscript):
        return _is_stream(value.value, streams)
    if not isinstance(value, ast.Call):
        return False
    verb = value.func.attr if isinstance(value.func, ast.Attribute) else getattr(value.func, "id", "")
    if verb == "load_dataset":
        return any(keyword.arg == "streaming" and not _is_false(keyword.value) for keyword in value.keywords)
    if verb in {"enumerate", "iter", "tqdm"}:
        return bool(value.args) and _is_stream(value.args[0], streams)
    kept = {"filter", "map", "remove_columns", "rename_column", "select_columns", "shuffle", "skip", "with_format"}
    return verb in kept and isinstance(value.func, ast.Attribute) and _is_stream(value.func.value, streams)


def _is_false(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is False


def _leaves_loop(loop: ast.For | ast.AsyncFor) -> bool:
    """Tell whether the loop's body can leave it early; a `break` of a loop inside it does not count."""
    pending: list[ast.AST] = list(loop.body)
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.Break, ast.Return)):
            return True
        if isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            pending += [child for child in ast.walk(node) if isinstance(child, ast.Return)]
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            pending += ast.iter_child_nodes(node)
    return False


def _leaves_at_once(subject: Subject) -> bool:
    """Whether there is an `os._exit` that nothing before it in its function returns from: others end a child process."""
    return _leaves(subject.script.tree.body if subject.script.tree else ())


def _leaves(body: Sequence[ast.stmt]) -> bool:
    functions: list[ast.FunctionDef | ast.AsyncFunctionDef] = []
    nodes: list[ast.AST] = [*body]
    returned, left = [math.inf], []
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            functions.append(node)
            continue
        if isinstance(node, ast.Return):
            returned.append(node.lineno)
        elif isinstance(node, ast.Call) and flow.dotted(node.func, {}) == "os._exit":
            left.append(node.lineno)
        nodes.extend(ast.iter_child_nodes(node))
    return any(line < min(returned) for line in left) or any(_leaves(function.body) for function in functions)


def _stopped(subject: Subject, node: ast.expr) -> Hit:
    return Hit(
        **subject.span(node),
        message="a streamed dataset is not read to its end: the process hangs at exit",
        found=ast.unparse(node)[:80],
        expected="polars scan_parquet(...).head(n), all rows, or os._exit at the end",
        advice="read the first rows with polars, or end with os._exit after flushing",
    )
