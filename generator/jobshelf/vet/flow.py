"""The order in which a script calls the outside world, read from its tree: every call of `main`, its own functions opened up.

This is what static rules judge order by, and what stub rules fall back on when a run could not decide.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_Words = ast.List | ast.Tuple
_MOST_ASSIGNMENTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of something that the script does not define.

    `name` is dotted and resolved through the imports where it can be (`datasets.load_dataset`, `api.upload_file`); `looped` says
    whether it happens once for each item of some work, `retried` whether the script tries it again whenever it fails. `maker` is the
    call that made the object whose method this is, as far as assignments tell, and `made_by` its dotted name. A function that is
    handed to a helper which calls it (`retry(api.upload_file, ...)`) is a step with the arguments that are handed over with it.
    """

    name: str
    node: ast.Call
    looped: bool = False
    retried: bool = False
    maker: ast.Call | None = None
    made_by: str = ""

    @property
    def verb(self) -> str:
        """The name's last part."""
        return self.name.rpartition(".")[2]


PUSHES = frozenset(
    {
        "batch_bucket_files",
        "create_commit",
        "push_to_hub",
        "sync_bucket",
        "upload_file",
        "upload_folder",
        "upload_large_folder",
    }
)
TARGET_CHECKS = frozenset(
    {
        "auth_check",
        "bucket_info",
        "create_bucket",
        "create_repo",
        "dataset_info",
        "model_info",
        "repo_exists",
        "repo_info",
        "space_info",
    }
)
TOKEN_CHECKS = frozenset({"auth_check", "get_token", "whoami"})
_WORK = frozenset(
    {
        "AsyncLLMEngine",
        "CrossEncoder",
        "LLM",
        "SentenceTransformer",
        "from_pretrained",
        "hf_hub_download",
        "load_dataset",
        "pipeline",
        "read_csv",
        "read_ipc",
        "read_json",
        "read_ndjson",
        "read_parquet",
        "read_table",
        "scan_csv",
        "scan_ndjson",
        "scan_parquet",
        "snapshot_download",
        "urlretrieve",
    }
)
_WORK_PACKAGES = frozenset({"aiohttp", "httpx", "openai", "requests"})
_WORK_CALLS = frozenset({"delete", "get", "patch", "post", "put", "request", "stream"})


_FILE_SYSTEMS = frozenset(
    {
        "AzureBlobFileSystem",
        "GCSFileSystem",
        "HfFileSystem",
        "S3FileSystem",
        "filesystem",
        "get_fs_token_paths",
        "url_to_fs",
    }
)
_FILE_WRITES = frozenset({"pipe", "pipe_file", "put", "put_file", "upload", "write_bytes", "write_text"})
_FILE_SYSTEM_NAMES = frozenset({"file_system", "filesystem", "fs"})
_TABLE_WRITES = frozenset(
    {
        "save_to_disk",
        "sink_csv",
        "sink_ipc",
        "sink_ndjson",
        "sink_parquet",
        "to_csv",
        "to_json",
        "to_parquet",
        "write_csv",
        "write_dataset",
        "write_ipc",
        "write_ndjson",
        "write_parquet",
        "write_table",
        "write_to_dataset",
    }
)
PUSH_OPTIONS = frozenset({"--push-to-hub", "--push_to_hub"})
# Functions that call another, and which of their arguments it is.
_CALLERS = {
    "Process": 1,
    "Thread": 1,
    "apply": 0,
    "apply_async": 0,
    "call_soon": 0,
    "call_soon_threadsafe": 0,
    "imap": 0,
    "imap_unordered": 0,
    "map": 0,
    "partial": 0,
    "register": 0,
    "run_as_future": 0,
    "run_in_executor": 1,
    "run_sync": 0,
    "starmap": 0,
    "submit": 0,
    "thread_map": 0,
    "to_thread": 0,
}
_FOR_EACH = frozenset({"imap", "imap_unordered", "map", "starmap", "thread_map"})
_CALLED_KEYWORDS = frozenset({"action", "call", "callable", "f", "fn", "func", "function", "operation", "target"})
# Bases whose methods only the script itself calls.
_PASSIVE_BASES = frozenset(
    {
        "ABC",
        "Enum",
        "Flag",
        "Generic",
        "IntEnum",
        "IntFlag",
        "NamedTuple",
        "Protocol",
        "StrEnum",
        "SystemExit",
        "TypedDict",
    }
    | {"dict", "float", "int", "list", "object", "set", "str", "tuple"}
)


def may_push(text: str) -> bool:
    """Tell quickly whether a script of this text could write to the Hub."""
    return any(word in text for word in (*PUSHES, "hf://", "HfFileSystem", "filesystem("))


def writes_to_place(step: Step) -> bool:
    """Tell whether the call writes a file by fsspec, to a place that is not known to be this disk."""
    addresses = _addresses(step)
    if any(_is_local(address) for address in addresses[:1]):
        return False
    if step.name == "fsspec.open" or (step.verb == "open" and _on_file_system(step)):
        return _opens_to_write(step.node)
    if step.verb in _TABLE_WRITES:
        return any(keyword.arg == "filesystem" for keyword in step.node.keywords) or _names_hub(addresses)
    return step.verb in _FILE_WRITES and _on_file_system(step)


def is_push(step: Step) -> bool:
    """Tell whether the call writes to the Hub: an upload, a commit, or a file under hf://."""
    if step.verb in PUSHES:
        return True
    return writes_to_place(step) and (step.made_by.endswith("HfFileSystem()") or _names_hub(_addresses(step)))


def _addresses(step: Step) -> list[ast.expr]:
    """Return the expressions that say where a file goes: those that the file system was made of first."""
    made_of = _arguments(step.maker) if step.maker and _is_file_system(step.made_by) else []
    return [*made_of, *_arguments(step.node)]


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _is_file_system(made_by: str) -> bool:
    return made_by.removesuffix("()").rpartition(".")[2] in _FILE_SYSTEMS


def _on_file_system(step: Step) -> bool:
    if step.made_by:
        return _is_file_system(step.made_by)
    owner = step.name.rpartition(".")[0].rpartition(".")[2]
    return owner in _FILE_SYSTEM_NAMES or _is_file_system(owner) or step.verb in {"pipe_file", "put_file"}


def _is_local(address: ast.expr) -> bool:
    if not isinstance(address, ast.Constant) or not isinstance(address.value, str):
        return False
    protocol, separator, _ = address.value.partition("://")
    return protocol in {"file", "local", "memory"} or (not separator and address.value.startswith((".", "/", "~")))


def _names_hub(addresses: Iterable[ast.expr]) -> bool:
    return any(
        isinstance(node, ast.Constant) and isinstance(node.value, str) and (node.value == "hf" or "hf://" in node.value)
        for address in addresses
        for node in ast.walk(address)
    )


def _opens_to_write(call: ast.Call) -> bool:
    modes = [*call.args[1:2], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    return any(isinstance(mode, ast.Constant) and bool(set(str(mode.value)) & set("wax")) for mode in modes)


def is_work(name: str) -> bool:
    """Tell whether a call of this dotted name costs time, traffic or money: it loads a model or data, or asks a server."""
    parts = name.replace("()", "").split(".")
    return parts[-1] in _WORK or (parts[0] in _WORK_PACKAGES and parts[-1] in _WORK_CALLS)


@lru_cache(maxsize=4)
def steps(tree: ast.Module) -> tuple[Step, ...]:
    """Return the outside calls in the order of a first run; a function that is never reached adds nothing."""
    return tuple(_Walker(tree).found.values())


def imported_names(imports: Iterable[ast.Import | ast.ImportFrom]) -> dict[str, str]:
    """Return what each imported name stands for, dotted, wherever in the file it is imported."""
    names: dict[str, str] = {}
    for node in imports:
        for alias in node.names:
            if isinstance(node, ast.ImportFrom):
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
            elif alias.asname:
                names[alias.asname] = alias.name
            else:
                names[alias.name.partition(".")[0]] = alias.name.partition(".")[0]
    return names


def dotted(node: ast.AST, names: dict[str, str]) -> str:
    """Return the dotted name of an expression (`HfApi().create_commit` becomes `huggingface_hub.HfApi().create_commit`)."""
    if isinstance(node, ast.Name):
        return names.get(node.id, node.id)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value, names)}.{node.attr}"
    if isinstance(node, ast.Call):
        return f"{dotted(node.func, names)}()"
    if isinstance(node, (ast.Subscript, ast.Await)):
        return dotted(node.value, names)
    return "?"


@dataclass(frozen=True, slots=True)
class _Place:
    scope: ast.AST
    looped: bool = False
    retried: bool = False


class _Walker:
    """Walks the tree in the order of evaluation, opening the script's own functions where they are called.

    A function is opened once for each kind of place (in a loop or not, retried or not); a call found twice is one step, at its first
    position, that is looped when either was and retried when both were.
    """

    def __init__(self, tree: ast.Module) -> None:
        self.found: dict[ast.Call, Step] = {}
        self._imports: list[ast.Import | ast.ImportFrom] = []
        self._classes: dict[str, ast.ClassDef] = {}
        self._class_of: dict[ast.AST, ast.ClassDef] = {}
        self._methods_named: dict[str, list[_FunctionNode]] = {}
        self._scopes: dict[ast.AST, dict[str, _FunctionNode]] = {}
        self._outer: dict[ast.AST, ast.AST] = {}
        self._values: dict[ast.AST, dict[str, list[ast.expr]]] = {}
        self._attributes: dict[str, list[ast.expr]] = {}
        self._handed: dict[ast.AST, ast.Call] = {}
        self._uses: dict[tuple[ast.AST, str], bool | None] = {}
        self._open: set[tuple[ast.AST, bool, bool]] = set()
        self._index(tree, tree)
        self._names = imported_names(self._imports)
        self._all(tree.body, _Place(tree))

    def _index(self, node: ast.AST, scope: ast.AST) -> None:
        """Note the imports, the functions and values of each scope, and the methods of each class; only statements hold them."""
        for child in _statements(node):
            inner = scope
            if isinstance(child, ast.ClassDef):
                self._classes[child.name] = child
                for item in child.body:
                    if isinstance(item, _FunctionNode):
                        self._methods_named.setdefault(item.name, []).append(item)
                        self._class_of[item] = child
            elif isinstance(child, _FunctionNode):
                if not isinstance(node, ast.ClassDef):
                    self._scopes.setdefault(scope, {})[child.name] = child
                self._outer[child] = scope
                inner = child
            elif isinstance(child, (ast.Import, ast.ImportFrom)):
                self._imports.append(child)
            for target, value in _bindings(child):
                self._bind(target, value, scope)
            self._index(child, inner)

    def _bind(self, target: ast.expr, value: ast.expr, scope: ast.AST) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            parts = value.elts if isinstance(value, (ast.Tuple, ast.List)) else [value] * len(target.elts)
            for part, its_value in zip(target.elts, parts, strict=False):
                self._bind(part, its_value, scope)
        elif isinstance(target, ast.Name):
            self._values.setdefault(scope, {}).setdefault(target.id, []).append(value)
        elif isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            self._attributes.setdefault(target.attr, []).append(value)

    def _all(self, nodes: Iterable[ast.AST], place: _Place) -> None:
        for node in nodes:
            self._visit(node, place)

    def _visit(self, node: ast.AST, place: _Place) -> None:
        if isinstance(node, ast.Call):
            self._call(node, place)
        elif isinstance(node, (_FunctionNode, ast.ClassDef)):
            self._all(node.decorator_list, place)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.While)):
            self._visit(node.test if isinstance(node, ast.While) else node.iter, place)
            self._all(node.body, self._in_loop(node, place))
            self._all(node.orelse, place)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            self._with(node, place)
        elif isinstance(node, ast.Assign) and self._is_later(node.value) and isinstance(node.targets[0], ast.Name):
            return
        elif isinstance(node, ast.Compare):
            self._all((child for child in ast.iter_child_nodes(node) if not isinstance(child, _Words)), place)
        elif not isinstance(node, ast.Lambda):
            if isinstance(node, _Words):
                self._push_option(node, place)
            elif isinstance(node, ast.Attribute):
                self._property(node, place)
            for child in ast.iter_child_nodes(node):
                self._visit(child, place)

    def _push_option(self, words: ast.List | ast.Tuple, place: _Place) -> None:
        """The words of a command line that has `--push_to_hub` are handed to a parser or a process that pushes."""
        for word in words.elts:
            if isinstance(word, ast.Constant) and word.value in PUSH_OPTIONS:
                self._step(self._handed_call(word, ast.Call(func=word, args=[], keywords=[])), place)

    def _property(self, node: ast.Attribute, place: _Place) -> None:
        for function in self._methods_named.get(node.attr, ()):
            if any("property" in _last_name(decorator) for decorator in function.decorator_list):
                self._enter(function, place)

    def _in_loop(self, node: ast.For | ast.AsyncFor | ast.While, place: _Place) -> _Place:
        """A loop that sleeps and has a `try`, or goes through attempts, is a retry; any other goes through work."""
        inside = list(ast.walk(node))
        sleeps = any(isinstance(child, ast.Call) and _last_name(child.func) == "sleep" for child in inside)
        attempts = not isinstance(node, ast.While) and self._is_policy(node.iter, place.scope)
        if attempts or (sleeps and any(isinstance(child, ast.Try) for child in inside)):
            return replace(place, retried=True)
        return replace(place, looped=True)

    def _with(self, node: ast.With | ast.AsyncWith, place: _Place) -> None:
        for item in node.items:
            self._visit(item.context_expr, place)
            self._methods(item.context_expr, "__enter__", place)
        self._all(node.body, place)
        for item in node.items:
            self._methods(item.context_expr, "__exit__", place)

    def _call(self, node: ast.Call, place: _Place) -> None:
        values = _arguments(node)
        if _last_name(node.func) in {"endswith", "startswith"}:  # words that are looked for, not handed to anybody
            values = [value for value in values if not isinstance(value, _Words)]
        self._all((value for value in values if not self._is_later(value)), place)
        if isinstance(node.func, ast.Attribute):
            self._visit(node.func.value, place)
        elif isinstance(node.func, ast.Call) and not self._is_later(node.func):
            self._visit(node.func, place)
        name = dotted(node.func, self._names)
        own = self._own(node.func, place.scope)
        for function in own:
            self._enter(function, place)
        if not own and not self._is_alias(node.func, place.scope):
            self._step(node, place, name)
        elif not own:
            self._reference(node.func, node, place)
        self._framework(node.func, place)
        by_retry = replace(place, retried=True) if _is_retry(name) else place
        for key, value in _keyed(node):
            use = self._use(node, key, own, place.scope)
            inner = replace(by_retry, retried=by_retry.retried or bool(use))
            if key == _called_position(name) and _last_part(name) in _FOR_EACH:
                inner = replace(inner, looped=True)
            rest = _without(node, value) if use is not None else None
            self._handed_over(value, inner, rest)

    def _step(self, node: ast.Call, place: _Place, name: str = "") -> None:
        before = self.found.get(node)
        receiver = node.func.value if isinstance(node.func, ast.Attribute) else None
        maker = self._maker(receiver, place.scope) if receiver is not None else None
        name = name or (node.func.value if isinstance(node.func, ast.Constant) else dotted(node.func, self._names))
        self.found[node] = Step(
            name=name,
            node=node,
            looped=place.looped or (before is not None and before.looped),
            retried=place.retried and (before is None or before.retried),
            maker=maker,
            made_by=dotted(maker, self._names) if maker else "",
        )

    def _is_later(self, value: ast.AST) -> bool:
        """Tell whether the expression only says what is called later."""
        return isinstance(value, ast.Lambda) or (
            isinstance(value, ast.Call) and _last_name(value.func) == "partial" and bool(value.args)
        )

    def _is_alias(self, function: ast.AST, scope: ast.AST) -> bool:
        return (isinstance(function, ast.Call) and self._is_later(function)) or bool(self._aliased(function, scope))

    def _aliased(self, value: ast.AST, scope: ast.AST) -> list[ast.expr]:
        """Return the functions that a name stands for: `upload = api.upload_file`, a lambda, a partial."""
        if not isinstance(value, ast.Name):
            return []
        bound = self._bound(value, scope)
        return [one for one in bound if isinstance(one, ast.Attribute) or self._is_later(one)]

    def _bound(self, value: ast.AST, scope: ast.AST | None) -> list[ast.expr]:
        """Return what is assigned to a name in the innermost scope that does, or to an attribute anywhere."""
        if isinstance(value, ast.Attribute) and isinstance(value.value, ast.Name):
            return self._attributes.get(value.attr, [])
        while isinstance(value, ast.Name) and scope is not None:
            if found := self._values.get(scope, {}).get(value.id):
                return found
            if isinstance(scope, _FunctionNode) and value.id in _parameters(scope):
                return []
            scope = self._outer.get(scope)
        return []

    def _maker(self, value: ast.AST, scope: ast.AST) -> ast.Call | None:
        """Return the call that made the value of an expression."""
        for _ in range(_MOST_ASSIGNMENTS):
            while isinstance(value, (ast.Await, ast.Subscript)):
                value = value.value
            if isinstance(value, ast.Call):
                return value
            calls = [one for one in self._bound(value, scope) if not isinstance(one, ast.Constant)]
            if not calls:
                return None
            value = next((one for one in calls if isinstance(one, ast.Call)), calls[0])
        return None

    def _is_policy(self, value: ast.AST, scope: ast.AST) -> bool:
        """Tell whether the value is a retry policy, such as `tenacity.Retrying(...)` or a name for one."""
        maker = self._maker(value, scope)
        return maker is not None and _is_retry(dotted(maker, self._names))

    def _use(self, node: ast.Call, key: int | str, own: Sequence[_FunctionNode], scope: ast.AST) -> bool | None:
        """Say whether the function given as this argument is called: None when it is not, else whether it is tried again."""
        for function in own:
            parameter = _parameter_at(function, key, skip_first=function in self._class_of)
            use = self._parameter_use(function, parameter) if parameter else None
            if use is not None:
                return use or _is_retry(_last_name(node.func))
        name = dotted(node.func, self._names)
        if key != _called_position(name) and key not in _CALLED_KEYWORDS:
            return None
        if _is_retry(name) or self._is_policy(node.func, scope):
            return True
        return False if not own and _last_part(name) in _CALLERS else None

    def _parameter_use(self, function: _FunctionNode, parameter: str) -> bool | None:
        """Say whether the function calls its parameter: None when it does not, else whether it is tried again."""
        known = (function, parameter)
        if known not in self._uses:
            self._uses[known] = None
            uses = list(self._uses_within(function, parameter, function, self._retries(function)))
            self._uses[known] = any(uses) if uses else None
        return self._uses[known]

    def _uses_within(self, node: ast.AST, parameter: str, scope: ast.AST, retried: bool) -> Iterator[bool]:
        for child in ast.iter_child_nodes(node):
            inside = retried
            if isinstance(child, (ast.For, ast.AsyncFor, ast.While)):
                inside = retried or self._in_loop(child, _Place(scope)).retried
            elif isinstance(child, _FunctionNode):
                inside = retried or self._retries(child)
            elif isinstance(child, ast.Call):
                if isinstance(child.func, ast.Name) and child.func.id == parameter:
                    yield retried
                for key, value in _keyed(child):
                    if isinstance(value, ast.Name) and value.id == parameter:
                        use = self._use(child, key, self._own(child.func, scope), scope)
                        yield from () if use is None else (use or retried,)
                inside = retried or _is_retry(dotted(child.func, self._names)) or self._is_policy(child.func, scope)
            yield from self._uses_within(child, parameter, scope, inside)

    def _retries(self, function: _FunctionNode) -> bool:
        return any(_is_retry(dotted(item, self._names)) for item in function.decorator_list)

    def _own(self, function: ast.AST, scope: ast.AST) -> list[_FunctionNode]:
        if isinstance(function, ast.Name):
            if function.id in self._classes:
                return self._in_class(function.id, "__init__") + self._in_class(function.id, "__post_init__")
            found = self._visible(function.id, scope)
            return found or [
                method for name in self._instances(function, scope) for method in self._in_class(name, "__call__")
            ]
        # `super().__init__()` means one class, not every class that has one.
        if not isinstance(function, ast.Attribute) or function.attr.startswith("__"):
            return []
        return self._methods_of(function, scope)

    def _methods_of(self, function: ast.Attribute, scope: ast.AST) -> list[_FunctionNode]:
        """Return the methods that `x.name` can mean: of the class of `x` when it is known, else all of this name."""
        named = self._methods_named.get(function.attr, [])
        if not named:
            return []
        around = list(self._around(scope))
        own_class = next((self._class_of[one] for one in around if one in self._class_of), None)
        if isinstance(function.value, ast.Name) and function.value.id in {"self", "cls"} and own_class:
            return self._in_class(own_class.name, function.attr) or named
        classes = self._instances(function.value, scope)
        if classes:
            return [method for name in classes for method in self._in_class(name, function.attr)]
        maker = self._maker(function.value, scope)
        if maker is not None and self._is_foreign(maker.func):
            return []
        return [method for method in named if method not in around]

    def _is_foreign(self, function: ast.AST) -> bool:
        """Tell whether a function is imported, or Python's own."""
        while not isinstance(function, ast.Name):
            if not isinstance(function, (ast.Attribute, ast.Call)):
                return False
            function = function.value if isinstance(function, ast.Attribute) else function.func
        return function.id in self._names or hasattr(builtins, function.id)

    def _around(self, scope: ast.AST | None) -> Iterator[ast.AST]:
        while scope is not None:
            yield scope
            scope = self._outer.get(scope)

    def _instances(self, value: ast.AST, scope: ast.AST) -> list[str]:
        """Return the script's own classes that the value is known to be an instance of."""
        made = [value] if isinstance(value, ast.Call) else self._bound(value, scope)
        return [
            one.func.id
            for one in made
            if isinstance(one, ast.Call) and isinstance(one.func, ast.Name) and one.func.id in self._classes
        ]

    def _visible(self, name: str, scope: ast.AST | None) -> list[_FunctionNode]:
        """Return the function that `name` means in `scope`, if it means one: the innermost that defines it."""
        while scope is not None:
            if found := self._scopes.get(scope, {}).get(name):
                return [found]
            if isinstance(scope, _FunctionNode) and name in _parameters(scope):
                return []
            scope = self._outer.get(scope)
        return []

    def _handed_over(self, value: ast.AST, place: _Place, rest: ast.Call | None) -> None:
        """Follow a function given as an argument. One of the script is taken to be called by whoever gets it.

        `rest` is the call that hands it over, without it, when that is known to call it.
        """
        if isinstance(value, ast.Lambda):
            self._visit(value.body, place)
        elif self._is_later(value):
            self._all((one for one in _arguments(value)[1:] if not self._is_later(one)), place)
            self._handed_over(value.args[0], place, _without(value, value.args[0]))
        elif isinstance(value, ast.Attribute) or (isinstance(value, ast.Name) and value.id not in self._classes):
            own = self._own(value, place.scope)
            for function in own:
                self._enter(function, place)
            if rest is not None and not own:
                self._reference(value, rest, place)

    def _reference(self, value: ast.expr, call: ast.Call, place: _Place) -> None:
        """Note the call of a function that the script does not define, through a name or by a helper."""
        aliased = [value] if self._is_later(value) else self._aliased(value, place.scope)
        for one in aliased:
            self._handed_over(one, place, call)
        known = isinstance(value, ast.Attribute) or (isinstance(value, ast.Name) and value.id in self._names)
        if known and not aliased:
            self._step(self._handed_call(value, ast.Call(func=value, args=call.args, keywords=call.keywords)), place)

    def _handed_call(self, value: ast.expr, call: ast.Call) -> ast.Call:
        """Return one and the same call for each place in the source."""
        return self._handed.setdefault(value, ast.copy_location(call, value))

    def _framework(self, function: ast.AST, place: _Place) -> None:
        """The methods of an object whose class extends one of a library are called by that library, many times."""
        if isinstance(function, ast.Name) and function.id in self._classes and self._extends_library(function.id):
            for item in self._classes[function.id].body:
                if isinstance(item, _FunctionNode) and not item.name.startswith("_"):
                    self._enter(item, replace(place, looped=True))

    def _extends_library(self, name: str) -> bool:
        bases = [_last_name(base) for base in self._classes[name].bases]
        return any(
            base
            and base not in self._classes
            and base not in _PASSIVE_BASES
            and not base.endswith(("Error", "Exception"))
            for base in bases
        ) or any(base in self._classes and base != name and self._extends_library(base) for base in bases)

    def _methods(self, expression: ast.AST, method: str, place: _Place) -> None:
        for name in self._instances(expression, place.scope):
            for function in self._in_class(name, method):
                self._enter(function, place)

    def _in_class(self, name: str, method: str) -> list[_FunctionNode]:
        """Return the method of this name that the class has or inherits from another class of the script."""
        seen: set[str] = set()
        waiting = [name]
        while waiting and (one := waiting.pop(0)) is not None:
            if one in seen or one not in self._classes:
                continue
            seen.add(one)
            body = self._classes[one].body
            if found := [item for item in body if isinstance(item, _FunctionNode) and item.name == method]:
                return found
            waiting += [_last_name(base) for base in self._classes[one].bases]
        return []

    def _enter(self, function: _FunctionNode, place: _Place) -> None:
        inside = replace(place, scope=function, retried=place.retried or self._retries(function))
        known = (function, inside.looped, inside.retried)
        if known not in self._open:
            self._open.add(known)
            self._all(function.body, inside)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements directly inside a statement (those of handlers and cases too)."""
    for name in ("body", "orelse", "finalbody"):
        value = getattr(node, name, None)
        if isinstance(value, list):
            yield from value
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield from part.body


def _bindings(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Yield (target, value) of what a statement assigns."""
    if isinstance(node, ast.Assign):
        yield from ((target, node.value) for target in node.targets)
    elif isinstance(node, ast.AnnAssign) and node.value is not None:
        yield node.target, node.value
    elif isinstance(node, (ast.With, ast.AsyncWith)):
        yield from ((item.optional_vars, item.context_expr) for item in node.items if item.optional_vars)


def _keyed(call: ast.Call) -> list[tuple[int | str, ast.expr]]:
    """Return the arguments by position and by keyword; what follows a `*` has no certain position."""
    placed = [(number, value) for number, value in enumerate(call.args) if not isinstance(value, ast.Starred)]
    return [*placed, *((keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg)]


def _without(call: ast.Call, value: ast.expr) -> ast.Call:
    return ast.Call(
        func=call.func,
        args=[one for one in call.args if one is not value],
        keywords=[one for one in call.keywords if one.value is not value],
    )


def _called_position(name: str) -> int:
    return _CALLERS.get(_last_part(name), 0)


def _parameter_at(function: _FunctionNode, key: int | str, *, skip_first: bool) -> str | None:
    """Return the parameter that an argument is bound to; None for one that `*args` or `**kwargs` takes."""
    arguments = function.args
    placed = [one.arg for one in (*arguments.posonlyargs, *arguments.args)][skip_first:]
    if isinstance(key, str):
        return key if key in {*placed, *(one.arg for one in arguments.kwonlyargs)} else None
    return placed[key] if key < len(placed) else None


def _first_part(name: str) -> str:
    return name.partition(".")[0]


def _last_part(name: str) -> str:
    return name.removesuffix("()").rpartition(".")[2]


def _last_name(function: ast.AST) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _parameters(function: _FunctionNode) -> set[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {argument.arg for argument in named if argument is not None}


def _is_retry(name: str) -> bool:
    return any(word in name.lower() for word in ("retry", "retries", "backoff", "attempt"))
