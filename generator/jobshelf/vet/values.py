"""Where values go: what a name stands for, and which expressions hold a secret, whatever it is called on the way.

Names are looked up in the function around them and outwards; assignments count in any order, so a name holds a secret
when any of its assignments does. A value passes through slices, formatting, concatenation, methods of text, the usual
encoders, containers, attributes, and the script's own functions.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jobshelf.vet import flow

if TYPE_CHECKING:
    from jobshelf.vet.subject import Subject

_Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
# Methods of text, bytes and containers whose result still has the value, or a part of it, in it.
_KEEPS = frozenset(
    {"capitalize", "casefold", "center", "copy", "decode", "encode", "expandtabs", "format", "format_map", "get", "hex"}
    | {"items", "join", "ljust", "lower", "lstrip", "partition", "pop", "removeprefix", "removesuffix", "replace"}
    | {"rjust", "rpartition", "rsplit", "rstrip", "split", "splitlines", "strip", "swapcase", "title", "upper"}
    | {"values", "zfill"}
)
# Functions whose result has what they are given in it.
_KEYS = frozenset({"enumerate", "iter", "list", "map", "next", "reversed", "set", "sorted", "tuple"})
_PASSES = frozenset(
    {"ascii", "bytearray", "bytes", "dict", "enumerate", "format", "iter", "list", "map", "next", "repr", "reversed"}
    | {"set", "sorted", "str", "tuple", "zip"}
    | {"base64.b16encode", "base64.b32encode", "base64.b64encode", "base64.b85encode", "base64.urlsafe_b64encode"}
    | {"base64.standard_b64encode", "binascii.b2a_base64", "binascii.hexlify", "codecs.encode", "copy.copy"}
    | {"copy.deepcopy", "dataclasses.asdict", "json.dumps", "os.fsencode", "pprint.pformat", "shlex.join"}
    | {"shlex.quote", "typing.cast", "urllib.parse.quote", "urllib.parse.quote_plus", "urllib.parse.urlencode", "vars"}
    | {"yaml.dump", "yaml.safe_dump"}
)
_ROUNDS = 8


@dataclass(frozen=True, slots=True)
class _Name:
    """A name in the scope that binds it."""

    scope: ast.AST
    name: str


class Values:
    """The names of one script and what is assigned to them."""

    def __init__(self, subject: Subject, tree: ast.Module) -> None:
        self.subject, self._module = subject, tree
        self.imports = flow.imported_names(subject.nodes(ast.Import, ast.ImportFrom))
        self.functions = {node.name: node for node in subject.nodes(ast.FunctionDef, ast.AsyncFunctionDef)}
        self.called = {call.func.id for call in subject.nodes(ast.Call) if isinstance(call.func, ast.Name)}
        self.assigned: defaultdict[_Name, list[ast.expr]] = defaultdict(list)
        self.attributes: defaultdict[str, list[ast.expr]] = defaultdict(list)
        self.items: defaultdict[_Name, list[tuple[ast.expr, ast.expr]]] = defaultdict(list)
        self._bound: defaultdict[ast.AST, set[str]] = defaultdict(set)
        self._scopes: dict[ast.AST, ast.AST] = {}
        self._places: dict[ast.Name, _Name] = {}
        self._dotted: dict[ast.AST, str] = {}
        for function in subject.nodes(ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda):
            self._bound[function] |= {argument.arg for argument in _arguments(function)}
        for target, value in self._assignments():
            self._assign(target, value)
        self._places.clear()  # some were looked up before everything was bound

    def scope(self, node: ast.AST) -> ast.AST:
        """Return the function around a node; the module where there is none."""
        passed, scope = [], self._scopes.get(node)
        while scope is None:
            passed.append(node)
            around = self.subject.parent(node)
            scope = around if around is None or isinstance(around, _Function) else self._scopes.get(around)
            if around is None:
                scope = self._module
            node = around
        self._scopes.update(dict.fromkeys(passed, scope))
        return scope

    def place(self, name: ast.Name) -> _Name:
        """Return the name in the innermost scope that binds it; in the module's when none does."""
        if name not in self._places:
            scope = self.scope(name)
            while scope is not self._module and name.id not in self._bound[scope]:
                scope = self.scope(scope)
            self._places[name] = _Name(scope, name.id)
        return self._places[name]

    def constant(self, node: ast.AST) -> ast.AST:
        """Return the one expression that a name is assigned, else the node itself."""
        if isinstance(node, ast.Name):
            values = self.assigned.get(self.place(node), [])
            if len(values) == 1 and values[0] is not node:
                return values[0]
        return node

    def dotted(self, node: ast.AST) -> str:
        """Return the dotted name of an expression, through assignments, `getattr` and imports by text."""
        if node not in self._dotted:
            self._dotted[node] = self._spelled(node, 0)
        return self._dotted[node]

    def _spelled(self, node: ast.AST, depth: int) -> str:
        if isinstance(node, ast.Name) and node.id not in self.imports and depth < _ROUNDS:
            value = self.constant(node)
            if isinstance(value, ast.Name | ast.Attribute | ast.Call) and value is not node:
                return self._spelled(value, depth + 1)
            return node.id
        if isinstance(node, ast.Attribute):
            return f"{self._spelled(node.value, depth + 1)}.{node.attr}"
        if isinstance(node, ast.Call):
            name = self._spelled(node.func, depth + 1)
            words = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            if name == "getattr" and words:
                return f"{self._spelled(node.args[0], depth + 1)}.{words[0]}"
            if name in {"__import__", "importlib.import_module"} and words:
                return words[0]
            return f"{name}()"
        return flow.dotted(node, self.imports)

    def _assignments(self) -> Iterator[tuple[ast.expr, ast.expr]]:
        for node in self.subject.nodes(ast.Assign):
            yield from ((target, node.value) for target in node.targets)
        for node in self.subject.nodes(ast.AnnAssign, ast.AugAssign, ast.NamedExpr):
            if node.value is not None:
                yield node.target, node.value
        for node in self.subject.nodes(ast.For, ast.AsyncFor):
            yield node.target, node.iter

    def _assign(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            same = isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts)
            for number, part in enumerate(target.elts):
                self._assign(part, value.elts[number] if same else value)
        elif isinstance(target, ast.Name):
            scope = self.scope(target)
            self._bound[scope].add(target.id)
            self.assigned[_Name(scope, target.id)].append(value)
        elif isinstance(target, ast.Attribute):
            self.attributes[target.attr].append(value)
        elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
            self.items[self.place(target.value)].append((target.slice, value))


class Holders:
    """The expressions of a script that hold what a source gives.

    `source` tells whether an expression is such a value by itself. With `whole`, only the value as a whole counts: one
    item of it does not (one variable is not the environment).
    """

    def __init__(self, values: Values, source: Callable[[ast.expr], bool], *, whole: bool = False) -> None:
        self._values, self._source, self._whole = values, source, whole
        self._names: set[_Name] = set()
        self._attributes: set[str] = set()
        self._returning: set[str] = set()
        nodes = values.subject.nodes(ast.Attribute, ast.Call, ast.Name, ast.Subscript)
        self._never = not any(map(source, nodes))
        while not self._never and self._spread():
            pass

    def __call__(self, node: ast.AST | None) -> bool:
        """Tell whether the expression holds such a value, or a part of it."""
        if self._never or not isinstance(node, ast.expr):
            return False
        if self._source(node):
            return True
        holds = _HOLDS.get(type(node))
        return holds is not None and holds(self, node)

    def any(self, nodes: list[ast.expr]) -> ast.expr | None:
        """Return the first expression that holds such a value."""
        return next((node for node in nodes if self(node)), None)

    def _spread(self) -> bool:
        """Follow the values one assignment further; tell whether that found anything."""
        before = (len(self._names), len(self._attributes), len(self._returning))
        values = self._values
        self._names |= {name for name, assigned in values.assigned.items() if any(map(self, assigned))}
        self._names |= {name for name, items in values.items.items() if any(self(value) for _, value in items)}
        self._attributes |= {name for name, assigned in values.attributes.items() if any(map(self, assigned))}
        for call in values.subject.nodes(ast.Call):
            self._enter(call)
        for node in values.subject.nodes(ast.Return):
            scope = values.scope(node)
            if self(node.value) and isinstance(scope, ast.FunctionDef | ast.AsyncFunctionDef):
                self._returning.add(scope.name)
        return before != (len(self._names), len(self._attributes), len(self._returning))

    def _enter(self, call: ast.Call) -> None:
        """A parameter of one of the script's own functions holds what it is called with."""
        function = self._values.functions.get(call.func.id) if isinstance(call.func, ast.Name) else None
        if function is None:
            return
        placed = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        given = [*zip(placed, call.args, strict=False), *((one.arg, one.value) for one in call.keywords if one.arg)]
        self._names |= {_Name(function, name) for name, value in given if name is not None and self(value)}

    def _name(self, node: ast.Name) -> bool:
        return self._values.place(node) in self._names

    def _attribute(self, node: ast.Attribute) -> bool:
        return node.attr in self._attributes

    def _subscript(self, node: ast.Subscript) -> bool:
        if self._whole or not self(node.value):
            return False
        known = self._known_items(node.value)
        if not known or not isinstance(node.slice, ast.Constant):
            return True
        wanted = node.slice.value
        found = [value for key, value in known if isinstance(key, ast.Constant) and key.value == wanted]
        return any(map(self, found))

    def _known_items(self, node: ast.expr) -> list[tuple[ast.expr | None, ast.expr]]:
        """Return the keys and values of a dict that is written out; none when it comes from elsewhere."""
        if isinstance(node, ast.Dict):
            return list(zip(node.keys, node.values, strict=True))
        if not isinstance(node, ast.Name):
            return []
        place = self._values.place(node)
        assigned = self._values.assigned.get(place, [])
        if not assigned or not all(isinstance(value, ast.Dict) for value in assigned):
            return []
        written = [item for value in assigned for item in self._known_items(value)]
        return [*written, *self._values.items.get(place, [])]

    def _call(self, node: ast.Call) -> bool:
        given = [*node.args, *(one.value for one in node.keywords)]
        if isinstance(node.func, ast.Attribute) and node.func.attr in _KEEPS:
            if self(node.func.value):
                return not (self._whole and node.func.attr in {"get", "pop"})
            return node.func.attr in {"format", "format_map", "join"} and self.any(given) is not None
        name = self._values.dotted(node.func)
        if name in self._returning:
            return True
        if self._whole and name.removeprefix("builtins.") in _KEYS:
            given = [one for one in given if isinstance(one, ast.Call)]  # of a mapping itself, only its names are kept
        return name.removeprefix("builtins.") in _PASSES and self.any(given) is not None

    def _parts(self, node: ast.expr) -> bool:
        return any(self(child) for child in ast.iter_child_nodes(node))

    def _and_or(self, node: ast.BoolOp) -> bool:
        return self(node.values[-1]) if isinstance(node.op, ast.And) else any(map(self, node.values))

    def _choice(self, node: ast.IfExp) -> bool:
        return self(node.body) or self(node.orelse)

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp) -> bool:
        through = isinstance(node.elt, ast.Name | ast.Tuple | ast.JoinedStr)
        return self(node.elt) or (through and any(self(one.iter) for one in node.generators))


_HOLDS: dict[type[ast.expr], Callable[[Holders, ast.expr], bool]] = {
    ast.Attribute: Holders._attribute,
    ast.Await: Holders._parts,
    ast.BinOp: Holders._parts,
    ast.BoolOp: Holders._and_or,
    ast.Call: Holders._call,
    ast.Dict: Holders._parts,
    ast.FormattedValue: Holders._parts,
    ast.GeneratorExp: Holders._comprehension,
    ast.IfExp: Holders._choice,
    ast.JoinedStr: Holders._parts,
    ast.List: Holders._parts,
    ast.ListComp: Holders._comprehension,
    ast.Name: Holders._name,
    ast.NamedExpr: Holders._parts,
    ast.Set: Holders._parts,
    ast.SetComp: Holders._comprehension,
    ast.Starred: Holders._parts,
    ast.Subscript: Holders._subscript,
    ast.Tuple: Holders._parts,
}


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> Iterator[ast.arg]:
    arguments = function.args
    yield from (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
    yield from (one for one in (arguments.vararg, arguments.kwarg) if one is not None)
