"""Which rules are asked: `[tool.jobshelf.vet]` of the nearest pyproject.toml, the command line, and the profile."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from jobshelf.errors import InputError, UsageError
from jobshelf.vet.rule import Rule, Severity, Tier

_PREFIX = re.compile(r"U(?:VS?)?|UVS\d{1,3}")
_KEYS = ("select", "ignore", "per-file-ignores")


class Profile(StrEnum):
    """How strict a run is.

    `default` blocks on errors. `new` asks what a new entry of the shelf must satisfy: the shelf's own rules apply to
    every script, and warnings block. `strict` blocks on errors and warnings and leaves hints out.
    """

    DEFAULT = "default"
    NEW = "new"
    STRICT = "strict"

    @property
    def blocking(self) -> frozenset[Severity]:
        """The severities that fail a run."""
        if self is Profile.DEFAULT:
            return frozenset({Severity.ERROR})
        return frozenset({Severity.ERROR, Severity.WARNING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The choice of rules. Codes are prefixes, as in ruff: `UVS2` is the family, `UVS202` one rule.

    `root` is the folder that the globs of `per_file_ignores` are relative to. `stub` and `online` switch the tiers that
    run the script with stubbed imports and that ask package indexes. `unfenced` lets scripts from URLs run where the kernel has no fence
    for them; `builds` lets uv build packages to learn their dependencies.
    """

    profile: Profile = Profile.DEFAULT
    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    per_file_ignores: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    root: Path = field(default_factory=Path.cwd)
    stub: bool = True
    online: bool = False
    unfenced: bool = False
    builds: bool = False

    def tiers(self) -> frozenset[Tier]:
        """The tiers that run."""
        stub = {Tier.STUB} if self.stub else set()
        online = {Tier.RESOLVE} if self.online else set()
        return frozenset({Tier.STATIC} | stub | online)

    def chosen(self, rules: Iterable[Rule], path: str) -> list[Rule]:
        """Return the rules that are asked about the script at `path`."""
        ignored = self.ignore + self._ignored_for(path)
        tiers = self.tiers()
        return [
            rule
            for rule in rules
            if rule.tier in tiers
            and (not self.select or rule.code.startswith(self.select))
            and not rule.code.startswith(ignored)
        ]

    def _ignored_for(self, path: str) -> tuple[str, ...]:
        if not self.per_file_ignores:
            return ()
        names = {path, Path(path).name, _relative(path, self.root)}
        return tuple(
            code
            for pattern, codes in self.per_file_ignores.items()
            if any(fnmatch(name, pattern) for name in names)
            for code in codes
        )


def load_config(
    start: Path | None = None,
    *,
    profile: Profile = Profile.DEFAULT,
    select: Iterable[str] = (),
    ignore: Iterable[str] = (),
    stub: bool = True,
    online: bool = False,
    unfenced: bool = False,
    builds: bool = False,
) -> Config:
    """Return the configuration of the folder `start` (default: the working folder) under the command line's options.

    `select` replaces the file's; `ignore` is added to it. Raises InputError for a bad table, UsageError for a bad code.
    """
    root, table = _vet_table((start or Path.cwd()).resolve())
    source = f"{root / 'pyproject.toml'} [tool.jobshelf.vet]"
    if unknown := sorted(set(table) - set(_KEYS)):
        raise InputError(f"{source} has the unknown key '{unknown[0]}'", fix=f"use {', '.join(_KEYS)}")
    per_file = table.get("per-file-ignores", {})
    if not isinstance(per_file, dict):
        raise InputError(f"{source}: per-file-ignores is no table", fix='write {"glob" = ["UVS202"]}')
    return Config(
        profile=profile,
        select=_codes(select, "--select") or _file_codes(table.get("select", []), source, "select"),
        ignore=_file_codes(table.get("ignore", []), source, "ignore") + _codes(ignore, "--ignore"),
        per_file_ignores={glob: _file_codes(codes, source, glob) for glob, codes in per_file.items()},
        root=root,
        stub=stub,
        online=online,
        unfenced=unfenced,
        builds=builds,
    )


def _vet_table(start: Path) -> tuple[Path, dict[str, Any]]:
    for folder in (start, *start.parents):
        pyproject = folder / "pyproject.toml"
        if pyproject.is_file():
            return folder, _read_table(pyproject)
    return start, {}


def _read_table(pyproject: Path) -> dict[str, Any]:
    try:
        document = tomllib.loads(pyproject.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{pyproject} is not TOML: {error}", fix="mend that line") from error
    table = document.get("tool", {}).get("jobshelf", {}).get("vet", {})
    if not isinstance(table, dict):
        raise InputError(f"{pyproject}: tool.jobshelf.vet is no table", fix="write [tool.jobshelf.vet]")
    return table


def _file_codes(value: object, source: str, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(code, str) for code in value):
        raise InputError(f"{source}: '{key}' is not a list of codes", fix='write ["UVS202"]')
    return _codes(value, f"{source} '{key}'")


def _codes(values: Iterable[str], source: str) -> tuple[str, ...]:
    codes = tuple(code.strip() for value in values for code in value.split(",") if code.strip())
    for code in codes:
        if not _PREFIX.fullmatch(code):
            raise UsageError(f"{source} names '{code}', expected a code such as UVS202 or UVS2", fix="jobshelf rules")
    return codes


def _relative(path: str, root: Path) -> str:
    try:
        return Path(path).resolve().relative_to(root).as_posix()
    except ValueError:
        return path
