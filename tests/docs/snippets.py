"""The commands and snippets of the texts that people read, and whether each can be typed as it stands."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
from huggingface_hub.cli.hf import app

from jobshelf.cli import ACTIONS, parse
from jobshelf.errors import JobshelfError
from jobshelf.index import Index, load_index
from jobshelf.interface import run_with
from jobshelf.script import read_script
from jobshelf.shelf import find_shelf
from support import ROOT

LANGUAGES = {"bash", "sh", "python", "json", "text", "toml", "yaml", "", "mermaid"}
# Programs of others that the texts name; that a shell can read the line is all that is asked of them.
OTHERS = {
    "pytest",
    "pip",
    "pipx",
    "ollama",
    "llama-cli",
    "export",
    "git",
    "cd",
    "python3",
    "python",
    ".",
    "trackio",
    "npx",
}
# Commands that running text names without what must follow.
SPOKEN_OF = (["jobs", "uv", "run"], ["jobs"], ["jobs", "scheduled", "uv", "run"])
_FENCE = re.compile(
    r"^(?P<ticks>`{3,})(?P<language>[\w-]*)[^\n]*\n(?P<body>.*?)^(?P=ticks)\s*$", re.MULTILINE | re.DOTALL
)
_INLINE = re.compile(r"(?<!`)`((?:uvx |uv run )?(?:jobshelf|hf) [^`]+)`(?!`)")
# What stands for something of the reader's: `NAME`, `ID`, `URL`, `ARGUMENTS` ...
_GAP = re.compile(r"^[A-Z][A-Z_]{1,}$|^\.\.\.$|^…$")
_USAGE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Snippet:
    """A fenced block of a text. `line` is where its first line stands."""

    path: Path
    line: int
    language: str
    body: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def snippets(path: Path, *languages: str) -> list[Snippet]:
    """Return the fenced blocks of a Markdown file in one of `languages`, all when none is named."""
    text = path.read_text(encoding="utf-8")
    found = (
        Snippet(
            path=path,
            line=text.count("\n", 0, match.start("body")) + 1,
            language=match["language"],
            body=match["body"],
        )
        for match in _FENCE.finditer(text)
    )
    return [one for one in found if not languages or one.language in languages]


def shell_lines(path: Path) -> list[tuple[int, str]]:
    """Return (line, command) of every shell block, continued lines joined; and of every command in running text."""
    found = []
    for block in snippets(path, "bash", "sh"):
        joined = block.body.replace("\\\n", " ")
        found += [
            (block.line, line.strip()) for line in joined.splitlines() if line.strip() and not line.startswith("#")
        ]
    text = path.read_text(encoding="utf-8")
    bare = _FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)
    found += [(bare.count("\n", 0, match.start()) + 1, match[1]) for match in _INLINE.finditer(bare)]
    return found


def commands(line: str) -> Iterator[list[str]]:
    """Yield the commands of a shell line; a comment at its end is none."""
    words = shlex.split(line, comments=True)
    command: list[str] = []
    for word in words:
        if word in {"&&", "||", ";", "|"}:
            yield command
            command = []
        else:
            command.append(word)
    yield command


def trouble(command: Sequence[str]) -> str | None:
    """Return why this command cannot be typed, None when it can."""
    words = list(command)
    if words[:1] == ["env"] or "=" in words[0]:
        words = words[next(number for number, word in enumerate(words) if number and "=" not in word) :]
    if words[0] == "uvx":
        words = words[3:] if words[1] == "--with" else words[1:]
    if words[:2] == ["uv", "run"]:
        return _by_uv(words[2:])
    if words[0] == "jobshelf":
        return _by_jobshelf(words[1:])
    if words[0] == "hf":
        return _by_hf(words[1:])
    if words[0] == "copier":
        if words[1] in {"update", "check-update"}:
            return None
        return None if words[1] == "copy" and len(words) >= 4 else "copier copies SOURCE DESTINATION"
    return None if words[0] in OTHERS else f"{words[0]} is no program that the texts may name"


def _by_uv(words: list[str]) -> str | None:
    while words and words[0].startswith("-"):
        takes_value = words[0] in {"--with", "--python", "--script"} and words[0] != "--script"
        words = words[2 if takes_value else 1 :]
    if words[0] == "jobshelf":
        return _by_jobshelf(words[1:])
    if words[0] in {"pytest", "ruff", "pre-commit"}:
        return None
    if words[0] == "python":
        return _by_python(words[1:])
    return _script(words[0], words[1:])


def _by_python(words: list[str]) -> str | None:
    if words[0] == "-m":
        package = ROOT / "generator" / (words[1].replace(".", "/") + ".py")
        return None if package.is_file() else f"there is no module {words[1]}"
    return None if (ROOT / words[0]).is_file() else f"there is no {words[0]}"


def _by_jobshelf(words: list[str]) -> str | None:
    if any(word == "..." for word in words) or words[:1] == ["VERB"]:
        return None
    if len(words) == 1 and words[0] in ACTIONS:
        return None
    stand_in = [_filled(word) for word in words]
    try:
        arguments = parse(stand_in)
    except JobshelfError as error:
        return str(error)
    if arguments.verb == "estimate":
        return _script("estimate_cost", arguments.script_arguments)
    name = getattr(arguments, "name", None) or (getattr(arguments, "words", None) or [None])[0]
    if arguments.verb in {"run", "submit", "command", "schedule", "webhook"} and name is not None:
        return _script(name, arguments.script_arguments)
    if arguments.verb == "show" and name != "STAND-IN":
        return _script(name, [])
    return None


def _by_hf(words: list[str]) -> str | None:
    """Ask the real parser; nothing is run."""
    if "..." in words or words in SPOKEN_OF:
        return None
    command, rest, parent = app, [_filled(word) for word in words], None
    try:
        while True:
            context = command.make_context(command.name or "hf", list(rest), parent=parent)
            if not isinstance(command, click.Group):
                break
            _, command, rest = command.resolve_command(context, context._protected_args + context.args)
            parent = context
    except click.ClickException as error:
        return error.format_message()
    script = context.params.get("script")
    if script is None:
        return None
    if script.startswith("-"):
        return f"hf takes {script} for the script"
    return _script(script, list(context.params["script_args"]))


def _script(named: str, arguments: Sequence[str]) -> str | None:
    """Return why the script cannot be named so or refuses the arguments; a file or URL of the reader's is not looked into."""
    if named in {"STAND-IN", "-"} or named.startswith("./"):
        return None
    index = _index()
    if named.startswith(("https://", "http://")):
        if f"/datasets/{index.dataset}/" not in named:
            return None if named.endswith(".py") else f"{named} is no script"
        if not re.search(r"/resolve/(main|v[\d.]+)/[\w-]+\.py$", named):
            return f"{named} is no address of a script"
        named = named.rpartition("/")[2]
    elif named.endswith(".py") and "/" not in named:
        return None  # `my_script.py` of the reader
    named = named.removeprefix("catalog/")
    if _GAP.match(named.removesuffix(".py")):
        return None
    try:
        entry = index.find(named.removesuffix(".py"))
    except JobshelfError as error:
        return str(error)
    if any(_GAP.match(word) for word in arguments) or not arguments:
        return None
    done = run_with(read_script(ROOT / "catalog" / entry.file), list(arguments))
    if done.exit == _USAGE and not done.inconclusive and "usage:" in done.stderr.lower():
        return done.stderr.strip().splitlines()[-1]
    return None


def _filled(word: str) -> str:
    """Return what a reader would put in the place of a gap."""
    if word in {"TAG"}:
        return "v1.0.0"
    return "STAND-IN" if _GAP.match(word) and word not in {"HF_TOKEN"} else word


@cache
def _index() -> Index:
    return load_index(find_shelf(ROOT))


def is_shell(line: str) -> bool:
    """Whether bash can read the line."""
    return subprocess.run(["bash", "-n", "-c", line], capture_output=True).returncode == 0
