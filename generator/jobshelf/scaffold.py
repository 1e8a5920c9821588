"""`jobshelf new` and `jobshelf init`: a script and a shelf from the templates, by Copier, as `copier copy` gives them.

The questions and their answers are those of `copier.yml`. From a wheel, the answers file names the repository and the
release that the wheel was built from, so that `copier update` finds them.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import shutil
import tempfile
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobshelf.errors import UsageError
from jobshelf.forms import script_url
from jobshelf.shelf import Shelf, find_shelf, installed_shelf, own_shelf, shelf_in

if TYPE_CHECKING:
    from copier import Worker

# The questions about a script that can be answered beforehand, with the values to choose from where these are fixed.
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "kind": ("dataset", "inference", "training", "artifact", "utility"),
    "name": (),
    "title": (),
    "persistence": ("none", "hub-dataset", "hub-model", "hub-file", "bucket", "s3", "gcs", "http"),
    "token": ("none", "read", "write"),
    "flavor": (),
    "timeout": (),
    "trigger": ("none", "schedule", "webhook"),
    "extras": ("test", "ci"),
    "base": (),
}
# Those about a shelf.
SHELF_QUESTIONS = ("name", "repo", "github", "space", "description")
_IN_CATALOG = {"layout": "catalog", "extras": ["test"]}
# What `_skip_if_exists` in copier.yml leaves alone.
_OWNERS = frozenset({Path("README.md"), Path(".gitignore")})
_SHELF_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_UNWRITTEN = "TODO(jobshelf)"
_QUESTION = re.compile(r"(?:Validation error for question|Invalid choice for) '(?P<name>\w+)': (?P<why>.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaffold:
    """What was made: paths relative to `folder`. `files` are all of them, `script` and `answers_file` two of them.

    `next` are the commands to type next, in the working folder. `unwritten` says whether the script has a function left
    to write.
    """

    name: str
    folder: Path
    script: Path
    answers_file: Path
    files: tuple[Path, ...]
    next: tuple[str, ...] = ()
    unwritten: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NewShelf:
    """A shelf that was made in `folder`: `files` are relative to it, `next` are the commands to type next."""

    shelf: Shelf
    folder: Path
    files: tuple[Path, ...]
    next: tuple[str, ...]


def new(destination: Path, answers: Mapping[str, Any], *, ask: bool = False, shelf: Shelf | None = None) -> Scaffold:
    """Make a script in the folder `destination` with the `answers` (see QUESTIONS) and the defaults for the rest.

    With `ask`, Copier asks on the terminal for what is not answered. `shelf` (default: the one here) has the templates;
    those of the tool serve where it has none. Raises UsageError for an answer that the templates refuse and for a script
    that is there already.
    """
    _refuse_shelf(answers)
    home = _with_templates(shelf or find_shelf())
    wanted = answers.get("name", "my-script").replace("-", "_")
    taken = [path for path in destination.glob("*.py") if path.stem.replace("-", "_") == wanted]
    if taken and not ask:
        message = f"{taken[0]} is there already; choose another --name, or update it"
        raise UsageError(message, fix=_how_to_update(destination, taken[0].stem))
    made = _render(home.root, destination, answers, ask=ask)
    if not (home.root / ".git").exists():
        _name_release(destination / made.answers_file, home)
    path = shlex.quote(os.path.relpath(destination / made.script))
    next_ = (f"jobshelf vet --strict {path}", f"uv run {path} --help", f"jobshelf rehearse {path}")
    return _with_next(made, next_)


def new_in_catalog(answers: Mapping[str, Any], *, ask: bool = False, shelf: Shelf | None = None) -> Scaffold:
    """Make a script in the catalogue of `shelf` (default: the one here), with its test, and write the index that holds it.

    Raises UsageError where there is no shelf, for an answer that the templates refuse, and for a name that the shelf uses
    already.
    """
    from jobshelf.index import build_index

    _refuse_shelf(answers)
    home = shelf or own_shelf()
    source = _with_templates(home)
    with tempfile.TemporaryDirectory(prefix="jobshelf-") as temporary:
        template, drawn = source.root, Path(temporary) / "drawn"
        if source == home:
            # The working tree as it is: of a repository, Copier would take the newest tag.
            template = Path(temporary) / "template"
            shutil.copytree(
                home.root / "templates", template / "templates", ignore=shutil.ignore_patterns("__pycache__")
            )
            shutil.copy(home.root / "copier.yml", template)
        base = script_url(home.dataset, "").rstrip("/")
        made = replace(_render(template, drawn, {**answers, **_IN_CATALOG, "base": base}, ask=ask), folder=home.root)
        _refuse_taken(made.name, home)
        if source == home:
            # Its scripts are the templates' own examples, and are edited with them.
            made = replace(made, files=tuple(file for file in made.files if file != made.answers_file))
        elif not (source.root / ".git").exists():
            _name_release(drawn / made.answers_file, source)
        _copy(made.files, drawn, home.root)
    home.index_file.write_text(build_index(home).to_text(), encoding="utf-8")
    path = shlex.quote(os.path.relpath(home.root / made.script))
    next_ = (f"jobshelf vet --strict {path}", f"jobshelf rehearse {path} --record", "jobshelf index")
    return _with_next(made, next_)


def init(destination: Path, answers: Mapping[str, Any], *, ask: bool = False) -> NewShelf:
    """Make a shelf in the folder `destination` with the `answers` (see SHELF_QUESTIONS), and its index.

    A README.md and a .gitignore that are there stay as they are. Raises UsageError for an answer that the templates
    refuse, and for a folder that is a shelf already or holds another file of the same name.
    """
    from jobshelf.derive import write_derived
    from jobshelf.index import load_index, write_index

    _refuse_project(destination)
    home = installed_shelf()
    folder_name = destination.resolve().name
    named = {"name": folder_name} if _SHELF_NAME.fullmatch(folder_name) else {}
    with tempfile.TemporaryDirectory(prefix="jobshelf-") as temporary:
        drawn = Path(temporary) / "drawn"
        answers_file = _copier(home.root, drawn, {**named, **answers, "kind": "shelf"}, ask=ask).answers_relpath
        if not (home.root / ".git").exists():
            _name_release(drawn / answers_file, home)
        files = [path.relative_to(drawn) for path in sorted(drawn.rglob("*")) if path.is_file()]
        there = [file for file in files if os.path.lexists(destination / file)]
        if taken := sorted(map(str, set(there) - _OWNERS)):
            raise UsageError(f"{destination / taken[0]} is there already", fix="move it away, or init another folder")
        made = tuple(file for file in files if file not in there)
        _copy(made, drawn, destination)
    shelf = own_shelf(destination)
    write_index(shelf)
    write_derived(shelf, load_index(shelf))
    into = os.path.relpath(destination)
    enter = () if into == "." else (f"cd {shlex.quote(into)}",)
    return NewShelf(
        shelf=shelf,
        folder=destination,
        files=(*made, Path(shelf.index_file.name)),
        next=(*enter, "jobshelf new", "jobshelf index", "jobshelf publish --dry-run"),
    )


def _with_templates(shelf: Shelf) -> Shelf:
    """Return the shelf itself where it has templates (a checkout of the project), else the one that comes with the tool."""
    return shelf if (shelf.root / "copier.yml").is_file() else installed_shelf()


def _refuse_shelf(answers: Mapping[str, Any]) -> None:
    if answers.get("kind") == "shelf":
        raise UsageError("a shelf is not a script", fix="jobshelf init")


def _refuse_project(folder: Path) -> None:
    """Refuse to make a shelf of a folder that has a pyproject.toml: it is one already, or somebody's project."""
    project = folder / "pyproject.toml"
    if not os.path.lexists(project):
        return
    if own := shelf_in(folder):
        raise UsageError(f"{folder.resolve()} is the shelf {own.name} already", fix="jobshelf new")
    fix = "add [tool.jobshelf.shelf] with name and dataset to it, or init another folder: jobshelf init FOLDER"
    raise UsageError(f"{project} is there already, and names no shelf", fix=fix)


def _copy(files: Iterable[Path], source: Path, destination: Path) -> None:
    for file in files:
        (destination / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / file, destination / file)


def _with_next(made: Scaffold, commands: tuple[str, ...]) -> Scaffold:
    text = (made.folder / made.script).read_text(encoding="utf-8")
    return replace(made, next=commands, unwritten=_UNWRITTEN in text)


def _render(template: Path, destination: Path, answers: Mapping[str, Any], *, ask: bool) -> Scaffold:
    """Render a script. Raises UsageError for what Copier says about an answer or the destination."""
    worker = _copier(template, destination, answers, ask=ask)
    given = worker.answers.combined
    _refuse_shelf(given)
    answers_file = worker.answers_relpath
    possible = (Path(given["script"]), Path(given["test"]), Path(given["workflow"]), answers_file)
    return Scaffold(
        name=given["name"],
        folder=destination,
        script=Path(given["script"]),
        answers_file=answers_file,
        files=tuple(path for path in possible if (destination / path).is_file()),
    )


def _copier(template: Path, destination: Path, answers: Mapping[str, Any], *, ask: bool) -> Worker:
    """Run Copier. Raises UsageError for what it says about an answer or the destination."""
    import yaml
    from copier import run_copy
    from copier.errors import CopierError, CopierWarning

    try:
        # What Copier notes of the template's git state is nothing that the user can act on.
        with (
            contextlib.redirect_stderr(io.StringIO()),
            warnings.catch_warnings(action="ignore", category=CopierWarning),
        ):
            return run_copy(str(template), destination, data=dict(answers), defaults=not ask, quiet=True)
    except (CopierError, ValueError, yaml.YAMLError) as error:
        raise _refused(str(error)) from error


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
            message = f"the name {name} is that of {entry.id} on the shelf; choose another --name, or update it"
            raise UsageError(message, fix=_how_to_update(shelf.root, entry.file.removesuffix(".py")))


def _how_to_update(folder: Path, name: str) -> str:
    """Return the command that brings a script up to date with its template; another name, where it is of none."""
    if not (folder / ".copier" / f"{name}.yml").is_file():
        return "give --name another value"
    into = os.path.relpath(folder)
    enter = "" if into == "." else f"cd {shlex.quote(into)} && "
    in_git = any((parent / ".git").exists() for parent in (folder.resolve(), *folder.resolve().parents))
    commit = "" if in_git else "git init && git add -A && git commit -m Scripts && "
    return f"{enter}{commit}uvx copier update -a .copier/{name}.yml"


def _name_release(answers_file: Path, shelf: Shelf) -> None:
    """Say where the templates of an installed package come from: the repository, at the release's tag."""
    import yaml

    comment, _, text = answers_file.read_text(encoding="utf-8").partition("\n")
    recorded = {"_commit": f"v{shelf.version}", **yaml.safe_load(text), "_src_path": f"gh:{shelf.github}"}
    answers_file.write_text(f"{comment}\n{yaml.safe_dump(recorded, sort_keys=True)}", encoding="utf-8")
