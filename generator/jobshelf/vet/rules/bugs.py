"""UVS505: mistakes in the Python itself, as ruff finds them."""

from __future__ import annotations

from collections.abc import Iterator

from jobshelf.vet.rule import Hit, Severity, Tier, rule
from jobshelf.vet.subject import Subject

_ADVICE = {
    "B023": "bind it in the function's arguments: `lambda value=value: ...`",
    "F401": "remove the import",
    "F821": "define or import the name",
    "S113": "add timeout= with seconds",
}


@rule("UVS505", "bug", severity=Severity.WARNING, tier=Tier.STATIC, since="0.2.0", ruff=tuple(_ADVICE))
def bug(subject: Subject) -> Iterator[Hit]:
    """The code has a mistake that shows without running it.

    ## What it does

    Passes on four of ruff's checks: a name that is defined nowhere (F821, an error), a function made in a loop that sees only the last
    value of the loop's variable (B023), a request without a timeout (S113), and an import that is never used (F401). A line with
    `# noqa` is left alone, as ruff does, and `timeout=None` too.

    ## Why is this bad?

    A name that is missing stops a Job in the middle; a request without a timeout lets it wait until the Job's own.

    ## Example

    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["requests>=2.32,<3"]
    # ///
    import requests

    print(requests.get("https://example.org").text, undefined)
    ```

    ## Use instead

    ```python
    # /// script
    # requires-python = ">=3.11"
    # dependencies = ["requests>=2.32,<3"]
    # ///
    import requests

    print(requests.get("https://example.org", timeout=60).text)
    ```

    ## How to fix or suppress

    Correct it. `# vet: ignore[UVS505] -- reason` on the line suppresses it.
    """
    for diagnostic in subject.ruff:
        line = "".join(subject.lines[diagnostic.line - 1 : diagnostic.line])  # ruff also ends lines at carriage returns
        # a timeout that is set to None was thought about
        meant = "noqa" in line or "set to `None`" in diagnostic.message
        if diagnostic.code in _ADVICE and not meant:
            yield Hit(
                line=diagnostic.line,
                column=diagnostic.column,
                end_line=diagnostic.end_line,
                end_column=diagnostic.end_column,
                message=f"{diagnostic.message} ({diagnostic.code})",
                advice=_ADVICE[diagnostic.code],
                severity=Severity.ERROR if diagnostic.code == "F821" else None,
            )
