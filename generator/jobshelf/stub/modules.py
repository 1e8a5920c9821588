"""Stand-ins for everything that a script imports and that is neither the standard library nor a light CLI library.

A stub answers every question in some way, says so in the trace (`guess`) when the answer may be wrong, and records every call.
"""

from __future__ import annotations

import dataclasses
import importlib.machinery
import json
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from inspect import signature
from itertools import pairwise
from typing import Any, ClassVar

from jobshelf.stub.trace import Trace

CLI_LIBRARIES = frozenset({"click", "cyclopts", "rich", "rich_click", "typer", "tyro"})
_THEIR_DEPENDENCIES = frozenset(
    {
        "annotated_doc",
        "annotated_types",
        "attr",
        "attrs",
        "colorama",
        "docstring_parser",
        "docutils",
        "markdown_it",
        "mdurl",
        "pydantic",
        "pydantic_core",
        "pygments",
        "rich_rst",
        "shellingham",
        "shtab",
        "typeguard",
        "typing_extensions",
        "typing_inspection",
    }
)
REAL = CLI_LIBRARIES | _THEIR_DEPENDENCIES
_ERROR_ENDINGS = ("Error", "Exception", "Warning", "Interrupt", "Refused", "NotFound")
_FACTORIES = frozenset({"map", "filter", "apply", "submit", "map_elements", "map_batches", "register", "schedule"})
# Which call the function that they are given; a run with a token follows them, so that what the function does is seen.
_APPLIERS = frozenset({"apply", "filter", "from_generator", "map", "map_batches", "map_elements"})
_PARSERS = frozenset({"HfArgumentParser", "TrlParser"})
_STUB_VERSION = "0.0.0"
_SOME_TEXT = "user/name"


class Stub:
    """A value of a stubbed module: any attribute, any call, any operator gives another stub."""

    __hash__ = object.__hash__
    trace: ClassVar[Trace]
    token: ClassVar[str | None] = None

    def __init__(self, name: str) -> None:
        self.stub_name = name
        self.__module__ = _module_of(name)

    def __getattr__(self, name: str) -> object:
        if name.startswith("__") or name == "stub_name":
            raise AttributeError(name)
        made = member(f"{self.stub_name}.{name}")
        self.__dict__[name] = made
        return made

    def __call__(self, *arguments: object, **keywords: object) -> object:
        self.trace.call(self.stub_name, *arguments, **keywords)
        made = f"{self.stub_name}()"
        last = self.stub_name.rpartition(".")[2]
        if last in _PARSERS:
            return StubParser(made, arguments[:1] or tuple(keywords.values()))
        if self.token and last in _APPLIERS:
            call_through((*arguments, *keywords.values()), Stub(f"{made}[]"))
        if len(arguments) == 1 and not keywords and last not in _FACTORIES and not last[:1].isupper():
            (argument,) = arguments
            if isinstance(argument, types.FunctionType):
                return Decorated(made, argument)
            if isinstance(argument, type):
                return argument
        return Stub(made)

    def __mro_entries__(self, bases: tuple[object, ...]) -> tuple[type, ...]:
        return (_base(self.stub_name),)

    def __instancecheck__(self, instance: object) -> bool:
        return _guessed(self, "isinstance", isinstance(instance, Stub))

    def __subclasscheck__(self, subclass: type) -> bool:
        return _guessed(self, "issubclass", False)

    def __repr__(self) -> str:
        return f"<{self.stub_name}>"

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __fspath__(self) -> str:
        return self.stub_name.replace("/", "_")

    def __bool__(self) -> bool:
        return _guessed(self, "bool", True)

    def __len__(self) -> int:
        return _guessed(self, "len", 1)

    def __index__(self) -> int:
        return _guessed(self, "int", 1)

    def __int__(self) -> int:
        return _guessed(self, "int", 1)

    def __float__(self) -> float:
        return _guessed(self, "float", 1.0)

    def __contains__(self, item: object) -> bool:
        return _guessed(self, "in", True)

    def __iter__(self) -> Iterator[Any]:
        yield _guessed(self, "iter", Stub(f"{self.stub_name}[]"))
        if self.token and self.stub_name.endswith(".items()[]"):
            yield Stub(f"{self.stub_name}[]")

    def __next__(self) -> object:
        return _guessed(self, "next", Stub(f"{self.stub_name}[]"))

    def __getitem__(self, key: object) -> Stub:
        return Stub(f"{self.stub_name}[]")

    def __setitem__(self, key: object, value: object) -> None:
        return None

    def __delitem__(self, key: object) -> None:
        return None

    def __eq__(self, other: object) -> object:
        return self is other or _guessed(self, "==", False)

    def __ne__(self, other: object) -> object:
        return self is not other and _guessed(self, "!=", True)

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    async def __aenter__(self) -> Stub:
        return self

    async def __aexit__(self, *error: object) -> None:
        return None

    def __await__(self) -> Iterator[Any]:
        return self
        yield

    async def __aiter__(self) -> object:
        yield _guessed(self, "iter", Stub(f"{self.stub_name}[]"))


# What a script that reads the type hints of a stub finds: none.
Stub.__annotations__ = {}


class Decorated(Stub):
    """What a stubbed decorator returns: called, it runs the function that it decorates."""

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        super().__init__(name)
        self.function = function
        self.__wrapped__ = function
        self.__doc__ = function.__doc__
        self.__name__ = function.__name__

    def __call__(self, *arguments: object, **keywords: object) -> object:
        return self.function(*arguments, **keywords)

    def __get__(self, instance: object, owner: type) -> object:
        return self if instance is None else types.MethodType(self.function, instance)


class StubParser(Stub):
    """What stands for TrlParser and HfArgumentParser: it knows the options of the script's own dataclasses, not those of the library's.

    Only a run with a token is told what they say; the others answer with stubs.
    """

    def __init__(self, name: str, given: tuple[object, ...]) -> None:
        super().__init__(name)
        (first,) = given[:1] or ((),)
        self.parts = tuple(first) if isinstance(first, (list, tuple)) else (first,)

    def parse_args_and_config(self, *arguments: object, **keywords: object) -> tuple[Stub, ...]:
        """Answer `--help` as the parser does, and anything else with one stub for each dataclass."""
        self.trace.call(f"{self.stub_name}.parse", *arguments, **keywords)
        if {"-h", "--help"} & set(sys.argv[1:]):
            print(f"usage: {sys.argv[0]} [options]")
            raise SystemExit(0)
        rest = keywords.get("return_remaining_strings") is True
        if self.token:
            words = next((one for one in arguments if isinstance(one, (list, tuple))), sys.argv[1:])
            said = {name[2:].replace("-", "_"): _read(text) for name, text in pairwise(words) if name.startswith("--")}
            return (*(self._parsed(part, said) for part in self.parts), *([[]] if rest else []))
        return tuple(Stub(f"{self.stub_name}[]") for _ in range(len(self.parts) + rest))

    parse_args_into_dataclasses = parse_args_and_config

    def set_defaults_with_config(self, **options: object) -> object:
        """Take all of a configuration."""
        return [] if self.token else Stub(f"{self.stub_name}.set_defaults_with_config()")

    def _parsed(self, part: object, said: dict[str, object]) -> object:
        """Return the script's dataclass with what the command line says, and a stub for a class of the library's."""
        if not (isinstance(part, type) and dataclasses.is_dataclass(part)):
            made = Stub(f"{self.stub_name}[]")
            made.__dict__.update({"__dataclass_fields__": {}, **said})
            return made
        fields = [field for field in dataclasses.fields(part) if field.init]
        needed = {field.name: _SOME_TEXT for field in fields if _is_required(field)}
        return part(**needed | {field.name: said[field.name] for field in fields if field.name in said})


class StubModule(types.ModuleType):
    """A module whose every name is a stub, and whose every submodule can be imported."""

    __path__: ClassVar[list[str]] = []
    __version__ = _STUB_VERSION

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        made = member(f"{self.__name__}.{name}")
        self.__dict__[name] = made
        return made


class StubFinder:
    """Answers every import that is neither the standard library nor a light CLI library."""

    def __init__(self, doubles: dict[str, Callable[[types.ModuleType], None]]) -> None:
        self._doubles = doubles
        self._real = real_modules()

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a stub, or None for a module that stays real."""
        if name.partition(".")[0] in self._real or name.startswith("_sysconfigdata_"):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Make the stub module."""
        return StubModule(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Fill the module in when it is one that has a double."""
        if fill := self._doubles.get(module.__name__):
            fill(module)


def install(trace: Trace, doubles: dict[str, Callable[[types.ModuleType], None]], token: str | None = None) -> None:
    """Stub all imports of this process from now on; `token` is the Hub's, where there is one."""
    import importlib.metadata  # slow to load, and the rules, which import this module too, do not need it

    Stub.trace, Stub.token = trace, token
    sys.meta_path.insert(0, StubFinder(doubles))
    real_version = importlib.metadata.version

    def version(name: str) -> str:
        try:
            return real_version(name)
        except importlib.metadata.PackageNotFoundError:
            return _STUB_VERSION

    importlib.metadata.version = version


@cache
def real_modules() -> frozenset[str]:
    """Return the top-level modules that stay real: the standard library, and of the CLI libraries those that are installed."""
    installed = {name for name in REAL if name in sys.modules or importlib.machinery.PathFinder.find_spec(name)}
    return sys.stdlib_module_names | installed


def member(name: str) -> object:
    """Return what the attribute of this dotted name is taken for: an exception class by its name, else a stub."""
    parts = name.split(".")
    last = parts[-1]
    from_errors = len(parts) > 1 and parts[-2] in {"errors", "exceptions", "error"} and last[:1].isupper()
    if last[:1].isupper() and (from_errors or last.endswith(_ERROR_ENDINGS)):
        return type(last, (Exception,), {"__module__": name.rpartition(".")[0], "stub_name": name})
    return Stub(name)


def _read(text: str) -> object:
    """Return the number or the truth value that an option has, else its text."""
    try:
        return json.loads(text.lower())
    except ValueError:
        return text


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def call_through(given: tuple[object, ...], item: object) -> None:
    """Call the functions among `given` with `item` for all that they need; it may not be what they expect, so they may fail."""
    for function in given:
        if isinstance(function, (types.FunctionType, types.MethodType)):
            with suppress(Exception):
                wanted = [one for one in signature(function).parameters.values() if one.default is one.empty]
                made = function(*(item for one in wanted if one.kind is one.POSITIONAL_OR_KEYWORD))
                if isinstance(made, types.GeneratorType):
                    next(made, None)


def _module_of(name: str) -> str:
    """Return a module that `sys.modules` has: the one that the name begins with, where there is one."""
    top = name.partition(".")[0]
    return top if top in sys.modules else "builtins"


def _base(name: str) -> type:
    """Return a class that a script can derive from in the place of the stubbed class `name`."""

    def initialise(self: object, *arguments: object, **keywords: object) -> None:
        Stub.trace.call(name, *arguments, **keywords)
        self.__dict__.update(keywords)

    def attribute(self: object, attribute_name: str) -> object:
        if attribute_name.startswith("__"):
            raise AttributeError(attribute_name)
        return member(f"{name}().{attribute_name}")

    return type(
        name.rpartition(".")[2],
        (),
        {"__init__": initialise, "__getattr__": attribute, "__module__": _module_of(name), "stub_name": name},
    )


def _guessed(stub: Stub, question: str, answer: object) -> object:
    Stub.trace.guess(f"{question}({stub.stub_name})")
    return answer


def _order(question: str) -> Callable[[Stub, object], Any]:
    def compare(self: Stub, other: object) -> object:
        return _guessed(self, question, False)

    return compare


def _operator(self: Stub, *operands: object) -> Stub:
    return Stub(self.stub_name)


for _name in ("lt", "le", "gt", "ge"):
    setattr(Stub, f"__{_name}__", _order(_name))
for _name in [
    "add",
    "sub",
    "mul",
    "truediv",
    "floordiv",
    "mod",
    "pow",
    "matmul",
    "and",
    "or",
    "xor",
    "lshift",
    "rshift",
]:
    setattr(Stub, f"__{_name}__", _operator)
    setattr(Stub, f"__r{_name}__", _operator)
for _name in ("neg", "pos", "abs", "invert", "round"):
    setattr(Stub, f"__{_name}__", _operator)
