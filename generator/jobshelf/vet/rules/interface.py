"""UVS3xx: what the script says about itself is there, is true, and is what others of its kind say."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path, PurePosixPath

from jobshelf.interface import Argument, Run, imported_modules, run_with
from jobshelf.stub.modules import real_modules
from jobshelf.vet import flow
from jobshelf.vet.endings import FunctionNode, endings
from jobshelf.vet.rule import Audience, Hit, Inconclusive, Severity, Tier, rule
from jobshelf.vet.rules.persistence import writes_to_hub
from jobshelf.vet.subject import Diagnostic, Subject

MAX_SUMMARY = 100
HEAVY = frozenset(
    {
        "accelerate",
        "datasets",
        "diffusers",
        "duckdb",
        "flax",
        "jax",
        "llama_cpp",
        "pandas",
        "peft",
        "polars",
        "pyarrow",
        "scipy",
        "sentence_transformers",
        "sglang",
        "sklearn",
        "spacy",
        "tensorflow",
        "torch",
        "torchaudio",
        "torchvision",
        "trackio",
        "transformers",
        "trl",
        "unsloth",
        "vllm",
        "wandb",
    }
)
# What others call the shared words (design: `--split --config --revision --max-samples --seed --output-column ...`).
SYNONYMS = {
    "--batchsize": "--batch-size",
    "--dataset-config": "--config",
    "--dataset-split": "--split",
    "--dryrun": "--dry-run",
    "--is-private": "--private",
    "--max-examples": "--max-samples",
    "--max-rows": "--max-samples",
    "--n-samples": "--max-samples",
    "--out-column": "--output-column",
    "--random-seed": "--seed",
    "--sample-limit": "--max-samples",
    "--subset": "--config",
}
_CONTINUED = re.compile(r"\\\n\s*")
_EXAMPLE = re.compile(r"^[\s$>`]*(?P<command>(?:[A-Z_]+=\S+ )*(?:uv run|hf jobs (?:scheduled )?uv run)\s.+)$")
_PREPARES = frozenset(
    {"basicConfig", "captureWarnings", "environ", "filterwarnings", "setdefault", "simplefilter", "update", "getLogger"}
)
_PARSERS = frozenset(
    [
        "argparse",
        "optparse",
        "getopt",
        "click",
        "typer",
        "tyro",
        "cyclopts",
        "fire",
        "docopt",
        "absl",
        "jsonargparse",
        "simple_parsing",
        "plac",
        "rich_click",
        "transformers",
        "trl",
    ]
)
# Options of `uv run` that take no value.
_UV_SWITCHES = frozenset(
    {
        "--active",
        "--all-extras",
        "--all-groups",
        "--exact",
        "--frozen",
        "--gui-script",
        "--isolated",
        "--locked",
        "--managed-python",
    }
    | {"--no-cache", "--no-config", "--no-dev", "--no-env-file", "--no-index", "--no-project", "--no-sync", "--offline"}
    | {"--quiet", "--refresh", "--reinstall", "--script", "--upgrade", "--verbose", "-U", "-n", "-q", "-s", "-v"}
)
_GAP = re.compile(r"\.\.\.|[$<>\[\]{}]")
_OF_TRAINERS = frozenset({"transformers", "trl"})
_PARSE_THE_REST = frozenset({"parse_args_and_config", "parse_args_into_dataclasses"})
_WITH_TRACEBACK = frozenset({"exc_info", "exception", "format_exc", "print_exc"})
_EXIT_USAGE = 2
_MOST_WORDS = 20
_ERROR_WORDS = re.compile(r"\W*(?:error|failed|failure|fatal|cannot|could not)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Command:
    """One command of the docstring: the 1-based file line it begins on, its runner, its options, and the script's arguments."""

    line: int
    text: str
    on_jobs: bool
    options: tuple[str, ...]
    script: str
    words_after: tuple[str, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """What the script gets: `hf` drops a `--` that comes first."""
        dropped = self.on_jobs and self.words_after[:1] == ("--",)
        return self.words_after[1:] if dropped else self.words_after


@rule("UVS301", "docstring", severity=Severity.ERROR, tier=Tier.STATIC, audience=Audience.SHELF, since="0.1.0")
def docstring(subject: Subject) -> Iterator[Hit]:
    """A script begins with a docstring: one short sentence, then what it reads and writes.

    ## What it does

    The module has a docstring; its first line has at most 100 characters and is followed, after a blank line, by more.

    ## Why is this bad?

    The docstring is the manual: the index, the page and `--help` show its first line, and a reader of the URL sees nothing else first.

    ## Example

    ```python
    import sys

    print(sys.argv)
    ```

    ## Use instead

    ```python
    '''Print the arguments that a Job was started with.

    Reads the command line, writes nothing.
    '''

    import sys

    print(sys.argv)
    ```

    ## How to fix or suppress

    Write the docstring directly below the header. `# vet: ignore[UVS301] -- reason` suppresses it.
    """
    tree = subject.script.tree
    if tree is None:
        return
    if not subject.script.docstring:
        first = next((node.lineno for node in tree.body), 1)
        yield Hit(
            line=first,
            message="the script has no docstring",
            found="no text before the first statement",
            expected="one sentence, then what it reads and writes",
            advice="add a docstring below the header",
        )
        return
    node = tree.body[0]
    summary, _, rest = subject.script.docstring.partition("\n")
    if len(summary) > MAX_SUMMARY:
        yield Hit(
            line=node.lineno,
            message="the docstring's first line is too long to be shown in a list",
            found=f"{len(summary)} characters",
            expected=f"at most {MAX_SUMMARY}",
            advice="shorten it; the details belong into the paragraphs below",
        )
    if not rest.strip() or rest.partition("\n")[0].strip():
        yield Hit(
            line=node.lineno,
            message="the docstring does not say what the script reads and writes",
            found="only a summary" if not rest.strip() else "no blank line after the summary",
            expected="a summary line, a blank line, then what it reads and writes",
            advice="add the paragraph",
        )


@rule(
    "UVS302",
    "examples-drift",
    severity=Severity.ERROR,
    tier=Tier.STUB,
    audience=Audience.COMMAND,
    since="0.1.0",
    requires=("UVS301",),
)
def examples_drift(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """The commands in the docstring work: the script's own URL, options that exist, the secret that is needed.

    ## What it does

    Reads every `uv run` and `hf jobs uv run` line of the docstring. Each must be a command that a shell can read; a script it names
    must be this one; every option after it must exist in the parser, as captured in a run with stubbed imports, and that parser must
    accept the whole of it. Options that a parser of TRL or transformers reads (TrlParser, HfArgumentParser), or of a library that is not
    installed beside jobshelf, are not judged: in such a run that parser is a stub, which does not know them. A `--json`, `--quiet`, `-q`,
    `--format` or `--no-truncate` for the script must come after a `--`, because `hf` takes these for itself wherever they stand before one.
    For scripts of a shelf
    there must be one line of each kind, the URL must be the shelf's, and `--secrets HF_TOKEN` (there or in `[tool.hf-jobs]`) must be
    given exactly when a token is needed.

    ## Why is this bad?

    These lines are copied and pasted. A renamed option is found out on a machine that is paid for.

    ## Example

    ```python name=count.py
    '''Count rows.

        uv run count.py data.csv --limit 10
    '''

    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("--max-samples", type=int)
    parser.parse_args()
    ```

    ## Use instead

    ```python name=count.py
    '''Count rows.

        uv run count.py data.csv --max-samples 10
    '''

    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("--max-samples", type=int)
    parser.parse_args()
    ```

    ## How to fix or suppress

    Correct the line, or give the parser the option back as an alias. `# vet: ignore[UVS302] -- reason` suppresses it.
    """
    if subject.script.tree is None:
        return
    commands: list[_Command] = []
    for line, text in _command_lines(subject):
        command = _parse_command(line, text)
        if command is None:
            yield _unreadable(line, text)
        else:
            commands.append(command)
    for command in commands:
        yield from _foreign_script(subject, command)
        yield from _taken_by_hf(command)
    drifted = list(_unknown_flags(subject, commands))
    yield from drifted
    if not drifted:
        yield from _refused(subject, commands)
    if subject.candidate:
        yield from _missing_kinds(subject, commands)
        yield from _secret_drift(subject, commands)


@rule("UVS303", "heavy-import", severity=Severity.WARNING, tier=Tier.STATIC, audience=Audience.SHELF, since="0.1.0")
def heavy_import(subject: Subject) -> Iterator[Hit]:
    """Nothing heavy is imported, and no work is done, before the arguments are parsed.

    ## What it does

    Reports the import of a large package (torch, transformers, datasets, vllm, polars, ...) at module level, and statements there that
    do something: calls, loops, prints.

    ## Why is this bad?

    `--help`, a wrong option and a missing token should cost milliseconds and need no GPU. 50 of 63 public scripts import the whole stack
    first, so that their help cannot be read on a laptop.

    ## Example

    ```python
    import argparse

    import torch


    def main() -> int:
        argparse.ArgumentParser().parse_args()
        print(torch.cuda.is_available())
        return 0


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## Use instead

    ```python
    import argparse


    def main() -> int:
        argparse.ArgumentParser().parse_args()
        import torch

        print(torch.cuda.is_available())
        return 0


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## How to fix or suppress

    Import it in the function that needs it; for annotations use `if TYPE_CHECKING:`. Setting environment variables, logging and
    warnings at module level is fine. `# vet: ignore[UVS303] -- reason` suppresses it.
    """
    tree = subject.script.tree
    for node in _module_level(tree.body if tree else []):
        if isinstance(node, (ast.Import, ast.ImportFrom, ast.Assign)):
            yield from _heavy(subject, node)
        elif _does_something(node):
            yield Hit(
                **subject.span(node),
                message="work at module level: it is done for --help too",
                found=ast.unparse(node).partition("\n")[0][:80],
                expected='definitions only, and one `if __name__ == "__main__":`',
                advice="move it into main",
            )


@rule("UVS304", "argument-help", severity=Severity.WARNING, tier=Tier.STUB, audience=Audience.SHELF, since="0.1.0")
def argument_help(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """Every argument explains itself, and shared things have shared names.

    ## What it does

    Runs the script with stubbed imports and looks at its parser: each argument has a help text. On a shelf, options also use the shared
    words (`--split --config --revision --max-samples --seed --output-column --private --dry-run`), with dashes; other spellings may
    stand beside them as aliases.

    ## Why is this bad?

    People and agents read `--help` and guess by analogy: a script that calls the seed `--random-seed` is called wrongly.

    ## Example

    ```python
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--split", default="train")
    parser.parse_args()
    ```

    ## Use instead

    ```python
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("--split", default="train", help="split to read (default: %(default)s)")
    parser.parse_args()
    ```

    ## How to fix or suppress

    Add `help=...`; add the shared word to the option's names and keep the old one. `# vet: ignore[UVS304] -- reason` suppresses it.
    """
    if subject.script.tree is None or not _has_command_line(subject, subject.script.tree):
        return
    interface = subject.probe.interface
    if interface is None:
        yield Inconclusive(reason=subject.probe.interface_inconclusive)
        return
    for argument in interface.command.every_argument():
        if not argument.help and not argument.hidden:
            yield _argument_hit(subject, argument, "has no help text", "none", "one line that says what it is")
        if subject.candidate and (shared := _shared_word(argument)):
            yield _argument_hit(subject, argument, f"is {shared} everywhere else", argument.flags[0], shared)


@rule(
    "UVS305",
    "no-smoke-knob",
    severity=Severity.WARNING,
    tier=Tier.STUB,
    audience=Audience.SHELF,
    since="0.1.0",
    catalogue=True,
)
def no_smoke_knob(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """A script that computes and persists can be tried small, and can be tried without writing.

    ## What it does

    A script that writes to the Hub, or says that it persists something, has an option for less input (`--max-samples`, `--limit`,
    `--num-samples`, `--max-steps`) unless its input has no rows, and has `--dry-run`. Conversions of models need only `--dry-run`.

    ## Why is this bad?

    The first run of a script on new data should cost a cent. Of 63 public scripts none can say what it would do without doing it.

    ## Example

    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # [tool.jobshelf]
    # persists = "hub-dataset"
    # inputs = ["dataset"]
    # ///
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    parser.parse_args()
    ```

    ## Use instead

    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = []
    # [tool.jobshelf]
    # persists = "hub-dataset"
    # inputs = ["dataset"]
    # ///
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("input", help="dataset")
    parser.add_argument("output", help="dataset")
    parser.add_argument("--max-samples", type=int, help="read only the first rows")
    parser.add_argument("--dry-run", action="store_true", help="check everything, write nothing")
    parser.parse_args()
    ```

    ## How to fix or suppress

    Add the options. `# vet: ignore[UVS305] -- reason` suppresses it.
    """
    table = subject.script.header.tool("jobshelf") if subject.script.header else {}
    if subject.script.tree is None or (table.get("persists", "none") == "none" and not writes_to_hub(subject)):
        return
    interface = subject.probe.interface
    if interface is None:
        yield Inconclusive(reason=subject.probe.interface_inconclusive)
        return
    flags = interface.command.flags
    small = {"--max-samples", "--limit", "--num-samples", "--max-steps"}
    if not flags & small and not hands_words_on(subject) and "dataset" in table.get("inputs", ["dataset"]):
        yield _no_knob(subject, "no option for less input", "--max-samples")
    if "--dry-run" not in flags:
        yield _no_knob(subject, "no option that checks everything and writes nothing", "--dry-run")


@rule(
    "UVS306",
    "exit-codes",
    severity=Severity.WARNING,
    tier=Tier.STATIC,
    since="0.1.0",
    ruff=("BLE001", "E722", "S110"),
)
def exit_codes(subject: Subject) -> Iterator[Hit]:
    """A failure is reported on stderr and ends with a code other than 0; nothing swallows it.

    ## What it does

    Reports: a bare or broad `except` that goes on (ruff BLE001, E722, S110); an exit with 0 inside an `except`, or because arguments are
    missing; an error printed to stdout; and a `main` whose return value is thrown away. An `except` does not go on when each of its
    paths raises, calls a function that never returns (`sys.exit`, or a function of the script that always raises), or returns an
    exit code other than 0. In a script that does not use the Hub an exit with 0 is taken as meant; outside a shelf so is an `except` that
    uses the exception (logs it, returns it), unless an upload failed.

    ## Why is this bad?

    A Job that fails with 0 is shown as completed; it is not tried again and nobody looks. 38 of 56 public scripts exit with 0 when their
    arguments are missing.

    ## Example

    ```python
    import sys


    def main() -> int:
        if len(sys.argv) == 1:
            print("usage: ...")
            sys.exit(0)
        try:
            print(int(sys.argv[1]))
        except Exception:
            pass
        return 0


    if __name__ == "__main__":
        main()
    ```

    ## Use instead

    ```python
    import sys


    def main() -> int:
        try:
            print(int(sys.argv[1]))
        except (IndexError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
        return 0


    if __name__ == "__main__":
        raise SystemExit(main())
    ```

    ## How to fix or suppress

    Catch what you expect, name it on stderr, return a code. `# vet: ignore[UVS306] -- reason` on the line suppresses it.
    """
    for diagnostic in _one_a_line(subject):
        if any(_is_answered(subject, handler) for handler in _handlers_on(subject, diagnostic.line)):
            continue
        yield Hit(
            line=diagnostic.line,
            column=diagnostic.column,
            message=f"an exception is swallowed ({diagnostic.code})",
            found=diagnostic.message,
            expected="the exceptions that are expected, by name",
            advice="name them, or raise again",
        )
    yield from _suppressed(subject)
    if Audience.HUB in subject.audiences:
        yield from _zero_exits(subject)
    yield from _errors_on_stdout(subject)
    yield from _lost_result(subject)


def _has_command_line(subject: Subject, tree: ast.Module) -> bool:
    """Tell whether the script could parse arguments; where nothing of it could, there is nothing to explain."""
    if any(name.partition(".")[0] in _PARSERS for name in imported_modules(tree)):
        return True
    return any(node.attr == "argv" for node in subject.nodes(ast.Attribute))


def _command_lines(subject: Subject) -> Iterator[tuple[int, str]]:
    """Yield (file line, command) for each example; a line that ends with a backslash goes on."""
    tree = subject.script.tree
    if tree is None or not subject.script.docstring:
        return
    text = _CONTINUED.sub(" ", subject.script.docstring)
    for line in text.splitlines():
        if match := _EXAMPLE.match(line):
            command = match["command"].rstrip("`")
            yield _find_line(subject, tree.body[0], command), command


def _find_line(subject: Subject, node: ast.stmt, command: str) -> int:
    words = command.split()[:_MOST_WORDS]
    for length in range(len(words), 1, -1):
        start = " ".join(words[:length])
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1):
            if start in subject.lines[number - 1]:
                return number
    return node.lineno


def _parse_command(line: int, text: str) -> _Command | None:
    """Split a command into the runner's options, the script and the script's arguments; None when a shell could not read it."""
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return None
    place = next((number for number, word in enumerate(words) if _names_script(word)), len(words))
    if _runs_another_program(words[:place]):
        place = len(words)
    return _Command(
        line=line,
        text=text,
        on_jobs=words[:2] == ["hf", "jobs"],
        options=tuple(words[:place]),
        script=words[place] if place < len(words) else "",
        words_after=tuple(words[place + 1 :]),
    )


def _runs_another_program(words: list[str]) -> bool:
    """Tell whether `uv run` starts something else, to which a script is an argument: `uv run pytest x.py`, `uv run -m pytest`."""
    options = words[words.index("run") + 1 :]
    for number, word in enumerate(options):
        if word in {"-m", "--module"}:
            return True
        before = options[number - 1] if number else ""
        takes_value = before.startswith("-") and "=" not in before and before not in _UV_SWITCHES
        if not word.startswith("-") and not takes_value:
            return True
    return False


def _names_script(word: str) -> bool:
    return word.partition("?")[0].endswith(".py") or (word.startswith("<") and word.endswith(">"))


def _unreadable(line: int, text: str) -> Hit:
    return Hit(
        line=line,
        message="an example that a shell cannot read",
        found=text,
        expected="balanced quotes",
        advice="mend the quotes",
    )


def _foreign_script(subject: Subject, command: _Command) -> Iterator[Hit]:
    own = PurePosixPath(subject.script.path).name
    named = PurePosixPath(command.script.partition("?")[0]).name
    url = _shelf_url(subject) if "://" in command.script else None
    expected = url or own
    if command.script.startswith("<") or not command.script:
        return
    if _normal(named) != _normal(own) or (url and command.script != url):
        yield Hit(
            line=command.line,
            message="an example that runs another script",
            found=command.script,
            expected=expected,
            advice=f"write {expected}",
        )


def _taken_by_hf(command: _Command) -> Iterator[Hit]:
    """Report an argument that never reaches the script; see `forms.TAKEN_BY_HF`."""
    if not command.on_jobs or "--" in (*command.options, *command.words_after[:1]):
        return
    from jobshelf.forms import TAKEN_BY_HF

    for word in command.words_after:
        if word.partition("=")[0] in TAKEN_BY_HF:
            yield Hit(
                line=command.line,
                message=f"an example gives the script {word}, which hf takes for itself",
                found=command.text,
                expected=f"-- before {command.script}",
                advice="put -- before the script",
            )


def _shelf_url(subject: Subject) -> str | None:
    """Return the URL of a script that lies in a shelf's catalogue; None for any other script."""
    path = Path(subject.script.path)
    if subject.shelf is None or path.resolve().parent != subject.shelf.catalog.resolve():
        return None
    return f"https://huggingface.co/datasets/{subject.shelf.dataset}/resolve/main/{path.name}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _unknown_flags(subject: Subject, commands: list[_Command]) -> Iterator[Hit | Inconclusive]:
    if hands_words_on(subject):
        return
    used = [
        (command, word.partition("=")[0])
        for command in commands
        for word in takewhile(lambda word: word != "--", command.arguments)
        if _is_flag(word)
    ]
    if not used:
        return
    interface = subject.probe.interface
    if interface is None:
        yield Inconclusive(reason=subject.probe.interface_inconclusive)
        return
    known = interface.command.flags | {"--help", "-h"}
    for command, flag in used:
        if flag not in known:
            yield Hit(
                line=command.line,
                message=f"an example uses {flag}, which the parser does not know",
                found=flag,
                expected=f"one of {' '.join(sorted(known - {'-h'}))}",
                advice="correct the example, or keep the old name as an alias",
            )


def hands_words_on(subject: Subject) -> bool:
    """Tell whether a parser of TRL, transformers or a library that is not installed reads the words: which it knows cannot be told."""
    return parses_by_library(subject)


def parses_by_library(subject: Subject) -> bool:
    """Tell whether a parser that is a stub in a run with stubs reads the command line: TrlParser, or a library that is not installed."""
    imported = {name.partition(".")[0] for name in imported_modules(subject.script.tree)}
    stubbed = _PARSERS & imported - real_modules() - _OF_TRAINERS
    return bool(stubbed) or not _PARSE_THE_REST.isdisjoint(_called(subject))


def _called(subject: Subject) -> set[str]:
    return {call.func.attr for call in subject.nodes(ast.Call) if isinstance(call.func, ast.Attribute)}


def _refused(subject: Subject, commands: list[_Command]) -> Iterator[Hit]:
    """Report commands whose arguments the script's own parser refuses; one with a gap to fill in (`...`, `$NAME`) is not tried."""
    runs: dict[tuple[str, ...], Run] = {}  # the local example and the one for Jobs mostly have the same arguments
    for command in commands:
        words = command.arguments
        if not command.script or any(_GAP.search(word) for word in words):
            continue
        if words not in runs:
            runs[words] = run_with(subject.script, words, unfenced=subject.unfenced)
        run = runs[words]
        if run.exit == _EXIT_USAGE and not run.inconclusive and "usage:" in run.stderr.lower():
            yield Hit(
                line=command.line,
                message="an example that the parser refuses",
                found=run.stderr.strip().splitlines()[-1],
                expected="a command that runs as it stands",
                advice="correct the example",
            )


def _is_flag(word: str) -> bool:
    return bool(re.fullmatch(r"--?[A-Za-z][\w-]*(=.*)?", word, re.DOTALL))


def _missing_kinds(subject: Subject, commands: list[_Command]) -> Iterator[Hit]:
    for on_jobs, shown in ((False, "uv run"), (True, "hf jobs uv run")):
        if not any(command.on_jobs is on_jobs and command.script for command in commands):
            yield Hit(
                line=subject.script.tree.body[0].lineno,
                message=f"the docstring has no `{shown}` example",
                found="none",
                expected=f"{shown} URL ...",
                advice="add one that works as it stands",
            )


def _secret_drift(subject: Subject, commands: list[_Command]) -> Iterator[Hit]:
    header = subject.script.header
    needs = (header.tool("jobshelf").get("token", "none") if header else "none") != "none"
    by_header = "HF_TOKEN" in (header.tool("hf-jobs").get("secrets", []) if header else [])
    for command in commands:
        given = "HF_TOKEN" in command.options
        if command.on_jobs and command.script and needs and not (given or by_header):
            yield _secret_hit(command, "does not pass the token that the script needs", "--secrets HF_TOKEN")
        elif command.on_jobs and given and not needs:
            yield _secret_hit(command, "passes a token that the script does not need", "no --secrets HF_TOKEN")


def _secret_hit(command: _Command, what: str, expected: str) -> Hit:
    return Hit(
        line=command.line,
        message=f"an example {what}",
        found=command.text,
        expected=expected,
        advice="correct the example, or token in [tool.jobshelf]",
    )


def _module_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements that run on import, those inside `try` and `if` too, but not under TYPE_CHECKING or the guard."""
    for node in body:
        if isinstance(node, ast.If):
            if not _is_guard(node.test):
                yield from _module_level([*node.body, *node.orelse])
        elif isinstance(node, ast.Try):
            handlers = [statement for handler in node.handlers for statement in handler.body]
            yield from _module_level([*node.body, *handlers, *node.orelse, *node.finalbody])
        else:
            yield node


def _is_guard(test: ast.expr) -> bool:
    return any(
        (isinstance(node, ast.Name) and node.id in {"TYPE_CHECKING", "__name__"})
        or getattr(node, "attr", "") == "TYPE_CHECKING"
        for node in ast.walk(test)
    )


def _heavy(subject: Subject, node: ast.stmt) -> Iterator[Hit]:
    for module in _imports(node):
        if module.partition(".")[0] in HEAVY:
            yield Hit(
                **subject.span(node),
                message=f"{module} is imported before the arguments are parsed",
                found=ast.unparse(node),
                expected="the import in the function that needs it",
                advice="move it there; for annotations put it under `if TYPE_CHECKING:`",
            )


def _imports(node: ast.stmt) -> list[str]:
    """Return the modules that a statement imports: by `import`, or by their text."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call) and call.args]
    by_text = {"__import__", "import_module"}
    loads = [call.args[0] for call in calls if flow.dotted(call.func, {}).rpartition(".")[2] in by_text]
    return [str(name.value) for name in loads if isinstance(name, ast.Constant)]


def _does_something(node: ast.stmt) -> bool:
    if isinstance(node, (ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith)):
        return not all(isinstance(child, ast.Expr) and _prepares(child.value) for child in node.body)
    return isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant) and not _prepares(node.value)


def _prepares(value: ast.expr) -> bool:
    if not isinstance(value, ast.Call):
        return False
    parts = flow.dotted(value.func, {}).replace("()", "").split(".")
    return bool(_PREPARES & set(parts))


def _argument_hit(subject: Subject, argument: Argument, what: str, found: str, expected: str) -> Hit:
    shown = argument.flags[-1] if argument.flags else argument.name
    return Hit(
        line=_argument_line(subject, argument),
        message=f"{shown} {what}",
        found=found,
        expected=expected,
        advice=f"change it where {shown} is added to the parser",
    )


def _argument_line(subject: Subject, argument: Argument) -> int:
    """Return the line that names the argument in a call; the docstring's when the parser was built another way."""
    names = {*argument.flags, argument.name}
    for call in subject.nodes(ast.Call):
        if any(isinstance(value, ast.Constant) and value.value in names for value in call.args):
            return call.lineno
    return subject.script.tree.body[0].lineno


def _shared_word(argument: Argument) -> str | None:
    """Return the shared word that none of the option's names is."""
    longs = [flag for flag in argument.flags if flag.startswith("--") and not flag.startswith("--no-")]
    dashed = [flag.replace("_", "-") for flag in longs]
    if not longs or argument.hidden:
        return None
    if not any(flag in longs for flag in dashed):
        return dashed[0]
    wanted = [SYNONYMS[flag] for flag in dashed if flag in SYNONYMS]
    return wanted[0] if wanted and not set(wanted) & set(longs) else None


def _no_knob(subject: Subject, what: str, expected: str) -> Hit:
    return Hit(
        line=subject.script.tree.body[0].lineno,
        message=f"the script has {what}",
        found="no such option",
        expected=expected,
        advice=f"add {expected} to the parser",
    )


def _one_a_line(subject: Subject) -> Iterator[Diagnostic]:
    seen: set[int] = set()
    for diagnostic in subject.ruff:
        if diagnostic.code in {"BLE001", "E722", "S110"} and diagnostic.line not in seen:
            seen.add(diagnostic.line)
            yield diagnostic


def _handlers_on(subject: Subject, line: int) -> list[ast.ExceptHandler]:
    """Return the handlers whose `except` stands on this line."""
    return [
        handler
        for handler in subject.nodes(ast.ExceptHandler)
        if handler.lineno <= line <= ((handler.type.end_lineno if handler.type else None) or handler.lineno)
    ]


def _is_answered(subject: Subject, handler: ast.ExceptHandler) -> bool:
    """Tell whether the handler ends in a failure, or, outside a shelf, says what happened and loses no upload."""
    around = (node for node in subject.ancestors(handler) if isinstance(node, FunctionNode))
    if endings(subject.script.tree).fails(handler.body, next((node.name for node in around), None)):
        return True
    if Audience.SHELF in subject.audiences or not _reports(handler):
        return False
    return _may_fail(handler) or not _pushes(subject.parent(handler))


def _reports(handler: ast.ExceptHandler) -> bool:
    """Tell whether the handler uses the exception, or logs it with its traceback."""
    nodes = [node for statement in handler.body for node in ast.walk(statement)]
    used = any(isinstance(node, ast.Name) and node.id == handler.name for node in nodes)
    return used or any(isinstance(node, ast.Attribute) and node.attr in _WITH_TRACEBACK for node in nodes)


def _may_fail(handler: ast.ExceptHandler) -> bool:
    """Tell whether some path of the handler, such as the last of several tries, raises or exits."""
    nodes = [node for statement in handler.body for node in ast.walk(statement)]
    exits = (call for call in nodes if isinstance(call, ast.Call) and flow.dotted(call.func, {}).endswith("exit"))
    return any(isinstance(node, ast.Raise) for node in nodes) or any(not _is_zero(call) for call in exits)


def _pushes(tried: ast.AST | None) -> bool:
    """Tell whether something other than a card is uploaded in the body of this `try`."""
    body = tried.body if isinstance(tried, ast.Try) else []
    calls = [node for statement in body for node in ast.walk(statement) if isinstance(node, ast.Call)]
    names = [flow.dotted(call.func, {}) for call in calls]
    return any(name.rpartition(".")[2] in flow.PUSHES and "card" not in name.lower() for name in names)


def _suppressed(subject: Subject) -> Iterator[Hit]:
    names = flow.imported_names(subject.nodes(ast.Import, ast.ImportFrom))
    for item in subject.nodes(ast.withitem):
        call = item.context_expr
        if isinstance(call, ast.Call) and flow.dotted(call.func, names) == "contextlib.suppress":
            broad = {ast.unparse(one) for one in call.args} & {"Exception", "BaseException"}
            if broad:
                yield Hit(
                    **subject.span(call),
                    message=f"every exception is swallowed (suppress({min(broad)}))",
                    found=ast.unparse(call),
                    expected="the exceptions that are expected, by name",
                    advice="name them",
                )


def _zero_exits(subject: Subject) -> Iterator[Hit]:
    for call in subject.nodes(ast.Call):
        if flow.dotted(call.func, {}).rpartition(".")[2] not in {"exit", "SystemExit"} or not _is_zero(call):
            continue
        why = next((reason for node in subject.ancestors(call) if (reason := _failing_place(node))), None)
        if why:
            yield Hit(
                **subject.span(call),
                message=f"exit with 0 {why}: the Job is shown as completed",
                found=ast.unparse(call),
                expected="2 for usage, 3 token, 4 input, 5 machine, 1 otherwise",
                advice="exit with a code that says what failed",
            )


def _is_zero(call: ast.Call) -> bool:
    return not call.args or (isinstance(call.args[0], ast.Constant) and call.args[0].value in (0, None))


def _failing_place(node: ast.AST) -> str | None:
    if isinstance(node, ast.ExceptHandler):
        return "in an except"
    if isinstance(node, ast.If) and "sys.argv" in ast.unparse(node.test):
        return "because arguments are missing"
    return None


def exits_without_arguments(subject: Subject) -> bool:
    """Tell whether the script itself exits with 0 when `sys.argv` is empty, mostly after it has shown its help."""
    exits = (call for call in subject.nodes(ast.Call) if flow.dotted(call.func, {}).endswith("exit") and _is_zero(call))
    return any("sys.argv" in ast.unparse(node.test) for call in exits for node in _tests(subject, call))


def _tests(subject: Subject, call: ast.Call) -> list[ast.If]:
    return [node for node in subject.ancestors(call) if isinstance(node, ast.If)]


def _errors_on_stdout(subject: Subject) -> Iterator[Hit]:
    for call in subject.nodes(ast.Call):
        if not isinstance(call.func, ast.Name) or call.func.id != "print" or not call.args:
            continue
        text = _first_text(call.args[0])
        for_actions = text.startswith("::")  # a command for GitHub Actions, which reads stdout
        if any(keyword.arg == "file" for keyword in call.keywords) or for_actions or not _ERROR_WORDS.match(text):
            continue
        yield Hit(
            **subject.span(call),
            message="an error is printed to stdout",
            found=ast.unparse(call)[:80],
            expected="file=sys.stderr",
            advice="add file=sys.stderr",
        )


def _first_text(value: ast.expr) -> str:
    first = value.values[0] if isinstance(value, ast.JoinedStr) and value.values else value
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else ""


def _lost_result(subject: Subject) -> Iterator[Hit]:
    """Report `main()` as a statement of its own under the guard, when `main` returns a code."""
    returning = {node.name for node in subject.nodes(ast.FunctionDef) if _returns_code(node)}
    for statement in subject.nodes(ast.Expr):
        call = statement.value
        if (
            isinstance(call, ast.Call)
            and isinstance(call.func, ast.Name)
            and call.func.id in returning
            and call.func.id == "main"
            and not any(isinstance(node, ast.FunctionDef) for node in subject.ancestors(statement))
        ):
            yield Hit(
                **subject.span(statement),
                message="the exit code that main returns is thrown away",
                found=ast.unparse(statement),
                expected="raise SystemExit(main())",
                advice="write raise SystemExit(main())",
            )


def _returns_code(function: ast.FunctionDef) -> bool:
    return isinstance(function.returns, ast.Name) and function.returns.id == "int"
