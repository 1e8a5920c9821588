"""The order in which a script calls the outside world, read from its tree: every call of `main`, its own functions opened up.

This is what static rules judge order by, and what stub rules fall back on when a run could not decide.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

_FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One call of something that the script does not define.

    `name` is dotted and resolved through the imports where it can be (`datasets.load_dataset`, `api.upload_file`); `looped` says
    whether it happens once for each item of some work, `retried` whether the script tries it again when it fails.
    """

    name: str
    node: ast.Call
    looped: bool = False
    retried: bool = False

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


def is_work(name: str) -> bool:
    """Tell whether a call of this dotted name costs time, traffic or money: it loads a model or data, or asks a server."""
    parts = name.replace("()", "").split(".")
    return parts[-1] in _WORK or (parts[0] in _WORK_PACKAGES and parts[-1] in _WORK_CALLS)


@lru_cache(maxsize=4)
def steps(tree: ast.Module) -> tuple[Step, ...]:
    """Return the outside calls in the order of a first run; a function that is never reached adds nothing."""
    return tuple(_Walker(tree).found)


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
    """Walks the tree in the order of evaluation, opening each of the script's own functions the first time it is called."""

    def __init__(self, tree: ast.Module) -> None:
        self.found: list[Step] = []
        self._imports: list[ast.Import | ast.ImportFrom] = []
        self._classes: dict[str, ast.ClassDef] = {}
        self._methods_named: dict[str, list[_FunctionNode]] = {}
        self._scopes: dict[ast.AST, dict[str, _FunctionNode]] = {}
        self._outer: dict[ast.AST, ast.AST] = {}
        self._open: set[ast.AST] = set()
        self._index(tree, tree)
        self._names = imported_names(self._imports)
        self._all(tree.body, _Place(tree))

    def _index(self, node: ast.AST, scope: ast.AST) -> None:
        """Note the imports, which scope defines each function, and which class each method; only statements hold them."""
        for child in _statements(node):
            inner = scope
            if isinstance(child, ast.ClassDef):
                self._classes[child.name] = child
                for item in child.body:
                    if isinstance(item, _FunctionNode):
                        self._methods_named.setdefault(item.name, []).append(item)
            elif isinstance(child, _FunctionNode):
                if not isinstance(node, ast.ClassDef):
                    self._scopes.setdefault(scope, {})[child.name] = child
                self._outer[child] = scope
                inner = child
            elif isinstance(child, (ast.Import, ast.ImportFrom)):
                self._imports.append(child)
            self._index(child, inner)

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
        elif not isinstance(node, ast.Lambda):
            for child in ast.iter_child_nodes(node):
                self._visit(child, place)

    def _in_loop(self, node: ast.For | ast.AsyncFor | ast.While, place: _Place) -> _Place:
        """A loop that sleeps and has a `try` is a retry; any other goes through work."""
        inside = list(ast.walk(node))
        sleeps = any(isinstance(child, ast.Call) and _last_name(child.func) == "sleep" for child in inside)
        if sleeps and any(isinstance(child, ast.Try) for child in inside):
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
        values = [*node.args, *(keyword.value for keyword in node.keywords)]
        self._all((value for value in values if not isinstance(value, ast.Lambda)), place)
        if isinstance(node.func, ast.Attribute):
            self._visit(node.func.value, place)
        name = dotted(node.func, self._names)
        own = self._own(node.func, place.scope)
        for function in own:
            self._enter(function, place)
        if not own:
            self.found.append(Step(name=name, node=node, looped=place.looped, retried=place.retried))
        inner = replace(place, retried=True) if _is_retry(name) else place
        for value in values:
            self._handed_over(value, inner)

    def _own(self, function: ast.AST, scope: ast.AST) -> list[_FunctionNode]:
        if isinstance(function, ast.Name):
            if function.id in self._classes:
                return self._in_class(function.id, "__init__") + self._in_class(function.id, "__post_init__")
            return self._visible(function.id, scope)
        # `super().__init__()` means one class, not every class that has one.
        if not isinstance(function, ast.Attribute) or function.attr.startswith("__"):
            return []
        return self._methods_named.get(function.attr, [])

    def _visible(self, name: str, scope: ast.AST | None) -> list[_FunctionNode]:
        """Return the function that `name` means in `scope`, if it means one: the innermost that defines it."""
        while scope is not None:
            if found := self._scopes.get(scope, {}).get(name):
                return [found]
            if isinstance(scope, _FunctionNode) and name in _parameters(scope):
                return []
            scope = self._outer.get(scope)
        return []

    def _handed_over(self, value: ast.AST, place: _Place) -> None:
        """A lambda or a function of the script given as an argument is taken to be called by whoever gets it."""
        if isinstance(value, ast.Lambda):
            self._visit(value.body, place)
        elif isinstance(value, ast.Attribute) or (isinstance(value, ast.Name) and value.id not in self._classes):
            for function in self._own(value, place.scope):
                self._enter(function, place)

    def _methods(self, expression: ast.AST, method: str, place: _Place) -> None:
        if isinstance(expression, ast.Call) and isinstance(expression.func, ast.Name):
            for function in self._in_class(expression.func.id, method):
                self._enter(function, place)

    def _in_class(self, name: str, method: str) -> list[_FunctionNode]:
        body = self._classes[name].body if name in self._classes else []
        return [item for item in body if isinstance(item, _FunctionNode) and item.name == method]

    def _enter(self, function: _FunctionNode, place: _Place) -> None:
        if function in self._open:
            return
        self._open.add(function)
        retried = place.retried or any(_is_retry(dotted(item, self._names)) for item in function.decorator_list)
        self._all(function.body, replace(place, scope=function, retried=retried))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the statements directly inside a statement (those of handlers and cases too)."""
    for name in ("body", "orelse", "finalbody"):
        value = getattr(node, name, None)
        if isinstance(value, list):
            yield from value
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        yield from part.body


def _last_name(function: ast.AST) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _parameters(function: _FunctionNode) -> set[str]:
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    return {argument.arg for argument in named if argument is not None}


def _is_retry(name: str) -> bool:
    return any(word in name.lower() for word in ("retry", "retries", "backoff", "attempt"))
