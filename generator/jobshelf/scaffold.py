"""`jobshelf new`: a script from the templates, by Copier; thin, so that it gives what `copier copy` gives.

The questions and their answers are those of `copier.yml`. From a wheel, the answers file names the repository and the
release that the wheel was built from, so that `copier update` finds them.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from jobshelf.errors import InputError, UsageError
from jobshelf.forms import script_url
from jobshelf.shelf import Shelf, find_shelf

# The questions that can be answered beforehand, with the values to choose from where these are fixed.
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "name": (),
    "title": (),
    "kind": ("dataset", "inference", "training", "artifact", "utility"),
    "persistence": ("none", "hub-dataset", "hub-model", "hub-file", "bucket", "s3", "gcs", "http"),
    "token": ("none", "read", "write"),
    "flavor": (),
    "timeout": (),
    "trigger": ("none", "schedule", "webhook"),
    "extras": ("test", "ci"),
    "base": (),
}
_IN_CATALOG = {"layout": "catalog", "extras": ["test"]}
_QUESTION = re.compile(r"(?:Validation error for question|Invalid choice for) '(?P<name>\w+)': (?P<why>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaffold:
    """What was made: paths relative to `folder`. `files` are all of them, `script` and `answers_file` two of them."""

    name: str
    folder: Path
    script: Path
    answers_file: Path
    files: tuple[Path, ...]


def new(
    destination: Path, answers: Mapping[str, Any], *, ask: bool = False, quiet: bool = True, shelf: Shelf | None = None
) -> Scaffold:
    """Make a script in the folder `destination` with the `answers` (see QUESTIONS) and the defaults for the rest.

    With `ask`, Copier asks on the terminal for what is not answered; `quiet` leaves its messages out. Raises UsageError
    for an answer that the templates refuse and for a script that is there already.
    """
    home = shelf or find_shelf()
    file = f"{answers.get('name', 'my-script')}.py"
    if not ask and any(path.name == file for path in destination.glob("*.py")):
        raise UsageError(f"{destination / file} is there already", fix="choose another name, or `copier update` it")
    made = _render(home.root, destination, answers, ask=ask, quiet=quiet)
    if not (home.root / ".git").exists():
        _name_release(destination / made.answers_file, home)
    return made


def new_in_catalog(answers: Mapping[str, Any], *, ask: bool = False, shelf: Shelf | None = None) -> Scaffold:
    """Make a script in the shelf's own catalogue, with its test, and write the index that holds it.

    Raises UsageError for an answer that the templates refuse and for a name that the shelf uses already, InputError for a
    shelf that is no checkout.
    """
    from jobshelf.index import build_index

    home = shelf or find_shelf()
    if not (home.root / "tests").is_dir():
        raise InputError(f"{home.root} is no checkout of the shelf", fix=f"git clone https://github.com/{home.github}")
    with tempfile.TemporaryDirectory(prefix="jobshelf-") as temporary:
        # The working tree as it is: of a repository, Copier would take the newest tag.
        template, drawn = Path(temporary) / "template", Path(temporary) / "drawn"
        shutil.copytree(home.root / "templates", template / "templates", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(home.root / "copier.yml", template)
        base = script_url(home.dataset, "").rstrip("/")
        made = _render(template, drawn, {**answers, **_IN_CATALOG, "base": base}, ask=ask, quiet=True)
        _refuse_taken(made.name, home)
        kept = replace(made, folder=home.root, files=tuple(file for file in made.files if file != made.answers_file))
        for file in kept.files:
            (home.root / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(drawn / file, home.root / file)
    home.index_file.write_text(build_index(home).to_text(), encoding="utf-8")
    return kept


def _render(template: Path, destination: Path, answers: Mapping[str, Any], *, ask: bool, quiet: bool) -> Scaffold:
    """Run Copier. Raises UsageError for what it says about an answer or the destination."""
    import yaml
    from copier import run_copy
    from copier.errors import CopierError, CopierWarning

    # What Copier notes of the template's git state is nothing that the user of a script can act on.
    notes = contextlib.redirect_stderr(io.StringIO()) if quiet else contextlib.nullcontext()
    try:
        with notes, warnings.catch_warnings(action="ignore", category=CopierWarning):
            worker = run_copy(str(template), destination, data=dict(answers), defaults=not ask, quiet=quiet)
    except (CopierError, ValueError, yaml.YAMLError) as error:
        raise _refused(str(error)) from error
    given = worker.answers.combined
    answers_file = worker.answers_relpath
    possible = (Path(given["script"]), Path(given["test"]), Path(given["workflow"]), answers_file)
    return Scaffold(
        name=given["name"],
        folder=destination,
        script=Path(given["script"]),
        answers_file=answers_file,
        files=tuple(path for path in possible if (destination / path).is_file()),
    )


def _refused(said: str) -> UsageError:
    """Return the error that says on one line what Copier says about an answer."""
    match = _QUESTION.search(said)
    what = " ".join((match["why"] if match else said).split())[:300]
    if match is None:
        return UsageError(what, fix="jobshelf new --help")
    return UsageError(f"--{match['name']}: {what}", fix=f"give --{match['name']} another value")


def _refuse_taken(name: str, shelf: Shelf) -> None:
    from jobshelf.index import build_index, normalise

    wanted = normalise(name)
    for entry in build_index(shelf).entries:
        if wanted in map(normalise, (entry.id, *entry.aliases)):
            raise UsageError(f"the name {name} is that of {entry.id} on the shelf", fix="give --name another value")


def _name_release(answers_file: Path, shelf: Shelf) -> None:
    """Say where the templates of an installed package come from: the repository, at the release's tag."""
    import yaml

    comment, _, text = answers_file.read_text(encoding="utf-8").partition("\n")
    recorded = {"_commit": f"v{shelf.version}", **yaml.safe_load(text), "_src_path": f"gh:{shelf.github}"}
    answers_file.write_text(f"{comment}\n{yaml.safe_dump(recorded, sort_keys=True)}", encoding="utf-8")
