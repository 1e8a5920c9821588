"""UVS501 and UVS502: no code and no weights but those that were asked for."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from jobshelf.vet import flow
from jobshelf.vet.rule import Hit, Severity, Tier, rule
from jobshelf.vet.subject import Subject

_LOADERS = {
    "cloudpickle.load": "runs code from the file",
    "cloudpickle.loads": "runs code from the data",
    "dill.load": "runs code from the file",
    "dill.loads": "runs code from the data",
    "eval": "runs text as code",
    "exec": "runs text as code",
    "joblib.load": "runs code from the file",
    "marshal.loads": "runs code from the data",
    "os.popen": "runs a shell",
    "os.system": "runs a shell",
    "pickle.load": "runs code from the file",
    "pickle.loads": "runs code from the data",
    "subprocess.getoutput": "runs a shell",
    "subprocess.getstatusoutput": "runs a shell",
}
_STARTERS = frozenset({"Popen", "call", "check_call", "check_output", "run"})
_INSTALLERS = frozenset({"apt", "apt-get", "conda", "pip", "pip3", "uv"})
_INSTALLS = frozenset({"add", "install", "sync"})
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

    Reports `trust_remote_code=True` as a constant (and as an option without `revision=` in the same call), `eval`, `exec`, unpickling
    (`pickle`, `joblib`, `torch.load` without `weights_only=True`), a shell (`os.system`, `shell=True`), and packages installed at run time.

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
    names = flow.imported_names(subject.nodes(ast.Import, ast.ImportFrom))
    for call in subject.nodes(ast.Call):
        if found := _danger(call, flow.dotted(call.func, names)):
            what, expected = found
            yield Hit(
                **subject.span(call),
                message=what,
                found=ast.unparse(call)[:100],
                expected=expected,
                advice=f"write {expected}" if expected.isidentifier() else f"use {expected}",
            )


@rule("UVS502", "unpinned-revision", severity=Severity.WARNING, tier=Tier.STATIC, since="0.1.0")
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


def _danger(call: ast.Call, name: str) -> tuple[str, str] | None:
    """Return (what is wrong, what to use instead) of a dangerous call."""
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    if why := _LOADERS.get(name.removeprefix("builtins.")):
        return f"{name} {why}", "a format that holds data only (json, parquet, safetensors), or an argument list"
    if name.endswith("torch.load") and not _is_true(keywords.get("weights_only")):
        return "torch.load without weights_only=True runs code from the file", "safetensors, or weights_only=True"
    if _is_true(keywords.get("shell")):
        return "shell=True hands text to a shell", "a list of arguments"
    if "trust_remote_code" in keywords:
        return _remote(keywords)
    return _installs(call, name)


def _remote(keywords: dict[str | None, ast.expr]) -> tuple[str, str] | None:
    asked = keywords["trust_remote_code"]
    if _is_true(asked):
        return "trust_remote_code=True runs whatever the repository holds", "an option, with a pinned revision"
    if not isinstance(asked, ast.Constant) and not keywords.keys() & {"revision", "code_revision", None}:
        return "trust_remote_code without a revision runs whatever the repository holds", "revision=<commit> beside it"
    return None


def _installs(call: ast.Call, name: str) -> tuple[str, str] | None:
    if name.rpartition(".")[2] not in _STARTERS or not call.args or not isinstance(call.args[0], (ast.List, ast.Tuple)):
        return None
    words = [item.value for item in call.args[0].elts if isinstance(item, ast.Constant) and isinstance(item.value, str)]
    if _INSTALLERS & set(words) and _INSTALLS & set(words):
        return "packages are installed while the script runs", "the header's dependencies"
    return None


def _is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


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
