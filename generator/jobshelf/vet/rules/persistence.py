"""UVS4xx: the token is asserted first and never shown; the output is persisted, as it is made, where it can be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from jobshelf.interface import DRY_RUN, TEMPORARY, Event, Run
from jobshelf.vet import flow
from jobshelf.vet.endings import endings
from jobshelf.vet.leaks import leaks, seen_leaks
from jobshelf.vet.rule import Audience, Hit, Inconclusive, Severity, Tier, rule
from jobshelf.vet.subject import Subject

_TOKEN_LITERAL = re.compile(r"hf_[A-Za-z0-9]{20,}")
_TOKEN_FLAG = re.compile(r"--(?:hf[-_])?(?:api[-_])?(?:auth[-_])?(?:token|api[-_]?key|password)")
_TOKEN_IN_ENV = re.compile(r"(?:-e|--env)[ =]\s*[\"']?(?:HF_TOKEN|HUGGING_?FACE_HUB_TOKEN)\b")
_LOOKS = frozenset({"append", "count", "index", "remove", "replace", "startswith"})
_LOCAL_WRITES = frozenset(
    {
        "save",
        "save_model",
        "save_pretrained",
        "save_to_disk",
        "sink_parquet",
        "to_csv",
        "to_json",
        "to_parquet",
        "write_csv",
    }
    | {"write_bytes", "write_ndjson", "write_parquet", "write_text"}
)
_OF_PATHS = frozenset({"write_bytes", "write_text"})
_ELSEWHERE = flow.PUSHES | {"put_object", "upload_blob", "upload_fileobj", "upload_from_file", "upload_from_filename"}
_LEAVES = (
    _ELSEWHERE | _LOCAL_WRITES | {"pipe", "pipe_file", "post", "put", "put_file", "request", "train", "upload", "write"}
)
_BY_SERVER = frozenset({"post", "put", "request", "urlopen"})
_EXIT_TOKEN, _EXIT_NOT_PERSISTED = 3, 6


@rule(
    "UVS401",
    "token-not-asserted-first",
    severity=Severity.ERROR,
    tier=Tier.STUB,
    audience=Audience.HUB,
    since="0.1.0",
    requires=("UVS103",),
)
def token_not_asserted_first(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """A script that writes to the Hub makes sure of its token before it does anything that costs.

    ## What it does

    Runs the script without a token, its imports stubbed, with the arguments of `[tool.jobshelf] rehearse` (or plausible ones), and
    looks at the order of what it calls. A script that writes to the Hub, or says that it needs a token, must stop before it loads
    data or a model or asks a server. Where such a run cannot decide, the order of the calls in `main` does.

    ## Why is this bad?

    A Job starts without a token unless it is given one. Of 40 public scripts that write to the Hub, 33 load the data and the model
    first and find out at the last step, when the GPU has been paid for.

    ## Example

    ```python
    import argparse

    from datasets import load_dataset


    def main() -> int:
        parser = argparse.ArgumentParser()
        parser.add_argument("input")
        parser.add_argument("output")
        args = parser.parse_args()
        load_dataset(args.input).push_to_hub(args.output)
        return 0


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## Use instead

    ```python
    import argparse
    import sys

    from datasets import load_dataset
    from huggingface_hub import HfApi, get_token


    def main() -> int:
        parser = argparse.ArgumentParser()
        parser.add_argument("input")
        parser.add_argument("output")
        args = parser.parse_args()
        if get_token() is None:
            print("error: no Hub token. Fix: add `--secrets HF_TOKEN`", file=sys.stderr)
            return 3
        HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
        load_dataset(args.input).push_to_hub(args.output)
        return 0


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## How to fix or suppress

    Call `get_token()` and `whoami()` right after the arguments are parsed and exit with 3 when there is none; the block `token` does
    it. The rule is wrong when the output is written to the Hub only on request and the rehearsal does not request it: declare a
    `rehearse` that does, or suppress it with `# vet: ignore[UVS401] -- reason`.
    """
    if subject.script.tree is None or not needs_token(subject):
        return
    run = subject.probe.without_token
    work = next((event for event in run.events if _costs(event)), None) or _went_on(run)
    if work is not None:
        yield _work_without_token(subject, work, run)
    elif run.inconclusive or run.exit in (None, 0):
        yield from _token_order(subject, run)


@rule("UVS402", "token-leak", severity=Severity.ERROR, tier=Tier.STATIC, since="0.1.0", security=True)
def token_leak(subject: Subject) -> Iterator[Hit]:
    """No token stands in the file, on the command line, in a message, in a URL, or in a plain environment variable.

    ## What it does

    Reports a literal that looks like a Hub token, an option such as `--hf-token` where the Hub is used, and an example that passes the token with
    `-e HF_TOKEN=` instead of `--secrets HF_TOKEN`. It follows what `get_token()`, `HfFolder` and `os.environ["HF_TOKEN"]` return, under any
    name and through slices, formatting, base64, dicts, attributes and the script's own functions, and reports where it is printed,
    logged, put into a message, a file, a URL, a command or the default of an option, or sent to another host than the Hub. The same
    goes for all of `os.environ` in output and files.

    Unless `--no-stub` is given, it also runs the script with a token made up for the run, its imports stubbed, and, where it writes and has
    that option, with `--dry-run` on top. Eight characters in a row of that token, also in base64 or hexadecimal, must not come out: in the output, in a
    file, an address, a command, a request to another host, or in what is published. The Hub's client may have it (`token=`, a log-in,
    the Authorization header).

    ## Why is this bad?

    Arguments and plain environment variables of a Job can be read by everyone who can see the Job; logs are kept and shared.

    ## Example

    ```python
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--hf-token", help="Hub token")
    ```

    ```python
    from huggingface_hub import get_token

    token = get_token()
    print(f"using {token[:7]}")
    ```

    ## Use instead

    ```python
    from huggingface_hub import get_token

    if get_token() is None:
        raise SystemExit("no Hub token; add --secrets HF_TOKEN")
    ```

    ## How to fix or suppress

    Take the token from `huggingface_hub.get_token()` and let nothing but the client see it. This is a security rule: it cannot be
    suppressed inside the file.
    """
    yield from _literal_tokens(subject)
    yield from _token_options(subject)
    yield from _shown_tokens(subject)
    yield from _plain_environment(subject)


@rule(
    "UVS403",
    "output-not-persisted",
    severity=Severity.ERROR,
    tier=Tier.STATIC,
    audience=Audience.HUB,
    since="0.1.0",
    requires=("UVS103",),
)
def output_not_persisted(subject: Subject) -> Iterator[Hit]:
    """What the script makes is persisted: on the Hub, in a bucket, or where the user says.

    ## What it does

    When `[tool.jobshelf] persists` promises something, `main` must reach a call that keeps the promise (`create_commit`,
    `upload_folder`, `push_to_hub`, `pipe_file` of an fsspec file system, the option `--push_to_hub` for TRL, ...). Calls in methods,
    and functions handed to a helper that calls them (`retry(api.upload_file, ...)`, `partial`, `submit`), count. Unless `--no-stub` is
    given, a run with a made-up token, imports stubbed, that ends with 0 must persist something, too. Without such a promise, a script that only writes files under names of its own, and uploads
    nothing, is reported.

    ## Why is this bad?

    The disk of a Job is gone when the Job ends: so is whatever was only written there.

    ## Example

    ```python
    import polars as pl


    def main() -> int:
        pl.DataFrame({"text": ["a"]}).write_parquet("result.parquet")
        return 0


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## Use instead

    ```python
    import argparse

    import polars as pl
    from huggingface_hub import HfApi


    def main() -> int:
        parser = argparse.ArgumentParser()
        parser.add_argument("output")
        args = parser.parse_args()
        pl.DataFrame({"text": ["a"]}).write_parquet("result.parquet")
        HfApi().upload_file(
            path_or_fileobj="result.parquet", path_in_repo="data/result.parquet", repo_id=args.output, repo_type="dataset"
        )
        return 0


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## How to fix or suppress

    Upload the result, or write it to a path that the user gives; `jobshelf new` makes scripts for each kind of target. The rule is
    wrong for a script whose local file is only a cache: suppress it with `# vet: ignore[UVS403] -- reason`.
    """
    tree, header = subject.script.tree, subject.script.header
    if tree is None:
        return
    promised = header.tool("jobshelf").get("persists", "") if header else ""
    if promised == "none" or (promised == "" and not any(verb in subject.script.text for verb in _LOCAL_WRITES)):
        return
    calls = flow.steps(tree)
    turned_off = any(_turns_push_off(step) for step in calls)
    if any(_persists(step) and not (turned_off and step.name in flow.PUSH_OPTIONS) for step in calls):
        if promised and (run := _run_without_output(subject)):
            yield Hit(
                line=header.line_of("persists", table="tool.jobshelf"),
                message=f'persists = "{promised}", but a run that ends with 0 persists nothing',
                found=f"no upload, commit or push with the arguments {' '.join(run.arguments) or '(none)'}"[:200],
                expected="an upload, commit or push before the end",
                advice="make the run of [tool.jobshelf] rehearse reach the upload, or set persists to none",
            )
        return
    if promised:
        yield Hit(
            line=header.line_of("persists", table="tool.jobshelf"),
            message=f'persists = "{promised}", but main reaches no call that persists anything',
            found="no upload, commit or push",
            expected="one that main reaches",
            advice="make main reach the upload, or set persists to none",
        )
    else:
        yield from _written_nowhere(subject, calls)


@rule(
    "UVS404",
    "push-at-end-only",
    severity=Severity.WARNING,
    tier=Tier.STATIC,
    audience=Audience.HUB,
    since="0.1.0",
    requires=("UVS103",),
)
def push_at_end_only(subject: Subject) -> Iterator[Hit]:
    """A push is tried again, work that takes long is pushed as it goes, and what could not be pushed is not lost.

    ## What it does

    Looks at every upload that `main` reaches: a script that works in a loop must upload inside one too. On a shelf and with `--strict`,
    an upload must also be retried (a retry function, a decorator, or a loop that sleeps), and there must be an exit code 6, for data
    that was computed and saved but not pushed.

    ## Why is this bad?

    The most used public script of its kind ends with "All upload attempts failed. Results are lost." after the GPU time is spent.
    19 of 47 scripts try a push a second time.

    ## Example

    ```python
    import argparse

    from datasets import load_dataset


    def main() -> int:
        parser = argparse.ArgumentParser()
        parser.add_argument("input")
        parser.add_argument("output")
        args = parser.parse_args()
        load_dataset(args.input).push_to_hub(args.output)
        return 0


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## Use instead

    ```python
    import argparse
    import sys
    import time

    from datasets import load_dataset


    def push(dataset, output: str) -> int:
        for attempt in range(5):
            try:
                dataset.push_to_hub(output)
            except OSError as error:
                print(f"push failed: {error}", file=sys.stderr)
                time.sleep(2**attempt)
            else:
                return 0
        dataset.save_to_disk("./out")
        print(f"error: not pushed, saved in ./out. Fix: hf upload {output} ./out --repo-type dataset", file=sys.stderr)
        return 6


    def main() -> int:
        parser = argparse.ArgumentParser()
        parser.add_argument("input")
        parser.add_argument("output")
        args = parser.parse_args()
        return push(load_dataset(args.input), args.output)


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## How to fix or suppress

    `jobshelf new` makes a script that does all three. The rule is wrong where the client retries by itself (a `Trainer` with
    `hub_strategy="every_save"`): suppress it with `# vet: ignore[UVS404] -- reason`.
    """
    tree = subject.script.tree
    if tree is None or not flow.may_push(subject.script.text):
        return
    calls = flow.steps(tree)
    pushes = [step for step in calls if flow.is_push(step) and not _is_card(step)]
    if Audience.SHELF in subject.audiences:
        yield from (_not_retried(subject, step) for step in pushes if not step.retried)
        if pushes and not _exits_with_six(subject):
            yield _lost_when_refused(subject, pushes[-1])
    if pushes and not any(step.looped for step in pushes) and any(_generates(step) for step in calls):
        yield _only_at_end(subject, pushes[-1])


@rule(
    "UVS405",
    "target-not-checked",
    severity=Severity.WARNING,
    tier=Tier.STATIC,
    audience=Audience.HUB,
    since="0.1.0",
    requires=("UVS103",),
)
def target_not_checked(subject: Subject) -> Iterator[Hit]:
    """The output repository is created or looked up before the work begins.

    ## What it does

    In a script that uploads to the Hub, a call such as `create_repo`, `repo_info` or `auth_check` must come before the first call
    that loads a model or data.

    ## Why is this bad?

    A misspelt namespace, a name that the Hub refuses, or a repository that belongs to someone else is found after the work instead
    of in the first second.

    ## Example

    ```python
    import argparse

    from datasets import load_dataset


    def main() -> int:
        parser = argparse.ArgumentParser()
        parser.add_argument("input")
        parser.add_argument("output")
        args = parser.parse_args()
        load_dataset(args.input).push_to_hub(args.output)
        return 0


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## Use instead

    ```python
    import argparse

    from datasets import load_dataset
    from huggingface_hub import HfApi


    def main() -> int:
        parser = argparse.ArgumentParser()
        parser.add_argument("input")
        parser.add_argument("output")
        args = parser.parse_args()
        HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
        load_dataset(args.input).push_to_hub(args.output)
        return 0


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## How to fix or suppress

    Call `create_repo(..., exist_ok=True)` in the preflight, or use a `persist_*` block, which does. The order is read from the source:
    where calls are chosen at run time it can be wrong; suppress it with `# vet: ignore[UVS405] -- reason`.
    """
    tree = subject.script.tree
    if tree is None or not flow.may_push(subject.script.text):
        return
    calls = flow.steps(tree)
    push = next((step for step in calls if flow.is_push(step) and not _is_asked_for(subject, step)), None)
    if push is None:
        return
    first_work = next((step for step in calls if flow.is_work(step.name)), push)
    if not any(_looks_at_target(step) for step in calls[: calls.index(first_work)]):
        yield Hit(
            **subject.span(first_work.node),
            message=f"the work begins ({first_work.name}) before the output repository was created or looked up",
            found=f"{push.verb} on line {push.node.lineno} is the first time the target is named to the Hub",
            expected="create_repo, repo_info or auth_check first",
            advice="call create_repo(..., exist_ok=True) before any work",
        )


def _looks_at_target(step: flow.Step) -> bool:
    """Tell whether the call is about the output: what is looked up at a revision is an input."""
    return step.verb in flow.TARGET_CHECKS and not any(keyword.arg == "revision" for keyword in step.node.keywords)


def writes_to_hub(subject: Subject) -> bool:
    """Tell whether `main` reaches a call that writes to the Hub, other than one that its user asks for."""
    text, tree = subject.script.text, subject.script.tree
    if tree is None or not flow.may_push(text):
        return False
    steps = (step for step in flow.steps(tree) if not _is_asked_for(subject, step))
    return any(flow.is_push(step) or _pushes_by_itself(step) for step in steps)


def _is_asked_for(subject: Subject, step: flow.Step) -> bool:
    """Tell whether the call is made only on request: `if training_args.push_to_hub:`, or `if repo: data.push_to_hub(repo)`."""
    given = {ast.unparse(value) for value in (*step.node.args, *(one.value for one in step.node.keywords))}
    tests = [ast.unparse(around.test) for around in subject.ancestors(step.node) if isinstance(around, ast.If)]
    return any(test.endswith(".push_to_hub") or test.removesuffix(" is not None") in given for test in tests)


def _pushes_by_itself(step: flow.Step) -> bool:
    """Tell whether the call asks for a push: `push_to_hub=True`, or the words of a command line with `--push_to_hub`."""
    return step.name in flow.PUSH_OPTIONS or any(
        keyword.arg == "push_to_hub" and isinstance(keyword.value, ast.Constant) and keyword.value.value is True
        for keyword in step.node.keywords
    )


def _turns_push_off(step: flow.Step) -> bool:
    """Tell whether the call has `push_to_hub=False`: then the words of the command line ask TRL for no push."""
    return any(
        keyword.arg == "push_to_hub" and isinstance(keyword.value, ast.Constant) and keyword.value.value is False
        for keyword in step.node.keywords
    )


def needs_token(subject: Subject) -> bool:
    """Tell whether the header says that a token is needed, or the script writes to the Hub and does not say."""
    header = subject.script.header
    declared = header.tool("jobshelf").get("token") if header else None
    return declared in ("read", "write") or (declared != "none" and writes_to_hub(subject))


def _costs(event: Event) -> bool:
    return event.kind in {"network", "process"} or (event.kind == "call" and flow.is_work(event.name))


def _went_on(run: Run) -> Event | None:
    """Return the Hub call by which a run shows that it was not stopped: it used the answer and ended for another reason."""
    stopped_for_it = run.error or run.stopped or run.exit in (None, _EXIT_TOKEN) or "token" in run.stderr.lower()
    asked = [event for event in run.events if event.kind == "call" and _asks_hub(event.name)]
    return asked[0] if asked and run.guesses and not stopped_for_it else None


def _asks_hub(name: str) -> bool:
    verb = name.rpartition(".")[2]
    return name.startswith("huggingface_hub.") and verb.islower() and verb not in flow.TOKEN_CHECKS


def _work_without_token(subject: Subject, event: Event, run: Run) -> Hit:
    return Hit(
        line=line_of(subject, event.name),
        message=f"without a token the script reaches {event.name} instead of stopping",
        found=f"{event.name} with the arguments {' '.join(run.arguments) or '(none)'}",
        expected="exit 3 before any work",
        advice="assert the token (get_token, whoami) right after the arguments are parsed",
    )


def _token_order(subject: Subject, run: Run) -> Iterator[Hit | Inconclusive]:
    """Judge by the order of calls in the source what the run could not."""
    calls = flow.steps(subject.script.tree)
    checks = [number for number, step in enumerate(calls) if step.verb in flow.TOKEN_CHECKS]
    work = [number for number, step in enumerate(calls) if flow.is_work(step.name)]
    if not checks:
        yield Hit(
            line=1,
            message="the script never looks for a token, though it needs one",
            found="no call of get_token, whoami or auth_check",
            expected="one before any work, and exit 3 when there is none",
            advice="assert the token right after the arguments are parsed (block: token)",
        )
    elif work and work[0] < checks[0]:
        step = calls[work[0]]
        yield Hit(
            **subject.span(step.node),
            message=f"{step.name} comes before the token is looked for",
            found=f"the token is looked for on line {calls[checks[0]].node.lineno}",
            expected="the token first",
            advice="assert the token right after the arguments are parsed",
        )
    else:
        yield Inconclusive(reason=run.inconclusive or run.ended or "without a token it ended with 0 and did no work")


def line_of(subject: Subject, name: str) -> int:
    """Return the line of the first call that the trace shows as `name`; 1 when it cannot be told."""
    names = flow.imported_names(subject.nodes(ast.Import, ast.ImportFrom))
    wanted = name.rpartition(".")[2]
    lines = [
        call.lineno for call in subject.nodes(ast.Call) if flow.dotted(call.func, names).rpartition(".")[2] == wanted
    ]
    return min(lines, default=1)


def _in_lines(pattern: re.Pattern[str], subject: Subject) -> Iterator[tuple[int, re.Match[str]]]:
    """Yield the first match in each line, with the line's number."""
    if pattern.search(subject.script.text):  # most scripts have none
        yield from ((number, match) for number, line in enumerate(subject.lines, 1) if (match := pattern.search(line)))


def _literal_tokens(subject: Subject) -> Iterator[Hit]:
    for number, match in _in_lines(_TOKEN_LITERAL, subject):
        yield Hit(
            line=number,
            column=match.start() + 1,
            message="a literal that looks like a Hub token",
            found="hf_ and 20 or more letters and digits",
            expected="huggingface_hub.get_token()",
            advice="delete it, revoke it at https://huggingface.co/settings/tokens, and use get_token()",
        )


def _token_options(subject: Subject) -> Iterator[Hit]:
    if Audience.HUB not in subject.audiences:
        return
    for call in subject.nodes(ast.Call):
        if _is_verb(call, _LOOKS):
            continue
        for value in call.args:
            if isinstance(value, ast.Constant) and isinstance(value.value, str) and _TOKEN_FLAG.fullmatch(value.value):
                yield Hit(
                    **subject.span(value),
                    message=f"a token on the command line ({value.value}): Job arguments are visible and kept",
                    found=value.value,
                    expected="a secret: --secrets HF_TOKEN",
                    advice="remove the option and use huggingface_hub.get_token()",
                )


def _shown_tokens(subject: Subject) -> Iterator[Hit]:
    known = leaks(subject)
    for leak in known:
        yield _shown_token(leak.what, leak.where, ast.unparse(leak.node)[:100], **subject.span(leak.node))
    for seen in seen_leaks(subject, known):
        found = f"seen in a run with a made-up token and the arguments {' '.join(seen.arguments) or '(none)'}"[:200]
        yield _shown_token("a token (or a part of one)", seen.where, found, line=seen.line)


def _shown_token(what: str, where: str, found: str, **place: int) -> Hit:
    return Hit(
        **place,
        message=f"{what} is {where}",
        found=found,
        expected="no part of a token in any output",
        advice="say that a token was found, not what it is; let nothing but the Hub's client have it",
    )


def _plain_environment(subject: Subject) -> Iterator[Hit]:
    for number, match in _in_lines(_TOKEN_IN_ENV, subject):
        yield Hit(
            line=number,
            column=match.start() + 1,
            message="the token as a plain environment variable: everyone who sees the Job can read it",
            found=match[0],
            expected="--secrets HF_TOKEN",
            advice="write --secrets HF_TOKEN",
        )


def _is_verb(call: ast.Call, verbs: frozenset[str] | set[str]) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return name in verbs


def _persists(step: flow.Step) -> bool:
    by_server = step.verb in _BY_SERVER and any(
        keyword.arg in {"data", "json", "content"} for keyword in step.node.keywords
    )
    return step.verb in _ELSEWHERE or by_server or flow.writes_to_place(step) or _pushes_by_itself(step)


def _is_card(step: flow.Step) -> bool:
    """Tell whether the call uploads a description, which can be written again at any time."""
    values = {keyword.arg: keyword.value for keyword in step.node.keywords}
    path = values.get("path_in_repo")
    owner = step.name.removesuffix(f".{step.verb}").rpartition(".")[2]
    return (
        (isinstance(path, ast.Constant) and path.value == "README.md")
        or "card" in owner.lower()
        or "Card" in step.made_by.rpartition(".")[2]
        or ("Card(" in step.made_by or "Card.load" in step.made_by)
    )


def _written_nowhere(subject: Subject, calls: tuple[flow.Step, ...]) -> Iterator[Hit]:
    writes = [step for step in calls if step.verb in _LOCAL_WRITES]
    fixed = [step for step in writes if any(_is_fixed_name(value) for value in _targets(step))]
    if fixed and len(fixed) == len(writes):
        yield Hit(
            **subject.span(fixed[0].node),
            message=f"{fixed[0].verb} writes to the local disk only, which is gone when the Job ends",
            found=ast.unparse(fixed[0].node)[:100],
            expected="an upload, or a path that the user gives",
            advice="upload the result, or take the path as an argument",
        )


def _run_without_output(subject: Subject) -> Run | None:
    """Return the run with a made-up token if it went well and left nothing anywhere; a run that guessed its way proves nothing."""
    run = subject.watched.real if subject.watched else None
    if run is None or run.inconclusive or run.exit != 0 or DRY_RUN in run.arguments:
        return None
    sure = all(guess.startswith(("iter(", "next(")) for guess in run.guesses)
    return run if sure and not any(map(_leaves_something, run.events)) else None


def _leaves_something(event: Event) -> bool:
    """Tell whether the event can have left something: a write, a request, a process, or any call that may send its result away."""
    if event.kind in {"network", "process"}:
        return True
    if event.kind == "write":
        return not event.name.startswith(TEMPORARY)
    return event.kind == "call" and event.name.rpartition(".")[2] in _LEAVES


def _targets(step: flow.Step) -> list[ast.expr]:
    """Return the expressions that can name the file a step writes: its arguments, and the `Path(...)` it is called on."""
    function = step.node.func
    owner = function.value.args if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Call) else []
    return owner[:1] if step.verb in _OF_PATHS else [*step.node.args[:1], *owner[:1]]


def _is_fixed_name(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def _not_retried(subject: Subject, step: flow.Step) -> Hit:
    return Hit(
        **subject.span(step.node),
        message=f"{step.verb} is tried once: one refused request loses the work",
        found="no retry around it",
        expected="a few attempts with growing pauses, Retry-After honoured",
        advice="call it through a retry, for example of tenacity",
    )


def _lost_when_refused(subject: Subject, step: flow.Step) -> Hit:
    return Hit(
        **subject.span(step.node),
        message=f"when {step.verb} fails for good, nothing says where the result is",
        found="no exit code 6",
        expected="the data saved locally, its place and the push command printed, exit 6",
        advice="save what was computed, print the command that pushes it, and exit with 6",
    )


def _only_at_end(subject: Subject, step: flow.Step) -> Hit:
    return Hit(
        **subject.span(step.node),
        message=f"{step.verb} comes once, after all the work: a crash or a timeout loses everything",
        found="work in a loop, the upload outside",
        expected="an upload for each finished part",
        advice="commit finished parts as they come; `jobshelf new` makes a script that does",
    )


def _generates(step: flow.Step) -> bool:
    return step.looped and (step.verb in {"chat", "generate", "predict"} or _embeds(step) or flow.is_work(step.name))


def _embeds(step: flow.Step) -> bool:
    """Tell whether the call is a model's `encode(texts)`; a string's takes no argument, or the name of an encoding."""
    first = step.node.args[0] if step.node.args else None
    return step.verb == "encode" and first is not None and not isinstance(first, ast.Constant)


def _exits_with_six(subject: Subject) -> bool:
    return any(
        constant.value == _EXIT_NOT_PERSISTED and _is_exit(subject, constant)
        for constant in subject.nodes(ast.Constant)
    )


def _is_exit(subject: Subject, constant: ast.Constant) -> bool:
    """Tell whether the number is an exit code: returned, named as one, or given to what ends the process."""
    parent = subject.parent(constant)
    while isinstance(parent, (ast.IfExp, ast.keyword, ast.Tuple)):
        parent = subject.parent(parent)
    if isinstance(parent, (ast.Assign, ast.AnnAssign)):
        target = parent.targets[0] if isinstance(parent, ast.Assign) else parent.target
        around = subject.parent(parent)
        names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
        names += [around.name] if isinstance(around, ast.ClassDef) else []
        return any("EXIT" in name.upper() for name in names)
    if isinstance(parent, ast.Call):
        ends = {"exit", "SystemExit", "_exit"} | endings(subject.script.tree).never_return
        return _is_verb(parent, ends) or isinstance(subject.parent(parent), ast.Raise)
    return isinstance(parent, ast.Return)
