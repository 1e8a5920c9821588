"""UVS406 to UVS408: what a run with a made-up token wrote, made and deleted, as its record says."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from jobshelf.interface import Event, Run
from jobshelf.vet import flow
from jobshelf.vet.rule import Audience, Hit, Severity, Tier, rule
from jobshelf.vet.rules.persistence import line_of
from jobshelf.vet.subject import Subject

_MAKES = frozenset({"create_bucket", "create_repo"})
_DELETES = frozenset({"delete_bucket", "delete_repo"})
_CHANGES = _MAKES | _DELETES | {
    "create_branch", "create_discussion", "create_pull_request", "create_tag", "delete_branch", "delete_file",
    "delete_files", "delete_folder", "delete_tag", "metadata_update", "move_repo", "super_squash_history",
    "update_repo_settings",
}  # fmt: skip
_FILE_WRITES = frozenset({"pipe", "pipe_file", "put", "put_file", "rm", "rm_file", "touch", "upload", "write"})
_LOOKS = frozenset(
    {
        "bucket_info", "dataset_info", "get_dataset_config_names", "get_dataset_split_names", "list_repo_files",
        "list_repo_tree", "load_dataset_builder", "model_info", "repo_info",
    }
)  # fmt: skip


@rule(
    "UVS406",
    "dry-run-writes",
    severity=Severity.ERROR,
    tier=Tier.STUB,
    audience=Audience.HUB,
    since="0.1.0",
    requires=("UVS103",),
)
def dry_run_writes(subject: Subject) -> Iterator[Hit]:
    """With `--dry-run` a script writes nothing where its output goes.

    ## What it does

    Runs a script that has the option `--dry-run`, and has written something without it, with the option, imports stubbed, with a token made up
    for the run. It reports the first call
    of that run that writes to the Hub (a repository, a commit, an upload, a file system of `fsspec`) or puts a file where an argument says.
    Temporary files are nobody's concern.

    ## Why is this bad?

    Who types `--dry-run` wants to know what would happen. A repository that is then there, or a file that is then replaced, is the
    opposite of what was asked for.

    ## Example

    ```python
    import argparse

    from huggingface_hub import HfApi

    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
    if not args.dry_run:
        HfApi().upload_folder(repo_id=args.output, repo_type="dataset", folder_path="out")
    ```

    ## Use instead

    ```python
    import argparse

    from huggingface_hub import HfApi

    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--dry-run", action="store_true")
    args = parser.parse_args()
    if not args.dry_run:
        HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
        HfApi().upload_folder(repo_id=args.output, repo_type="dataset", folder_path="out")
    ```

    ## How to fix or suppress

    Return before the first write. `# vet: ignore[UVS406] -- reason` suppresses it.
    """
    dry = subject.watched.dry if subject.watched else None
    if dry is None:
        return
    written = next((event for event in dry.events if _changes(event) or _fills_output(event, dry)), None)
    if written is not None:
        what = written.name if written.kind == "call" else f"a file in {_output(written, dry)}"
        yield Hit(
            line=_line(subject, written),
            message=f"with --dry-run the script writes: {what}",
            found=_command(dry),
            expected="a check of everything, and no write",
            advice="return before the first write when --dry-run is given",
        )


@rule(
    "UVS407",
    "target-before-input",
    severity=Severity.WARNING,
    tier=Tier.STUB,
    audience=Audience.SHELF,
    since="0.1.0",
    requires=("UVS103",),
)
def target_before_input(subject: Subject) -> Iterator[Hit]:
    """The input is looked at before a repository is made for the output.

    ## What it does

    Runs the script with a made-up token, imports stubbed, and looks at the order of its calls: `create_repo` (or `create_bucket`) must not
    come before the first call that looks at the input, such as `dataset_info`, `load_dataset_builder` or `load_dataset`.

    ## Why is this bad?

    A misspelt input then leaves an empty repository behind, public and under the user's name, each time.

    ## Example

    ```python
    import argparse

    from datasets import load_dataset
    from huggingface_hub import HfApi

    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("output")
    args = parser.parse_args()
    HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
    load_dataset(args.input, split="train").push_to_hub(args.output)
    ```

    ## Use instead

    ```python
    import argparse

    from datasets import load_dataset
    from huggingface_hub import HfApi

    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("output")
    args = parser.parse_args()
    HfApi().dataset_info(args.input)
    HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
    load_dataset(args.input, split="train").push_to_hub(args.output)
    ```

    ## How to fix or suppress

    Ask for the input first; that costs one request. `# vet: ignore[UVS407] -- reason` suppresses it.
    """
    if subject.watched is None:
        return
    calls = [event for event in subject.watched.real.events if event.kind == "call"]
    first = next((number for number, event in enumerate(calls) if _verb(event) in _MAKES), len(calls))
    if any(map(_may_look_at_input, calls[:first])):
        return
    looked = next((event for event in calls[first:] if _looks_at_input(event, calls[first])), None)
    if looked is not None:
        yield Hit(
            line=_line(subject, calls[first]),
            message=f"a repository is made before the input was looked at ({looked.name})",
            found=_command(subject.watched.real),
            expected="a look at the input first",
            advice="call dataset_info, model_info or load_dataset_builder for the input before create_repo",
        )


@rule(
    "UVS408",
    "deletes-repository",
    severity=Severity.WARNING,
    tier=Tier.STUB,
    audience=Audience.HUB,
    since="0.1.0",
    requires=("UVS103",),
)
def deletes_repository(subject: Subject) -> Iterator[Hit]:
    """A script deletes no repository that it was not asked to delete.

    ## What it does

    Runs the script with a made-up token, imports stubbed, and reports a call of `delete_repo` or `delete_bucket` in that run: with the
    arguments of `[tool.jobshelf] rehearse`, or with plausible ones, and with `--dry-run` on top.

    ## Why is this bad?

    A deleted repository is gone with its history, its discussions and its downloads; there is no way back. "Start over" needs no more
    than a commit that deletes files.

    ## Example

    ```python
    import argparse

    from huggingface_hub import HfApi

    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    args = parser.parse_args()
    HfApi().delete_repo(args.output, repo_type="dataset", missing_ok=True)
    HfApi().create_repo(args.output, repo_type="dataset")
    ```

    ## Use instead

    ```python
    import argparse

    from huggingface_hub import HfApi

    parser = argparse.ArgumentParser()
    parser.add_argument("output")
    parser.add_argument("--delete", action="store_true", help="delete the output with its history first")
    args = parser.parse_args()
    if args.delete:
        HfApi().delete_repo(args.output, repo_type="dataset", missing_ok=True)
    HfApi().create_repo(args.output, repo_type="dataset", exist_ok=True)
    ```

    ## How to fix or suppress

    Delete files in a commit, or do it only when an option asks for it. `# vet: ignore[UVS408] -- reason` suppresses it.
    """
    events = [event for run in (subject.watched.runs if subject.watched else ()) for event in run.events]
    for line, name in dict.fromkeys((_line(subject, event), event.name) for event in _deletions(events)):
        yield Hit(
            line=line,
            message=f"the script deletes a whole repository ({name}), unasked",
            found=name,
            expected="a commit that deletes files, or an option that asks for it",
            advice="delete files in a commit, or do it only when an option asks for it",
        )


def _deletions(events: Iterable[Event]) -> Iterator[Event]:
    return (event for event in events if event.kind == "call" and _verb(event) in _DELETES)


def _verb(event: Event) -> str:
    return event.name.rpartition(".")[2]


def _line(subject: Subject, event: Event) -> int:
    return event.line if 0 < event.line <= len(subject.lines) else line_of(subject, event.name)


def _command(run: Run) -> str:
    return f"seen in a run with a made-up token and the arguments {' '.join(run.arguments) or '(none)'}"[:200]


def _changes(event: Event) -> bool:
    """Tell whether the call writes to the Hub, or to a place of `fsspec` that is not this disk."""
    if event.kind != "call":
        return False
    if event.name.startswith(("fsspec.", "huggingface_hub.HfFileSystem.")):
        return _verb(event) in _FILE_WRITES and not event.name.startswith("fsspec.file.")
    return _verb(event) in _CHANGES | flow.PUSHES


def _fills_output(event: Event, run: Run) -> bool:
    return event.kind == "write" and _output(event, run) is not None


def _output(event: Event, run: Run) -> str | None:
    """Return the argument that names the place of a written file; None for a file that no argument names."""
    places = [argument for argument in run.arguments if not argument.startswith("-")]
    names = {place: place.removeprefix("./").rstrip("/") for place in places}
    return next(
        (place for place, name in names.items() if event.name == name or event.name.startswith(f"{name}/")), None
    )


def _may_look_at_input(event: Event) -> bool:
    return _verb(event) in _LOOKS or flow.is_work(event.name)


def _looks_at_input(event: Event, made: Event) -> bool:
    """Tell whether the call, which came after a repository was made, is about another one."""
    about_it = _verb(event) in _LOOKS and event.arguments[:1] == made.arguments[:1]
    return _may_look_at_input(event) and not about_it
