"""UVS2xx: what the script installs is valid, bounded, dated, trustworthy, complete, and resolves."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from jobshelf.script import Header
from jobshelf.vet.header_text import Place, insert_key, place_of_key, place_of_string, remove_line, replace
from jobshelf.vet.imports import PROVIDERS, SILENT, Import, brought_by, holds, normalised, provides, third_party
from jobshelf.vet.rule import Audience, Edit, FixKind, Hit, Inconclusive, Severity, Tier, rule
from jobshelf.vet.rules.provenance import lies_beside
from jobshelf.vet.subject import Subject
from jobshelf.vet.uv_settings import is_duration, parse_date
from jobshelf.vet.wheels import wheel_of

_HEADER = ("UVS101", "UVS103")
_VALID = (*_HEADER, "UVS201")
_COMMIT = re.compile(r"@[0-9a-f]{40}(#|$)")
_HUB_FILE = re.compile(r"https://(huggingface\.co|hf\.co)/.+/resolve/[0-9a-f]{40}/.+")
_MOST_MAJORS = 20
_INDEX_KEYS = ("index", "index-url", "extra-index-url", "find-links")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_OLD = timedelta(days=365)
# Imports that come along with a distribution by its own promise; naming them too is better, leaving them out works.
_ALONG = {
    "aiobotocore": ("aiohttp", "botocore"),
    "anywidget": ("traitlets", "ipywidgets"),
    "boto3": ("botocore", "dateutil", "s3transfer"),
    "accelerate": ("torch", "huggingface_hub", "numpy", "psutil", "yaml"),
    "beautifulsoup4": ("soupsieve",),
    "datasets": ("pyarrow", "huggingface_hub", "fsspec", "numpy", "pandas", "requests", "tqdm", "yaml"),
    "diffusers": ("huggingface_hub", "numpy", "PIL", "requests", "safetensors"),
    "fastapi": ("pydantic", "starlette"),
    "gliner": ("torch", "transformers", "huggingface_hub", "numpy", "tqdm"),
    "gradio": ("fastapi", "httpx", "huggingface_hub", "numpy", "pandas", "PIL", "pydantic"),
    "huggingface-hub": ("fsspec", "httpx", "tqdm", "yaml"),
    "manim": ("numpy", "scipy", "networkx", "PIL", "pygments"),
    "matplotlib": ("numpy", "PIL", "dateutil"),
    "openai": ("httpx", "pydantic"),
    "pandas": ("dateutil", "numpy"),
    "peft": ("torch", "transformers", "accelerate", "huggingface_hub", "numpy", "safetensors"),
    "scikit-learn": ("joblib", "numpy", "scipy"),
    "scipy": ("numpy",),
    "sentence-transformers": ("torch", "transformers", "numpy", "huggingface_hub", "scipy", "sklearn"),
    "torchvision": ("torch", "numpy", "PIL"),
    "transformers": ("huggingface_hub", "tokenizers", "numpy", "safetensors", "tqdm", "yaml"),
    "trl": ("torch", "transformers", "datasets", "accelerate", "huggingface_hub", "numpy"),
    "vllm": ("torch", "transformers", "huggingface_hub", "numpy", "openai", "PIL"),
}
# What a notebook that runs in a browser has without a package.
_IMPORTERS = frozenset({"__import__", "import_module", "run_module"})
_OF_THE_BROWSER = frozenset({"js", "micropip", "pyodide", "pyodide_js"})
_HEARD = frozenset({*_ALONG, *(name for names in PROVIDERS.values() for name in names)})


@lru_cache(maxsize=4096)
def parse_requirement(text: str) -> Requirement | None:
    """Return the PEP 508 requirement, or None when uv would refuse it."""
    try:
        parsed = Requirement(text)
    except InvalidRequirement:
        return None
    return parsed


def _requirements(subject: Subject) -> Iterator[tuple[str, Requirement]]:
    for text in subject.script.header.dependencies if subject.script.header else ():
        parsed = parse_requirement(text)
        if parsed is not None:
            yield text, parsed


def _place(subject: Subject, header: Header, text: str) -> Place:
    return place_of_string(subject, header, text, key="dependencies")


@rule("UVS201", "dependency-invalid", severity=Severity.ERROR, tier=Tier.STATIC, requires=_HEADER, since="0.1.0")
def dependency_invalid(subject: Subject) -> Iterator[Hit]:
    """A dependency cannot be installed as written.

    ## What it does
    Each entry of `dependencies` must be a valid PEP 508 requirement that some version can satisfy, must not name a
    module of the standard library, and (a warning, since uv merges the two) must not repeat another entry.

    ## Why is this bad?
    uv refuses the script, or installs a stranger's package that bears the name of a standard module; both show only
    on the machine that is paid for.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["polars=2.1"]
    # ///
    import polars
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["polars==2.1"]
    # ///
    import polars
    ```

    ## How to fix or suppress
    Mend or remove the entry. A package that really is called like a standard module:
    `# vet: ignore[UVS201] -- reason`.
    """
    header = subject.script.header
    if header is None:
        return
    seen: set[tuple[str, str, str]] = set()
    for text in header.dependencies:
        fault = _dependency_fault(text, seen)
        if fault is not None:
            message, expected, severity = fault
            yield Hit(
                **_place(subject, header, text).span(),
                message=message,
                found=f'"{text}"',
                expected=expected,
                advice="mend or remove the entry",
                severity=severity,
            )


def _dependency_fault(text: str, seen: set[tuple[str, str, str]]) -> tuple[str, str, Severity] | None:
    parsed = parse_requirement(text)
    if parsed is None:
        return "uv refuses this dependency", 'a PEP 508 requirement such as "polars>=2.1,<3"', Severity.ERROR
    if parsed.url and not _SCHEME.match(parsed.url):
        return "uv takes what follows '@' for a URL", "'==' before a version", Severity.ERROR
    if parsed.name in sys.stdlib_module_names:
        return f"'{parsed.name}' is part of Python's standard library", "no entry for it", Severity.ERROR
    if parsed.specifier.is_unsatisfiable():
        return f"no version of '{parsed.name}' can satisfy this", "bounds with something between them", Severity.ERROR
    key = (normalised(parsed.name), ",".join(sorted(parsed.extras)), str(parsed.marker or ""))
    if key in seen:
        return f"'{parsed.name}' is listed twice", "one entry", Severity.WARNING
    seen.add(key)
    return None


@rule(
    "UVS202",
    "dependency-unbounded",
    severity=Severity.ERROR,
    tier=Tier.STATIC,
    fix=FixKind.UNSAFE,
    requires=_VALID,
    audience=Audience.SHELF,
    since="0.1.0",
)
def dependency_unbounded(subject: Subject) -> Iterator[Hit]:
    """A dependency has no upper bound.

    ## What it does
    Every dependency needs `==`, `~=` or an upper bound. A bare name is an error, a lower bound alone and an upper bound
    alone are warnings; a bound more than 20 major versions away, such as `<999`, is none. A hint is given when the bounds of a 0.x version admit another 0.y. Entries with a URL are left
    to UVS205.

    ## Why is this bad?
    A lock file does not travel with a URL, so next month's release of an unbounded dependency runs inside this script,
    on paid hardware, before anyone has tried it.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["polars"]
    # ///
    import polars
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["polars>=2.1,<3"]
    # ///
    import polars
    ```

    ## How to fix or suppress
    `jobshelf vet --fix --unsafe-fixes` pins to the version in the lock file beside the script (`uv lock --script FILE`
    writes one). Without a lock file, name the versions that you have tried.
    To keep it: `# vet: ignore[UVS202] -- reason`.
    """
    header = subject.script.header
    if header is None:
        return
    for text, parsed in _requirements(subject):
        verdict = None if parsed.url else _bounds_fault(parsed)
        if verdict is not None:
            severity, message = verdict
            pinned = _pinned(subject, parsed)
            place = _place(subject, header, text)
            yield Hit(
                **place.span(),
                message=message,
                found=f'"{text}"',
                expected="a lower and an upper bound" + (f', such as "{pinned}"' if pinned else ""),
                advice=f'write "{pinned}"' if pinned else "name the versions that you have tried: name>=X.Y,<Z",
                edits=replace(subject, place, pinned) if pinned and severity is not Severity.HINT else (),
                severity=severity,
            )


def _bounds_fault(parsed: Requirement) -> tuple[Severity, str] | None:
    operators = {one.operator for one in parsed.specifier}
    pinned = operators & {"==", "~=", "==="}
    upper, lower = operators & {"<", "<="}, operators & {">", ">="}
    if pinned:
        return None
    if not upper:
        severity = Severity.WARNING if lower else Severity.ERROR
        return (
            severity,
            f"dependency '{parsed.name}' has no upper bound" if lower else f"dependency '{parsed.name}' has no bounds",
        )
    if not lower:
        return Severity.WARNING, f"dependency '{parsed.name}' has no lower bound"
    if _is_far(parsed):
        return Severity.WARNING, f"the upper bound of '{parsed.name}' is so far away that it excludes nothing"
    if _spans_zero_minors(parsed):
        return Severity.HINT, f"the bounds of '{parsed.name}' span several 0.x releases, each of which may break"
    return None


def _spans_zero_minors(parsed: Requirement) -> bool:
    lowest = _lower_bound(parsed)
    if lowest is None or lowest.major != 0:
        return False
    return parsed.specifier.contains(f"0.{lowest.minor + 1}.99")


def _is_far(parsed: Requirement) -> bool:
    lowest, highest = _lower_bound(parsed), _upper_bound(parsed)
    return lowest is not None and highest is not None and highest.major - lowest.major > _MOST_MAJORS


def _lower_bound(parsed: Requirement) -> Version | None:
    return max(_versions(parsed, (">=", ">")), default=None)


def _upper_bound(parsed: Requirement) -> Version | None:
    return min(_versions(parsed, ("<=", "<")), default=None)


def _versions(parsed: Requirement, operators: tuple[str, ...]) -> list[Version]:
    try:
        return [Version(one.version) for one in parsed.specifier if one.operator in operators]
    except InvalidVersion:
        return []


def _pinned(subject: Subject, parsed: Requirement) -> str | None:
    """Return the requirement pinned to the version in the lock file beside the script; None when it is not there."""
    locked = _locked_versions(subject.script.path).get(normalised(parsed.name))
    extras = f"[{','.join(sorted(parsed.extras))}]" if parsed.extras else ""
    marker = f" ; {parsed.marker}" if parsed.marker else ""
    return f"{parsed.name}{extras}=={locked}{marker}".replace('"', "'") if locked else None


def _locked_versions(path: str) -> dict[str, str]:
    lock = Path(f"{path}.lock")
    try:
        if "://" in path or not lock.is_file():
            return {}
        document = tomllib.loads(lock.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    packages = document.get("package", [])
    return {
        one["name"]: one["version"] for one in packages if isinstance(one, dict) and "name" in one and "version" in one
    }


@rule(
    "UVS203",
    "no-exclude-newer",
    severity=Severity.ERROR,
    tier=Tier.STATIC,
    fix=FixKind.SAFE,
    requires=(*_HEADER, "UVS104"),
    audience=Audience.SHELF,
    since="0.1.0",
)
def no_exclude_newer(subject: Subject) -> Iterator[Hit]:
    """The header does not freeze the package index at a date.

    ## What it does
    `[tool.uv] exclude-newer` must be a date or timestamp (RFC 3339) that has passed. One that is older than a year gets
    a hint. A script without dependencies needs none.

    ## Why is this bad?
    Bounds hold the direct dependencies; theirs still move. uv ignores a lock file when a script is run from a URL and
    honours this date, so it is what makes next year's run install what today's run installed. A span such as
    `"1 week"` moves with the clock.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["polars>=2.1,<3"]
    # ///
    import polars
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["polars>=2.1,<3"]
    # [tool.uv]
    # exclude-newer = "2026-11-01T00:00:00Z"
    # ///
    import polars
    ```

    ## How to fix or suppress
    `jobshelf vet --fix` stamps a missing date with today's, except where another index than PyPI is named: an index
    that reports no upload times cannot honour it, and uv then finds no version at all:
    `# vet: ignore[UVS203] -- reason`.
    """
    header = subject.script.header
    if header is None or not header.dependencies:
        return
    value = header.tool("uv").get("exclude-newer")
    later = header.tool("uv").get("exclude-newer-package")
    for name, moment in later.items() if isinstance(later, dict) else ():
        if isinstance(moment, str) and (when := parse_date(moment)) is not None and when > datetime.now(UTC):
            yield Hit(
                **place_of_key(subject, header, "exclude-newer-package", table="tool.uv").span(),
                message=f"exclude-newer-package of {name} lies in the future, so it excludes nothing yet",
                found=repr(moment),
                expected="a past date",
                advice="write the date on which the script was last tried",
            )
    if value is None:
        today = f'"{datetime.now(UTC):%Y-%m-%dT00:00:00Z}"'
        other_index = not header.tool("uv").keys().isdisjoint(_INDEX_KEYS)  # it may report no upload times
        yield Hit(
            line=header.first_line,
            message="the header does not freeze the package index at a date",
            found="no exclude-newer in [tool.uv]",
            expected=f"exclude-newer = {today}",
            advice=f"add [tool.uv] exclude-newer = {today}",
            edits=() if other_index else insert_key(subject, header, "exclude-newer", today, table="tool.uv"),
        )
        return
    fault = _date_fault(value, datetime.now(UTC))
    if fault is not None:
        severity, message = fault
        yield Hit(
            **place_of_key(subject, header, "exclude-newer", table="tool.uv").span(),
            message=message,
            found=repr(value),
            expected='a past date such as "2026-11-01T00:00:00Z"',
            advice="write the date on which the script was last tried",
            severity=severity,
        )


def _date_fault(value: object, now: datetime) -> tuple[Severity, str] | None:
    moment = parse_date(value) if isinstance(value, str) else None
    if moment is None:
        moving = isinstance(value, str) and is_duration(value)
        return Severity.ERROR, "exclude-newer moves with the clock" if moving else "exclude-newer is switched off"
    if moment > now:
        return Severity.ERROR, "exclude-newer lies in the future, so it excludes nothing yet"
    if now - moment > _OLD:
        return Severity.HINT, "exclude-newer is more than a year old"
    return None


@rule("UVS204", "lock-stale", severity=Severity.WARNING, tier=Tier.RESOLVE, requires=_VALID, since="0.1.0")
def lock_stale(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """The lock file beside the script does not match its header.

    ## What it does
    When `script.py.lock` exists, asks `uv lock --script script.py --check`. Needs `--online`.

    ## Why is this bad?
    A run of the local file uses the lock, a run from a URL does not: with a stale lock the two install different things.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["iniconfig>=2,<3"]
    # ///
    import iniconfig
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["iniconfig>=2,<3"]
    # ///
    import iniconfig
    ```

    ## How to fix or suppress
    `uv lock --script script.py`, or delete the lock file. To keep it: `# vet: ignore[UVS204] -- reason`.
    """
    lock = subject.resolution.lock
    if lock is None or lock.ok:
        return
    if lock.undecided:
        yield Inconclusive(reason=lock.reason)
        return
    yield Hit(
        line=subject.script.header.first_line if subject.script.header else 1,
        message="the lock file beside the script does not match its header",
        found=lock.reason,
        expected="a lock file made from this header",
        advice=f"uv lock --script {subject.script.path}",
    )


@rule(
    "UVS205",
    "untrusted-source",
    severity=Severity.ERROR,
    tier=Tier.STATIC,
    requires=_VALID,
    audience=Audience.SHELF,
    since="0.1.0",
)
def untrusted_source(subject: Subject) -> Iterator[Hit]:
    """A dependency comes from a place whose content can change.

    ## What it does
    A git dependency must name a full commit and come by https; a URL must name a full commit of the Hub
    (`https://huggingface.co/.../resolve/<commit>/...`). uv does not check a `#sha256=` behind a URL. Another index than PyPI, a nightly
    index and `prerelease = "allow"` need a reason, given as a suppression. Sources on the local disk are refused: a
    script that runs from a URL does not have them.

    ## Why is this bad?
    A branch, a nightly index or a private index serves something else tomorrow, or nothing; an extra index can also
    serve a package of the same name as one on PyPI.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["trl @ git+https://github.com/huggingface/trl"]
    # ///
    import trl
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["trl @ git+https://github.com/huggingface/trl@0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"]
    # ///
    import trl
    ```

    ## How to fix or suppress
    Pin the commit. Where the index is needed, say why on its line:
    `# index-url = "https://..."  # vet: ignore[UVS205] -- CUDA wheels are only there`.
    """
    header = subject.script.header
    if header is None:
        return
    for text, parsed in _requirements(subject):
        fault = _url_fault(parsed.url) if parsed.url else None
        if fault:
            yield _source_hit(_place(subject, header, text), fault, text)
    settings = header.tool("uv")
    for key in (key for key in _INDEX_KEYS if key in settings):
        nightly = "a nightly index" if "nightly" in str(settings[key]) else "another package index than PyPI"
        yield _source_hit(_index_place(subject, header, key), f"{nightly} without a reason", str(settings[key]))
    if settings.get("prerelease") == "allow":
        place = place_of_key(subject, header, "prerelease", table="tool.uv")
        yield _source_hit(place, "pre-releases of every package are allowed without a reason", 'prerelease = "allow"')
    for name, source in settings.get("sources", {}).items():
        fault = _table_fault(source)
        if fault:
            yield _source_hit(place_of_key(subject, header, name, table="tool.uv.sources"), fault, f"{name} = {source}")


def _source_hit(place: Place, message: str, found: str) -> Hit:
    return Hit(
        **place.span(),
        message=message,
        found=found,
        expected="a full commit of git over https or of the Hub, or a suppression that says why",
        advice="pin it, or end the line with '# vet: ignore[UVS205] -- reason'",
    )


def _index_place(subject: Subject, header: Header, key: str) -> Place:
    for number in range(header.first_line, header.last_line):
        line = subject.lines[number - 1]
        if re.match(rf"# \[\[?tool\.uv\.{key}\]", line):
            return Place(line=number, column=1, end_column=len(line) + 1)
    return place_of_key(subject, header, key, table="tool.uv")


def _url_fault(url: str) -> str | None:
    if url.startswith("file:"):
        return "a dependency on the local disk"
    if url.startswith(("git+", "git:")):
        fixed = url.startswith("git+https:") and _COMMIT.search(url)
        return None if fixed else "a git dependency without https and a full commit"
    return None if _HUB_FILE.match(url) else "a URL whose content can change"


def _table_fault(source: object) -> str | None:
    if isinstance(source, list):
        return next((fault for fault in map(_table_fault, source) if fault), None)
    if not isinstance(source, dict):
        return None
    if "path" in source or "workspace" in source:
        return "a source on the local disk"
    if "git" in source:
        return (
            None
            if re.fullmatch(r"[0-9a-f]{40}", str(source.get("rev", ""))) and str(source["git"]).startswith("https:")
            else "a git source without https and a full commit"
        )
    return _url_fault(str(source["url"])) if "url" in source else None


@rule(
    "UVS206",
    "undeclared-or-unused-import",
    severity=Severity.ERROR,
    tier=Tier.STATIC,
    fix=FixKind.UNSAFE,
    requires=_VALID,
    since="0.1.0",
)
def undeclared_or_unused_import(subject: Subject) -> Iterator[Hit]:
    """An import has no dependency, or a dependency no import.

    ## What it does
    Compares the third-party imports, wherever they stand, with `dependencies` and what their extras add. Which modules a distribution
    holds is read from its name, from a table of those that are called otherwise, and from its wheel where one is installed beside jobshelf
    or lies in uv's cache. An import that no dependency provides is an error. On a shelf and with `--strict`, two more are warnings: an import that only another dependency brings along,
    and a dependency that is neither imported nor named in a string, nor known to work unseen (accelerators, codecs), nor
    marked `# used by: ...` on its line. Imports under `try ... except ImportError` and for type checkers need no dependency.

    ## Why is this bad?
    A ModuleNotFoundError shows after the machine was provisioned. A dependency that nobody uses is downloaded on every
    run, and can break it.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["polars>=2.1,<3"]
    # ///
    import polars
    import requests
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["polars>=2.1,<3", "requests>=2.32,<3"]
    # ///
    import polars
    import requests
    ```

    ## How to fix or suppress
    `uv add --script FILE "requests>=2.32,<3"` adds one; `jobshelf vet --fix --unsafe-fixes` takes an unused one out when it
    has a line of its own, every import is accounted for, and no `trust_remote_code` loads code that may need it. The rule is wrong about a distribution whose name has nothing in common with its module:
    `# vet: ignore[UVS206] -- reason`.
    """
    header = subject.script.header
    if header is None or subject.script.tree is None:
        return
    declared = {normalised(parsed.name): text for text, parsed in _requirements(subject)}
    imports = list(third_party(subject))
    unmatched = list(_unmatched(subject, imports, declared))
    yield from _undeclared(subject, imports, unmatched, declared)
    if Audience.SHELF in subject.audiences:
        yield from _unused(subject, imports, declared, unclear=bool(unmatched) or _imports_by_value(subject))


def _unmatched(subject: Subject, imports: list[Import], declared: dict[str, str]) -> Iterator[Import]:
    """Yield the imports that no dependency is known to hold, one for each top-level name."""
    seen: set[str] = set()
    for one in imports:
        if one.top in _OF_THE_BROWSER or one.top in seen or any(provides(name, one.module) for name in declared):
            continue
        if any(holds(name, one.module) for name in _with_all_extras(subject)):
            continue
        if lies_beside(subject.script.path, one.top):
            continue
        if not one.optional:
            seen.add(one.top)
        yield one


def _with_all_extras(subject: Subject) -> frozenset[str]:
    """Return the distributions of the header and those that their extras add."""
    return frozenset().union(*(_with_extras(parsed) for _, parsed in _requirements(subject)))


def _with_extras(parsed: Requirement) -> frozenset[str]:
    """Return the distribution and those that its extras add."""
    name = normalised(parsed.name)
    return frozenset({name}).union(*(brought_by(name, extra) for extra in sorted(parsed.extras)))


def _imports_by_value(subject: Subject) -> bool:
    """Tell whether a module's name is worked out while the script runs, so that it cannot be read here."""
    return any(
        isinstance(call.func, ast.Name | ast.Attribute)
        and (call.func.id if isinstance(call.func, ast.Name) else call.func.attr) in _IMPORTERS
        and not (call.args and isinstance(call.args[0], ast.Constant))
        for call in subject.nodes(ast.Call)
    )


def _unused(subject: Subject, imports: list[Import], declared: dict[str, str], *, unclear: bool) -> Iterator[Hit]:
    """Report dependencies that nothing imports. With `unclear` imports one of them may be needed under another name: none is taken out."""
    header = subject.script.header
    remote = "trust_remote_code" in subject.script.text
    used_words = _words(subject)
    for name, text in declared.items() if header else ():
        place = _place(subject, header, text)
        marked = "# used by:" in subject.lines[place.line - 1]
        if marked or name in SILENT or name in used_words or _is_used(text, imports):
            continue
        needed = "the model's own code (trust_remote_code) may need it: say so" if remote else "remove it, or say"
        yield Hit(
            **place.span(),
            message=f"dependency '{name}' is never imported",
            found=f'"{text}"',
            expected="an import of it, or '# used by: ...' on its line",
            advice=f"{needed} on its line{'' if remote else ' what uses it'}: '# used by: ...'",
            severity=Severity.WARNING,
            edits=() if unclear or remote else _removal(subject, place, text),
        )


def _is_used(text: str, imports: list[Import]) -> bool:
    """Tell whether the dependency, or an extra of it, holds something that is imported."""
    parsed = parse_requirement(text)
    names = _with_extras(parsed) if parsed else frozenset()
    return any(holds(name, one.module) for name in sorted(names) for one in imports)


def _by_address(subject: Subject) -> list[str]:
    """Return the dependencies that come from a URL, Git or a path: nothing says which modules they hold."""
    header = subject.script.header
    uv = header.table.get("tool", {}).get("uv", {}) if header else {}
    sources = uv.get("sources", {}) if isinstance(uv, dict) else {}
    placed = {normalised(str(name)) for name in sources} if isinstance(sources, dict) else set()
    names = [(normalised(parsed.name), parsed.url) for _, parsed in _requirements(subject)]
    return [name for name, url in names if url or name in placed]


def _undeclared(
    subject: Subject, imports: list[Import], unmatched: list[Import], declared: dict[str, str]
) -> Iterator[Hit]:
    # a distribution of which nothing is known may hold a module of any name
    unheard = [name for name in declared if name not in SILENT | _HEARD]
    known = sorted(_with_all_extras(subject))
    for one in (one for one in unmatched if not one.optional):
        along = next((name for name in known if _brings_along(name, one)), None)
        unknown = next((name for name in (*_by_address(subject), *unheard) if not _is_imported(name, imports)), None)
        reason = f" by name ('{along}' brings it along)" if along else ""
        reason = reason or (f" by name ('{unknown}' may bring it)" if unknown else "")
        if reason and Audience.SHELF not in subject.audiences:
            continue
        name = next(iter(PROVIDERS.get(one.top, ())), normalised(one.top))
        yield Hit(
            **subject.span(one.node),
            message=f"'{one.module}' is imported, but no dependency provides it{reason}",
            found=f"import of {one.module}",
            expected=f"{name} among the dependencies",
            advice=f'uv add --script {subject.script.path} "{name}"',
            severity=Severity.WARNING if reason else Severity.ERROR,
        )


def _brings_along(distribution: str, one: Import) -> bool:
    """Tell whether the module comes with what the distribution itself requires."""
    if one.top in _ALONG.get(distribution, ()):
        return True
    wheel = wheel_of(distribution)
    return wheel is not None and any(provides(name, one.module) for name in wheel.brings())


def _is_imported(distribution: str, imports: list[Import]) -> bool:
    return any(provides(distribution, one.module) for one in imports)


def _words(subject: Subject) -> set[str]:
    """Return the words of the script's strings, as distribution names: `import_module("x")`, `report_to="trackio"`, `"mysql+pymysql://..."`."""
    values = (
        node.value for node in subject.nodes(ast.Constant) if isinstance(node.value, str) and len(node.value) < 80
    )
    return {
        normalised(part)
        for value in values
        for part in (value, value.partition(".")[0], *(value.partition("://")[0].split("+") if "://" in value else ()))
    }


def _removal(subject: Subject, place: Place, text: str) -> tuple[Edit, ...]:
    alone = subject.lines[place.line - 1].lstrip("# ").rstrip(" ,") in (f'"{text}"', f"'{text}'")
    return remove_line(subject, place.line) if alone else ()


@rule("UVS207", "unresolvable", severity=Severity.ERROR, tier=Tier.RESOLVE, requires=_VALID, since="0.1.0")
def unresolvable(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """The dependencies cannot be resolved.

    ## What it does
    Asks `uv pip compile` for Linux, once for the lowest Python of the header and once for Python 3.12, that of Jobs. A header with
    indexes or sources of its own is resolved by `uv lock --script`, which reads them.
    Needs `--online`. Nothing is built: where a package has no wheel the rule is inconclusive, unless `--allow-build` is given.

    ## Why is this bad?
    The script cannot start. Yanked releases and dropped Pythons make a script rot that nobody has touched.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["pluggy>=1.0,<1.1", "pytest>=9,<10"]
    # ///
    import pluggy
    import pytest
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["pluggy>=1.5,<2", "pytest>=9,<10"]
    # ///
    import pluggy
    import pytest
    ```

    ## How to fix or suppress
    Change the bounds or the date as uv's message says.
    """
    for python, attempt in subject.resolution.versions.items():
        if attempt.undecided:
            yield Inconclusive(reason=f"Python {python}: {attempt.reason}")
        elif not attempt.ok:
            yield Hit(
                line=subject.script.header.line_of("dependencies") if subject.script.header else 1,
                message=f"the dependencies do not resolve for Python {python} on Linux",
                found=attempt.reason,
                expected="a solution",
                advice=f"uv pip compile {subject.script.path} --python-version {python} --python-platform linux",
            )


@rule("UVS208", "vulnerable", severity=Severity.WARNING, tier=Tier.RESOLVE, requires=_VALID, since="0.1.0")
def vulnerable(subject: Subject) -> Iterator[Hit | Inconclusive]:
    """A dependency has a known advisory.

    ## What it does
    Asks `uv audit --script`, which looks the resolved versions up in the OSV database. Needs `--online`; when the
    database cannot be reached, the rule is inconclusive.

    ## Why is this bad?
    The script runs with a write token, on data that strangers wrote.

    ## Example
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["jinja2==3.1.2"]
    # ///
    import jinja2
    ```

    ## Use instead
    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["jinja2==3.1.6"]
    # ///
    import jinja2
    ```

    ## How to fix or suppress
    Raise the version and the date. To keep it: `# vet: ignore[UVS208] -- reason`.
    """
    attempt, advisories = subject.resolution.audit
    if attempt.undecided:
        yield Inconclusive(reason=f"uv audit: {attempt.reason}")
    for advisory in advisories:
        yield Hit(
            line=subject.script.header.line_of("dependencies") if subject.script.header else 1,
            message=f"a known advisory: {advisory}",
            found=advisory,
            expected="a version without known advisories",
            advice="raise the bound or exclude-newer to a fixed version",
        )
