"""What runs code that the header does not declare, or lets somebody on the way change it: calls and settings, by value."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from jobshelf.vet.subject import Subject
from jobshelf.vet.values import Values

# A script without any of these words has nothing of it.
_MENTIONED = re.compile(
    r"eval|exec|pickle|marshal|dill|joblib|shelve|yaml|\.load\b|runpy|system|popen|getoutput|getstatusoutput|subprocess"
    r"|shell|trust_remote_code|verify|ssl|CERT_NONE|HF_ENDPOINT|import_module|__import__|getattr"
)
_LOADERS = {
    "cloudpickle.load": "runs code from the file",
    "cloudpickle.loads": "runs code from the data",
    "dill.load": "runs code from the file",
    "dill.loads": "runs code from the data",
    "eval": "runs text as code",
    "exec": "runs text as code",
    "joblib.load": "runs code from the file",
    "jsonpickle.decode": "runs code from the data",
    "marshal.loads": "runs code from the data",
    "pandas.read_pickle": "runs code from the file",
    "pickle.Unpickler().load": "runs code from the file",
    "pickle.load": "runs code from the file",
    "pickle.loads": "runs code from the data",
    "runpy.run_module": "runs another program",
    "runpy.run_path": "runs another program",
    "shelve.open": "runs code from the file",
    "yaml.unsafe_load": "runs code from the file",
}
_UNSAFE_YAML = frozenset({"Loader", "UnsafeLoader", "CLoader"})
_SHELLS = frozenset({"os.popen", "os.system", "subprocess.getoutput", "subprocess.getstatusoutput"})
_SHELL_PROGRAMS = frozenset({"bash", "dash", "ksh", "sh", "zsh"})
_SHELL_OPTION = re.compile(r"-[a-z]*c")
_PIPED_TO_INTERPRETER = re.compile(r"[|(]\s*(?:sudo\s+)?(?:\S*/)?(?:ba|da|z)?sh\b|\|\s*(?:sudo\s+)?python|\beval\b")
_STARTERS = frozenset({"Popen", "call", "check_call", "check_output", "run"})
_COMMANDS = frozenset({"args", "cmd", "command"})
_INSTALLERS = frozenset({"apt", "apt-get", "conda", "pip", "pip3", "uv"})
_INSTALLS = frozenset({"add", "install", "sync"})
_CLIENTS = frozenset({"aiohttp", "httpx", "httpx2", "requests", "urllib3"})
_DATA_ONLY = "a format that holds data only (json, parquet, safetensors), or an argument list"


@dataclass(frozen=True, slots=True)
class Danger:
    """A dangerous expression, what is wrong with it, and what to use instead."""

    node: ast.expr
    what: str
    instead: str


def dangers(subject: Subject) -> Iterator[Danger]:
    """Yield what runs or admits code from elsewhere, in the order of the source."""
    if subject.script.tree is None or not _MENTIONED.search(subject.script.text):
        return
    values = subject.values
    found = [*_calls(values), *_settings(values), *_certificates(values)]
    yield from sorted(found, key=lambda danger: (danger.node.lineno, danger.node.col_offset))


def _calls(values: Values) -> Iterator[Danger]:
    for call in values.subject.nodes(ast.Call):
        name = values.dotted(call.func).removeprefix("builtins.")
        if told := _danger(values, call, name):
            yield Danger(call, *told)
        for handed in call.args:
            if isinstance(handed, ast.Name) and values.dotted(handed) in {"eval", "exec"}:
                yield Danger(handed, f"{values.dotted(handed)} is handed over and runs text as code", _DATA_ONLY)


def _danger(values: Values, call: ast.Call, name: str) -> tuple[str, str] | None:
    """Return (what is wrong, what to use instead) of a dangerous call."""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if why := _LOADERS.get(name):
        return f"{name} {why}", _DATA_ONLY
    if name == "torch.load" and not _is(keywords.get("weights_only"), True):
        return "torch.load without weights_only=True runs code from the file", "safetensors, or weights_only=True"
    if name == "numpy.load" and _is(keywords.get("allow_pickle"), True):
        return "allow_pickle=True runs code from the file", "an array of numbers, without allow_pickle"
    if name == "yaml.load" and _is_unsafe_yaml(values, call):
        return "yaml.load without SafeLoader runs code from the file", "yaml.safe_load"
    if name in _SHELLS or _is(keywords.get("shell"), True):
        return _shell(values, call, name)
    if "trust_remote_code" in keywords:
        return _remote(keywords)
    return _started(values, call, name)


def _is_unsafe_yaml(values: Values, call: ast.Call) -> bool:
    loaders = [*call.args[1:2], *(one.value for one in call.keywords if one.arg == "Loader")]
    return not loaders or values.dotted(loaders[0]).rpartition(".")[2] in _UNSAFE_YAML


def _shell(values: Values, call: ast.Call, name: str) -> tuple[str, str] | None:
    given = [*call.args[:1], *(item.value for item in call.keywords if item.arg in _COMMANDS)]
    command = values.constant(given[0]) if given else None
    if not isinstance(command, ast.Constant) or not isinstance(command.value, str):
        what = f"{name} runs a shell" if name in _SHELLS else "shell=True hands text to a shell"
        return what, "a list of arguments"
    return _text_of_shell(command.value)


def _text_of_shell(text: str) -> tuple[str, str] | None:
    if _PIPED_TO_INTERPRETER.search(text):
        return "a shell runs what it gets from elsewhere", "a declared dependency"
    return _installs_by(text.split())


def _remote(keywords: dict[str | None, ast.expr]) -> tuple[str, str] | None:
    asked = keywords["trust_remote_code"]
    if _is(asked, True):
        return "trust_remote_code=True runs whatever the repository holds", "an option, with a pinned revision"
    if not isinstance(asked, ast.Constant) and not keywords.keys() & {"revision", "code_revision", None}:
        return "trust_remote_code without a revision runs whatever the repository holds", "revision=<commit> beside it"
    return None


def _started(values: Values, call: ast.Call, name: str) -> tuple[str, str] | None:
    if name.rpartition(".")[2] not in _STARTERS or not call.args:
        return None
    command = values.constant(call.args[0])
    if isinstance(command, ast.Call) and values.dotted(command.func) == "shlex.split" and command.args:
        text = values.constant(command.args[0])
        return _installs_by(_split(text.value)) if isinstance(text, ast.Constant) else None
    if not isinstance(command, ast.List | ast.Tuple):
        return None
    words = [item.value if isinstance(item, ast.Constant) else None for item in map(values.constant, command.elts)]
    for number, word in enumerate(words[:-1]):
        if _is_shell(words[:number]) and isinstance(word, str) and _SHELL_OPTION.fullmatch(word):
            text = words[number + 1]
            return _text_of_shell(text) if isinstance(text, str) else ("a shell runs a text", "a list of arguments")
    return _installs_by([word for word in words if isinstance(word, str)])


def _is_shell(words: list[object]) -> bool:
    return any(isinstance(word, str) and PurePath(word).name in _SHELL_PROGRAMS for word in words)


def _split(text: object) -> list[str]:
    try:
        return shlex.split(text) if isinstance(text, str) else []
    except ValueError:
        return []


def _installs_by(words: list[str]) -> tuple[str, str] | None:
    if _INSTALLERS & set(words) and _INSTALLS & set(words):
        return "packages are installed while the script runs", "the header's dependencies"
    return None


def _settings(values: Values) -> Iterator[Danger]:
    """Options in a dict, and the variable that sends everything, the token too, to another Hub."""
    for key, value, node in _items(values):
        if key == "trust_remote_code" and _is(value, True):
            yield Danger(
                node, "trust_remote_code=True runs whatever the repository holds", "an option, with a pinned revision"
            )
    for node in values.subject.nodes(ast.Subscript):
        stored = isinstance(node.ctx, ast.Store) and _is(node.slice, "HF_ENDPOINT")
        if stored and values.dotted(node.value) == "os.environ":
            yield _other_hub(node)
    for call in values.subject.nodes(ast.Call):
        named = bool(call.args) and _is(call.args[0], "HF_ENDPOINT")
        if named and values.dotted(call.func) in {"os.environ.setdefault", "os.putenv"}:
            yield _other_hub(call)


def _items(values: Values) -> Iterator[tuple[object, ast.expr, ast.expr]]:
    """Yield (key, value, where it stands) of the items of dicts whose key is a constant."""
    for one in values.subject.nodes(ast.Dict):
        for key, value in zip(one.keys, one.values, strict=True):
            if isinstance(key, ast.Constant):
                yield key.value, value, value
    for items in values.items.values():
        for key, value in items:
            if isinstance(key, ast.Constant):
                yield key.value, value, value


def _other_hub(node: ast.expr) -> Danger:
    return Danger(node, "HF_ENDPOINT in the code sends the token to another server", "HF_ENDPOINT set by the user")


def _certificates(values: Values) -> Iterator[Danger]:
    what, instead = "without verified certificates anybody on the way can change what is loaded", "verified TLS"
    for call in values.subject.nodes(ast.Call):
        off = any(one.arg in {"ssl", "verify"} and _is(one.value, False) for one in call.keywords)
        if off and values.dotted(call.func).partition(".")[0].removesuffix("()") in _CLIENTS:
            yield Danger(call, what, instead)
    for node in values.subject.nodes(ast.Attribute):
        if node.attr in {"CERT_NONE", "_create_unverified_context"} and values.dotted(node.value) == "ssl":
            yield Danger(node, what, instead)
    for assign in values.subject.nodes(ast.Assign):
        for target in assign.targets:
            named = isinstance(target, ast.Attribute) and target.attr in {"check_hostname", "verify"}
            if named and _is(assign.value, False):
                yield Danger(target, what, instead)


def _is(value: ast.expr | None, constant: object) -> bool:
    return isinstance(value, ast.Constant) and value.value == constant and type(value.value) is type(constant)
