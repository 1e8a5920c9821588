"""How a block of statements ends: whether every path through it raises, exits, or returns an exit code other than 0."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from jobshelf.vet.subject import sort_nodes

FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef
_EXITS = frozenset({"SystemExit", "_exit", "abort", "exit", "fail", "quit"})
_LIBRARIES = frozenset({"ctx", "os", "parser", "pytest", "sys"})
_NEVER = frozenset({"Never", "NoReturn"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Endings:
    """What a script's own functions mean for how a block ends.

    `never_return` are the names of functions and methods whose every path raises or exits; `exit_codes` are the functions whose return
    value becomes the exit code of the process; `constants` are the module's whole numbers by name.
    """

    never_return: frozenset[str]
    exit_codes: frozenset[str]
    constants: dict[str, int]

    def fails(self, body: Sequence[ast.stmt], function: str | None) -> bool:
        """Tell whether every path through `body`, a part of the function of this name, ends in a failure that is not hidden.

        A failure is an exception, a call that never returns, or, in a function that returns an exit code, a code other than 0.
        """
        returns_code = function in self.exit_codes
        returned = (node for node in _own_nodes(body) if isinstance(node, ast.Return))
        leaves_loop = any(_leaves_loop(statement) for statement in body)
        return (
            _stops(body, self.never_return)
            and not leaves_loop
            and all(self._never(node) or (returns_code and self._is_failure(node.value)) for node in returned)
        )

    def _never(self, node: ast.Return) -> bool:
        return node.value is not None and _never_returns(node.value, self.never_return)

    def _is_failure(self, value: ast.expr | None) -> bool:
        if isinstance(value, ast.Name):
            return self.constants.get(value.id, 0) != 0
        return isinstance(value, ast.Constant) and isinstance(value.value, int) and value.value != 0


@lru_cache(maxsize=4)
def endings(tree: ast.Module) -> Endings:
    """Read the functions and constants of a script."""
    nodes = sort_nodes(tree).by_class
    functions = [node for kind in (ast.FunctionDef, ast.AsyncFunctionDef) for node in nodes.get(kind, ())]
    return Endings(
        never_return=_never_returning(functions),
        exit_codes=_exit_codes(nodes.get(ast.Call, ()), functions),
        constants=_constants(tree),
    )


def _never_returning(functions: Sequence[FunctionNode]) -> frozenset[str]:
    """Return the names whose every definition raises or exits on each path."""
    named: dict[str, list[FunctionNode]] = {}
    for function in functions:
        named.setdefault(function.name, []).append(function)
    known: frozenset[str] = frozenset()
    while added := {
        name
        for name, group in named.items()
        if name not in known and all(_says_never(one) or _always_stops(one, known) for one in group)
    }:
        known |= added
    return known


def _says_never(function: FunctionNode) -> bool:
    return function.returns is not None and ast.unparse(function.returns).rpartition(".")[2].strip("'\"") in _NEVER


def _always_stops(function: FunctionNode, known: frozenset[str]) -> bool:
    if function.decorator_list or not _stops(function.body, known):
        return False
    return not any(isinstance(node, (ast.Return, ast.Yield, ast.YieldFrom)) for node in _own_nodes(function.body))


def _exit_codes(calls: Sequence[ast.Call], functions: Sequence[FunctionNode]) -> frozenset[str]:
    """Return `main` and the functions whose value is handed to SystemExit or sys.exit, or returned by one of these."""
    handed = (value for call in calls if _is_exit(call.func) for value in call.args)
    known = {"main", *_called(handed)}
    while (
        added := {
            name
            for function in functions
            if function.name in known
            for node in _own_nodes(function.body)
            if isinstance(node, ast.Return)
            for name in _called([node.value])
        }
        - known
    ):
        known |= added
    return frozenset(known)


def _called(values: Iterable[ast.expr | None]) -> Iterator[str]:
    for value in values:
        call = value.value if isinstance(value, ast.Await) else value
        if isinstance(call, ast.Call):
            yield _last_name(call.func)


def _constants(tree: ast.Module) -> dict[str, int]:
    """Return the whole numbers of the module, `A = 1` and `A, B = 1, 2`, by name."""
    found: dict[str, int] = {}
    for node in tree.body:
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
            names = target.elts if isinstance(target, ast.Tuple) else [target]
            for name, value in zip(names, values, strict=False):
                if isinstance(name, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, int):
                    found[name.id] = value.value
    return found


def _stops(body: Sequence[ast.stmt], never: frozenset[str]) -> bool:
    """Tell whether control never reaches the end of `body`."""
    return any(_statement_stops(statement, never) for statement in body)


def _statement_stops(node: ast.stmt, never: frozenset[str]) -> bool:
    if isinstance(node, (ast.Raise, ast.Return)):
        return True
    if isinstance(node, ast.Expr):
        return _never_returns(node.value, never)
    if isinstance(node, ast.If):
        return _stops(node.body, never) and _stops(node.orelse, never)
    if isinstance(node, (ast.With, ast.AsyncWith)):
        suppresses = any("suppress" in ast.unparse(item.context_expr) for item in node.items)
        return not suppresses and _stops(node.body, never)
    if isinstance(node, (ast.Try, ast.TryStar)):
        handled = all(_stops(handler.body, never) for handler in node.handlers)
        return _stops(node.finalbody, never) or (handled and _stops([*node.body, *node.orelse], never))
    if isinstance(node, ast.Match):
        return _is_exhaustive(node) and all(_stops(case.body, never) for case in node.cases)
    return False


def _is_exhaustive(node: ast.Match) -> bool:
    last = node.cases[-1]
    return last.guard is None and isinstance(last.pattern, ast.MatchAs) and last.pattern.pattern is None


def _never_returns(value: ast.expr, never: frozenset[str]) -> bool:
    call = value.value if isinstance(value, ast.Await) else value
    if not isinstance(call, ast.Call):
        return False
    if isinstance(call.func, ast.Name):
        return call.func.id in never or call.func.id in {"exit", "quit"}
    if not isinstance(call.func, ast.Attribute):
        return False
    owner = _last_name(call.func.value)
    return (owner in {"self", "cls"} and call.func.attr in never) or (
        call.func.attr in _EXITS | {"error"} and (owner in _LIBRARIES or owner.endswith("parser"))
    )


def _is_exit(function: ast.expr) -> bool:
    return _last_name(function) in {"SystemExit", "_exit", "exit"}


def _leaves_loop(statement: ast.stmt) -> bool:
    """Tell whether the statement has a `break` or `continue` of a loop around it."""
    if isinstance(statement, (ast.Break, ast.Continue)):
        return True
    if isinstance(statement, (ast.For, ast.AsyncFor, ast.While, FunctionNode, ast.ClassDef)):
        return False
    return any(_leaves_loop(child) for child in ast.iter_child_nodes(statement) if not isinstance(child, ast.expr))


def _own_nodes(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield the nodes of `body` and all inside them, but not those of functions and classes defined there."""
    waiting = list(body)
    while waiting:
        node = waiting.pop()
        if not isinstance(node, (FunctionNode, ast.ClassDef, ast.Lambda)):
            yield node
            waiting.extend(ast.iter_child_nodes(node))


def _last_name(function: ast.AST) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
