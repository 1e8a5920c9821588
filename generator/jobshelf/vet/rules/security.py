"""UVS501 and UVS502: no code and no weights but those that were asked for."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from jobshelf.vet.dangers import dangers
from jobshelf.vet.rule import Audience, Hit, Severity, Tier, rule
from jobshelf.vet.subject import Subject

_FROM_HUB = frozenset(
    {
        "AsyncLLMEngine",
        "CrossEncoder",
        "LLM",
        "SentenceTransformer",
        "from_pretrained",
        "hf_hub_download",
        "load_dataset",
    }
    | {"pipeline", "snapshot_download"}
)
_ID_KEYWORDS = frozenset(
    {"model", "model_id", "model_name_or_path", "path", "pretrained_model_name_or_path", "repo_id"}
)
_BUILDERS = frozenset(
    {"arrow", "audiofolder", "csv", "generator", "imagefolder", "json", "pandas", "parquet", "text", "webdataset"}
)


@rule("UVS501", "remote-code", severity=Severity.ERROR, tier=Tier.STATIC, since="0.1.0", security=True)
def remote_code(subject: Subject) -> Iterator[Hit]:
    """Nothing is run but the script itself and its declared dependencies.

    ## What it does

    Reports `trust_remote_code=True` as a constant, also in a dict (and as an option without `revision=` in the same call), `eval`, `exec`,
    `runpy`, unpickling (`pickle`, `joblib`, `pandas.read_pickle`, `allow_pickle=True`, `yaml.load` without `SafeLoader`, `torch.load`
    without `weights_only=True`), a shell (`os.system`, `shell=True`, `["sh", "-c", ...]`) whose command is not a literal or runs what it
    downloads, packages installed at run time, TLS without verified certificates, and `HF_ENDPOINT` set in the code. Functions and commands
    are followed through variables (`run = eval`).

    ## Why is this bad?

    A Job holds a token that can write. Code from a model repository, from a downloaded pickle, or from a package that the header does not
    declare runs with it, and changes when somebody else changes it. 27 of 63 public scripts hard-wire `trust_remote_code=True`.

    ## Example

    ```python
    from transformers import AutoModel

    model = AutoModel.from_pretrained("org/model", trust_remote_code=True)
    ```

    ```python
    import subprocess

    subprocess.run("pip install torch", shell=True, check=True)
    ```

    ## Use instead

    ```python
    import argparse

    from transformers import AutoModel

    parser = argparse.ArgumentParser()
    parser.add_argument("--trust-remote-code", action="store_true", help="run code of the model repository")
    parser.add_argument("--revision", required=True, help="commit of the model")
    args = parser.parse_args()
    model = AutoModel.from_pretrained("org/model", trust_remote_code=args.trust_remote_code, revision=args.revision)
    ```

    ## How to fix or suppress

    Declare packages in the header, load weights as safetensors, pass argument lists, make remote code an option with a pinned commit.
    This is a security rule: it cannot be suppressed inside the file.
    """
    for danger in dangers(subject):
        yield Hit(
            **subject.span(danger.node),
            message=danger.what,
            found=ast.unparse(danger.node)[:100],
            expected=danger.instead,
            advice=f"use {danger.instead}",
        )


@rule(
    "UVS502", "unpinned-revision", severity=Severity.WARNING, tier=Tier.STATIC, audience=Audience.SHELF, since="0.1.0"
)
def unpinned_revision(subject: Subject) -> Iterator[Hit]:
    """A model or dataset that the script names itself is named with its revision.

    ## What it does

    Reports `from_pretrained`, `load_dataset`, `snapshot_download`, `hf_hub_download`, `LLM`, `pipeline` and their like when the repository
    is a constant and `revision=` is missing. Repositories that the user names are the user's to pin.

    ## Why is this bad?

    The repository can change, or change hands; the same command then gives other results. None of 15 calls in public scripts is pinned.

    ## Example

    ```python
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained("org/model")
    ```

    ## Use instead

    ```python
    from transformers import AutoTokenizer

    REVISION = "0123456789abcdef0123456789abcdef01234567"
    tokenizer = AutoTokenizer.from_pretrained("org/model", revision=REVISION)
    ```

    ## How to fix or suppress

    Add `revision=` with the commit. `# vet: ignore[UVS502] -- reason` suppresses it.
    """
    constants = _constants(subject)
    for call in subject.nodes(ast.Call):
        repository = _constant_repository(call, constants)
        if repository and not any(keyword.arg in {"revision", None} for keyword in call.keywords):
            yield Hit(
                **subject.span(call),
                message=f"{repository} is loaded at whatever it is today",
                found="no revision",
                expected="revision=<commit>",
                advice=f"add revision=; `hf repos info {repository}` shows the commit",
            )


def _constants(subject: Subject) -> dict[str, str]:
    """Return the module's constants that hold text."""
    return {
        target.id: node.value.value
        for node in (subject.script.tree.body if subject.script.tree else ())
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _constant_repository(call: ast.Call, constants: dict[str, str]) -> str | None:
    """Return the repository a loading call names by a constant; None for anything else, local paths and builders too."""
    verb = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if verb not in _FROM_HUB:
        return None
    named = [keyword.value for keyword in call.keywords if keyword.arg in _ID_KEYWORDS]
    values = named or ([] if verb == "pipeline" else call.args[:1])
    for value in values:
        text = constants.get(value.id) if isinstance(value, ast.Name) else getattr(value, "value", None)
        if isinstance(text, str) and text not in _BUILDERS and not text.startswith((".", "/", "~", "hf://")):
            return text
    return None
