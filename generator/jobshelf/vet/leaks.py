"""Where a script shows a secret: the Hub token, or all of its environment, in output, files, addresses and commands.

`leaks` follows values through the text; `seen_leaks` adds what came out of a run with a made-up token and is not in the text to see.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from jobshelf.vet.rule import Audience
from jobshelf.vet.subject import Subject
from jobshelf.vet.values import Holders, Values

# A script without any of these words has no token and no environment to show.
_MENTIONED = re.compile(r"token|environ|HfFolder", re.IGNORECASE)
_TOKEN_NAME = re.compile(r"(?:hf_|hub_|api_|access_|auth_)?token", re.IGNORECASE)
_TOKEN_VARIABLE = re.compile(r"(?:HF|HUGGING_?FACE)(?!\w*DISABLE)\w*(?:TOKEN|API_KEY)")
_SETTINGS = frozenset({"args", "cfg", "config", "options", "opts", "self", "settings"})
_HUB_HOST = re.compile(r"(?:.*\.)?(?:huggingface\.(?:co|cloud|tech)|hf\.co|hf\.space)|localhost|127\.0\.0\.1|\[::1\]")
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)

_LOGS = frozenset({"critical", "debug", "error", "exception", "info", "log", "print", "warn", "warning"})
_WRITES = frozenset({"write", "write_bytes", "write_text", "writelines"})
_DUMPS = frozenset({"json.dump", "pickle.dump", "toml.dump", "tomli_w.dump", "yaml.dump", "yaml.safe_dump"})
_ERROR = re.compile(r"(?:Error|Exception|Exit|Fault)$")
_EXITS = frozenset({"SystemExit", "exit", "sys.exit"})
_STARTS = frozenset({"Popen", "call", "check_call", "check_output", "getoutput", "getstatusoutput", "run"})
_COMMANDS = frozenset({"asyncio.create_subprocess_exec", "asyncio.create_subprocess_shell", "os.popen", "os.system"})
_JOBS = frozenset({"create_scheduled_job", "create_scheduled_uv_job", "run_job", "run_uv_job"})
_SENDS = frozenset({"Request", "delete", "get", "patch", "post", "put", "request", "stream", "urlopen"})
_OPTIONS = frozenset({"Option", "add_argument", "option"})


@dataclass(frozen=True, slots=True)
class Leak:
    """An expression that holds a secret, what the secret is, and where it goes."""

    node: ast.expr
    what: str
    where: str


def leaks(subject: Subject) -> list[Leak]:
    """Return where the script shows a secret, each place once."""
    if subject.script.tree is None or not _MENTIONED.search(subject.script.text):
        return []
    values = subject.values
    token = Holders(values, lambda node: _is_token(values, node))
    environment = Holders(values, lambda node: _is_environment(values, node), whole=True)
    found: dict[ast.expr, Leak] = {}
    for what, holds, places in (
        ("a token (or a part of one)", token, (_shown, _stored, _handed_on, _sent, _addressed, _default)),
        ("all of the environment, the token included,", environment, (_shown, _stored)),
    ):
        for place in places:
            for node, where in place(values, holds):
                found.setdefault(node, Leak(node, what, where))
    return sorted(found.values(), key=lambda leak: (leak.node.lineno, leak.node.col_offset))


@dataclass(frozen=True, slots=True)
class SeenLeak:
    """A line on which the made-up token of a run came out, where it went, and the arguments of the run."""

    line: int
    where: str
    arguments: tuple[str, ...]


_SEEN = {
    "address": "part of an address",
    "body": "part of the body of a request",
    "command": "a word of a command, which every user of the machine can read",
    "environment": "put into the environment of a command",
    "file": "written to a file",
    "file name": "part of the name of a file",
    "job": "a plain variable of a Job: pass it as secrets=",
    "message": "part of a message",
    "other host": "sent to another host than the Hub",
    "output": "printed or logged",
    "published": "published on the Hub",
    "rows": "put into rows of data",
}
# A text that holds the token is reported where it is made: who prints or asks for it later is not to blame.
_CAUSES = {"part of an address": "part of an address", "printed or logged": "part of a message"}


def seen_leaks(subject: Subject, known: list[Leak]) -> list[SeenLeak]:
    """Return where the token of a run came out, each place once, without what follows from the leaks that are `known`."""
    told = {line for leak in known for line in _statement(subject, leak.node)}
    ways = {leak.where for leak in known}
    found: dict[tuple[int, str], SeenLeak] = {}
    for run in subject.watched.runs if subject.watched else ():
        for leak in run.leaks:
            line, where = leak.line if leak.line <= len(subject.lines) else 0, _SEEN[leak.where]
            if line in told or _CAUSES.get(where) in ways or (known and not line):
                continue
            found.setdefault((line or 1, where), SeenLeak(line or 1, where, run.arguments))
    return [found[place] for place in sorted(found)]


def _statement(subject: Subject, node: ast.expr) -> range:
    """Return the lines of the statement around an expression; of a compound one, those of the expression."""
    around = next(one for one in subject.ancestors(node) if isinstance(one, ast.stmt))
    simple = node if hasattr(around, "body") else around
    return range(simple.lineno, (simple.end_lineno or simple.lineno) + 1)


def _is_token(values: Values, node: ast.expr) -> bool:
    if isinstance(node, ast.Call):
        name = values.dotted(node.func)
        if name.rpartition(".")[2] == "get_token":
            return True
        return name in {"os.environ.get", "os.environ.pop", "os.getenv"} and _names_token(node.args[:1])
    if isinstance(node, ast.Subscript):
        return values.dotted(node.value) == "os.environ" and _names_token([node.slice])
    if isinstance(node, ast.Attribute):
        owner = node.value.id if isinstance(node.value, ast.Name) else ""
        return owner in _SETTINGS and _TOKEN_NAME.fullmatch(node.attr) is not None
    return (
        isinstance(node, ast.Name) and _TOKEN_NAME.fullmatch(node.id) is not None and _comes_from_outside(values, node)
    )


def _is_environment(values: Values, node: ast.expr) -> bool:
    named = isinstance(node, ast.Attribute) and node.attr == "environ"
    return (named or isinstance(node, ast.Name)) and values.dotted(node) == "os.environ"


def _names_token(names: list[ast.expr]) -> bool:
    return any(isinstance(name, ast.Constant) and _TOKEN_VARIABLE.fullmatch(str(name.value)) for name in names)


def _comes_from_outside(values: Values, name: ast.Name) -> bool:
    """Tell whether nothing in the script says what the name is: neither an assignment nor a call of the function."""
    place = values.place(name)
    if values.assigned.get(place):
        return False
    return not isinstance(place.scope, ast.Lambda) and getattr(place.scope, "name", "") not in values.called


Places = Iterator[tuple[ast.expr, str]]


def _shown(values: Values, holds: Holders) -> Places:
    for call in values.subject.nodes(ast.Call):
        verb, given = _verb(call), _given(call)
        owner = values.dotted(call.func).rpartition(".")[0]
        logs = verb in _LOGS or (verb == "write" and owner in {"sys.stderr", "sys.stdout"})
        if logs and (node := holds.any(given)):
            yield node, "printed or logged"
        elif values.dotted(call.func) in _EXITS and (node := holds.any(given)):
            yield node, "part of a message"
    for raised in values.subject.nodes(ast.Raise):
        error = raised.exc
        if isinstance(error, ast.Call) and _ERROR.search(_verb(error)) and (node := holds.any(error.args)):
            yield node, "part of a message"


def _stored(values: Values, holds: Holders) -> Places:
    for call in values.subject.nodes(ast.Call):
        owner = values.dotted(call.func).rpartition(".")[0]
        if _verb(call) in _WRITES and not owner.startswith("sys.") and not owner.endswith("stdin"):
            node = holds.any(call.args)
        elif values.dotted(call.func) in _DUMPS:
            node = holds.any(call.args[:1])
        else:
            continue
        if node is not None:
            yield node, "written to a file"


def _handed_on(values: Values, holds: Holders) -> Places:
    for call in values.subject.nodes(ast.Call):
        name, verb = values.dotted(call.func), _verb(call)
        starts = name in _COMMANDS or (name.startswith("subprocess.") and verb in _STARTS)
        words = [*call.args, *(one.value for one in call.keywords if one.arg == "args")]
        if (starts or name.startswith(("os.exec", "os.spawn"))) and (node := holds.any(words)):
            yield node, "a word of a command, which every user of the machine can read"
        for one in call.keywords:
            if one.arg == "env" and verb in _JOBS and holds(one.value):
                yield one.value, "a plain variable of a Job: pass it as secrets="
            elif one.arg == "env" and starts:
                yield from ((node, "put into the environment of a command") for node in _other_names(one.value, holds))


def _other_names(env: ast.expr, holds: Holders) -> Iterator[ast.expr]:
    """Yield the tokens that a child gets under another name than the one it has here."""
    if isinstance(env, ast.Dict):
        for key, value in zip(env.keys, env.values, strict=True):
            if key is not None and holds(value) and not _names_token([key]):
                yield value


def _sent(values: Values, holds: Holders) -> Places:
    for call in values.subject.nodes(ast.Call):
        if _verb(call) not in _SENDS:
            continue
        keywords = {one.arg: one.value for one in call.keywords}
        if "params" in keywords and holds(keywords["params"]):
            yield keywords["params"], "part of an address"
        host = _host(values, [*call.args[:2], *([keywords["url"]] if "url" in keywords else [])])
        if host and not _HUB_HOST.fullmatch(host):
            parts = [keywords[name] for name in ("auth", "cookies", "data", "headers", "json") if name in keywords]
            if node := holds.any(parts):
                yield node, f"sent to {host}"
    for one in values.subject.nodes(ast.Dict):
        for key, value in zip(one.keys, one.values, strict=True):
            other = isinstance(key, ast.Constant) and str(key.value).lower() != "authorization"
            if other and isinstance(value, ast.JoinedStr) and "Bearer" not in ast.unparse(value) and holds(value):
                yield value, "formatted into a text"


def _host(values: Values, candidates: list[ast.expr]) -> str:
    """Return the host of the address that is written out, as far as it is."""
    for candidate in candidates:
        text = _beginning(values.constant(candidate))
        if _ADDRESS.match(text) and "/" in text[len("https://") :] + "/" * isinstance(candidate, ast.Constant):
            try:
                return urlsplit(text).hostname or ""
            except ValueError:
                return ""
    return ""


def _beginning(node: ast.AST) -> str:
    """Return the text that an expression begins with."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr) and node.values:
        return _beginning(node.values[0])
    return _beginning(node.left) if isinstance(node, ast.BinOp) else ""


def _addressed(values: Values, holds: Holders) -> Places:
    for node in values.subject.nodes(ast.JoinedStr, ast.BinOp):
        if _ADDRESS.match(_beginning(node)) and holds(node):
            yield node, "part of an address"


def _default(values: Values, holds: Holders) -> Places:
    for call in values.subject.nodes(ast.Call):
        if _verb(call) in _OPTIONS:
            for one in call.keywords:
                if one.arg == "default" and holds(one.value) and _may_show(values.subject, call):
                    yield one.value, "the default of an option, which --help can show"


def _may_show(subject: Subject, call: ast.Call) -> bool:
    """Tell whether --help shows the option's default; on a shelf it is not looked at how argparse is set up."""
    if Audience.SHELF in subject.audiences or _verb(call) != "add_argument":
        return True
    return "ArgumentDefaultsHelpFormatter" in subject.script.text or "%(default)" in ast.unparse(call)


def _verb(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _given(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(one.value for one in call.keywords)]
