# block: model 1
"""What a model is, without its weights: parameters, architecture, dtype, tokenizer.

Promises: reads the headers of safetensors files (ranged requests), config.json, tokenizer.json, nothing else; what the size
rests on is said (`origin`), the name counts only when nothing else can be read, and never when it names two sizes;
adapters, GGUF files and empty repositories stop with 4, a gated one with 3 when nothing tells its size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .exits import EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_TOKEN, EXIT_USAGE, Stop
from .fit import Architecture, Model, count_parameters, model_of, read_architecture, typical_architecture
from .retry import http_status, retry
from .token import token_advice

if TYPE_CHECKING:
    from huggingface_hub.utils import SafetensorsRepoMetadata

MODEL_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2}
MODEL_WEIGHT_FILES = (".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The model, how its size is known (`origin`), and what else the report says of it."""

    given: str
    commit: str | None
    model: Model
    origin: str
    tokenizer: Path | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """What can be read of a model without its weights. None where there is no such file, or no right to read it.

    `headers` maps a tensor to its dtype and parameters, `counted` is the number of parameters that the Hub itself states,
    `refused` says that files may not be read.
    """

    given: str
    commit: str | None
    names: tuple[str, ...]
    config: Mapping[str, Any] | None
    headers: Mapping[str, tuple[str, int]] | None
    counted: int | None
    tokenizer: Path | None
    refused: bool = False


def find_model(given: str, token: str | None) -> ModelFacts:
    """Return what is known of the model without its weights."""
    size = read_model_size(given)
    if size:
        model = model_of(typical_architecture(size), parameters=size)
        return ModelFacts(
            given=given, commit=None, model=model, origin="given; the shape is that of a typical model of this size"
        )
    folder = Path(given).expanduser()
    if given and folder.is_dir():
        return facts_of_model(read_model_folder(given, folder))
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", given) or given.startswith("."):
        message = f"the model {given!r} is no Hub model, no folder and no size"
        raise Stop(EXIT_USAGE, message, fix="write it as user/name, ./folder, or a size such as 8B")
    return facts_of_model(read_hub_model(given, token))


def read_model_size(text: str) -> int:
    """Return the parameters that `8B`, `0.5b` or `135M` stand for, 0 for any other text."""
    match = re.fullmatch(r"(\d{1,4}(?:\.\d{1,3})?)([bm])", text.strip().lower())
    return round(float(match[1]) * {"b": 1e9, "m": 1e6}[match[2]]) if match else 0


def size_in_model_name(given: str) -> int:
    """Return the one size in a model's name, 0 when it names none or several (`8x7B`, `7B-from-70B`).

    The experts that are used (`A3B` in `30B-A3B`) are no second size.
    """
    words = re.split(r"[-_/ ]", given.rpartition("/")[2])
    if any(re.fullmatch(r"\d+x\d+(\.\d+)?[bm]?", word.lower()) for word in words):
        return 0
    sizes = {size for word in words if (size := read_model_size(word))}
    return sizes.pop() if len(sizes) == 1 else 0


def read_model_folder(given: str, folder: Path) -> ModelFiles:
    """Return what the files of a local model say."""
    from huggingface_hub import get_local_safetensors_metadata

    names = tuple(sorted(path.name for path in folder.iterdir() if path.is_file()))
    has = _has_headers(names)
    headers = _read_headers(given, lambda: get_local_safetensors_metadata(folder)) if has else None
    tokenizer = folder / "tokenizer.json"
    return ModelFiles(
        given=given,
        commit=None,
        names=names,
        config=_read_object(folder / "config.json") if "config.json" in names else None,
        headers=headers,
        counted=None,
        tokenizer=tokenizer if tokenizer.is_file() else None,
    )


def read_hub_model(repo_id: str, token: str | None) -> ModelFiles:
    """Return what the files of a Hub model say: ranged reads of the headers, and three small downloads."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.utils import disable_progress_bars

    disable_progress_bars()
    api = HfApi(token=token or False)
    try:
        info = retry(lambda: api.model_info(repo_id), what=f"reading {repo_id}")
    except HfHubHTTPError as error:
        raise _model_refusal(error, repo_id, token) from error
    names = tuple(sibling.rfilename for sibling in info.siblings or ())
    where = {"repo_id": repo_id, "revision": info.sha, "token": token or False}

    def small(name: str) -> Path | None:
        if name not in names:
            return None
        return Path(retry(lambda: hf_hub_download(filename=name, **where), what=f"reading {name} of {repo_id}"))

    config, headers, tokenizer, refused = None, None, None, False
    try:
        found = small("config.json")
        config = _read_object(found) if found else None
        if _has_headers(names):
            headers = _read_headers(
                repo_id,
                lambda: retry(
                    lambda: api.get_safetensors_metadata(repo_id, revision=info.sha), what=f"reading {repo_id}"
                ),
            )
        tokenizer = small("tokenizer.json")
    except HfHubHTTPError as error:
        if http_status(error) not in {401, 403}:
            raise _model_refusal(error, repo_id, token) from error
        refused = True
    counted = int(info.safetensors.total) if info.safetensors else None
    return ModelFiles(
        given=repo_id,
        commit=info.sha,
        names=names,
        config=config,
        headers=headers,
        counted=counted,
        tokenizer=tokenizer,
        refused=refused,
    )


def _model_refusal(error: Exception, repo_id: str, token: str | None) -> Stop:
    """Return the Stop for a Hub that does not show the model."""
    status = http_status(error)
    if type(error).__name__ == "RepositoryNotFoundError" or status == 404:
        seen = "for this account" if token else "for anonymous readers"
        fix = f"check the spelling; if it is private, {token_advice()}; or give the size: --model 8B"
        return Stop(EXIT_INPUT, f"there is no model {repo_id} {seen}", fix=fix)
    if status in {401, 403}:
        return Stop(EXIT_TOKEN, f"the Hub does not show {repo_id} ({status})", fix=token_advice())
    return Stop(EXIT_ENVIRONMENT, f"the Hub answered {status} for {repo_id}", fix="wait a minute, then run it again")


def _read_object(path: Path) -> Mapping[str, Any]:
    """Return the object in a JSON file; stop with 4 when it holds anything else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise Stop(
            EXIT_INPUT, f"{path.name} of the model is not JSON: {error}", fix="give the size: --model 8B"
        ) from error
    if not isinstance(found, dict):
        raise Stop(EXIT_INPUT, f"{path.name} of the model holds no object", fix="give the size: --model 8B")
    return found


def facts_of_model(files: ModelFiles) -> ModelFacts:
    """Return the model by the best source there is: headers, the Hub's count, config; its name only when all else fails."""
    _refuse_no_model(files)
    shape = _read_shape(files)
    counted, weight_bytes, quantized = count_in_headers(files.headers, shape, files.config)
    notes = ["the checkpoint is quantized: counted from its config"] if quantized else []
    if counted:
        origin = "exact: headers of its safetensors files"
    elif files.counted and not quantized:
        counted, origin = files.counted, "exact: the Hub's count of its safetensors files"
    elif shape:
        counted = count_parameters(shape)
        origin = "from config.json" + ("" if shape.exact else f", within two percent or so (family {shape.family!r})")
    else:
        counted, origin = _require_size(files), "LAST RESORT, its name: neither headers nor config can be read"
    if shape is None:
        shape = typical_architecture(counted)
        notes.append("its config cannot be read: the shape is that of a typical model of this size")
    return ModelFacts(
        given=files.given,
        commit=files.commit,
        model=model_of(shape, parameters=counted, weight_bytes=weight_bytes),
        origin=origin,
        tokenizer=files.tokenizer,
        notes=tuple(notes),
    )


def _refuse_no_model(files: ModelFiles) -> None:
    """Stop with 4 for adapters, GGUF files alone, and repositories without a model."""
    names = files.names
    weights = _has_headers(names) or any(name.endswith(MODEL_WEIGHT_FILES) for name in names)
    if "adapter_config.json" in names and "config.json" not in names:
        raise Stop(
            EXIT_INPUT,
            f"{files.given} holds adapters, not a model",
            fix="name the model that they belong to: --model BASE",
        )
    if not weights and any(name.endswith(".gguf") for name in names):
        message = f"{files.given} holds GGUF files only, which are neither trained nor converted"
        raise Stop(EXIT_INPUT, message, fix="name the model that they were made from, or give the size: --model 8B")
    if not weights and "config.json" not in names:
        raise Stop(
            EXIT_INPUT,
            f"{files.given} holds no model: no weights and no config.json",
            fix="name a model, or give the size: --model 8B",
        )


def _read_shape(files: ModelFiles) -> Architecture | None:
    """Return the architecture that the config describes, None when there is none to read or it says too little."""
    if files.config is None:
        return None
    try:
        return read_architecture(files.config)
    except ValueError as error:
        if files.headers is None and files.counted is None:
            raise Stop(EXIT_INPUT, f"config.json of {files.given}: {error}", fix="give the size: --model 8B") from error
        return None


def count_in_headers(
    tensors: Mapping[str, tuple[str, int]] | None, shape: Architecture | None, config: Mapping[str, Any] | None
) -> tuple[int, int, bool]:
    """Return (parameters, bytes of a weight, quantized); 0 parameters when the headers do not tell them.

    A head that is tied to the embedding counts once, even where the file stores it twice.
    """
    quantized = bool(config and config.get("quantization_config"))
    if not tensors:
        return 0, 2, quantized
    by_dtype: dict[str, int] = {}
    for dtype, count in tensors.values():
        by_dtype[dtype] = by_dtype.get(dtype, 0) + count
    main = max(by_dtype, key=lambda name: by_dtype[name])
    if quantized or main not in MODEL_DTYPE_BYTES:
        return 0, 2, True
    total = sum(count for dtype, count in by_dtype.items() if dtype in MODEL_DTYPE_BYTES)
    if shape and shape.tied and len(tensors) > 1:
        total -= tensors.get("lm_head.weight", ("", 0))[1]
    return total, MODEL_DTYPE_BYTES[main], False


def _require_size(files: ModelFiles) -> int:
    """Return the size in the model's name, or stop: 3 when a token would help, else 4."""
    size = size_in_model_name(files.given)
    if size:
        return size
    if files.refused:
        message = f"the files of {files.given} are gated for this account, and its name does not say one size"
        raise Stop(
            EXIT_TOKEN, message, fix=f"ask for access on its page, then {token_advice()}; or give the size: --model 8B"
        )
    message = f"{files.given} has neither safetensors nor config.json, and its name does not say one size"
    raise Stop(EXIT_INPUT, message, fix="give the size: --model 8B")


def _has_headers(names: Iterable[str]) -> bool:
    return bool({"model.safetensors", "model.safetensors.index.json"} & set(names))


def _read_headers(given: str, read: Callable[[], SafetensorsRepoMetadata]) -> Mapping[str, tuple[str, int]]:
    from huggingface_hub.errors import SafetensorsParsingError

    try:
        files = read().files_metadata.values()
        tensors = {name: (one.dtype, one.parameter_count) for file in files for name, one in file.tensors.items()}
        if sum(count for _, count in tensors.values()) < 1:
            raise ValueError("it lists no tensor")
    except (SafetensorsParsingError, ValueError, TypeError, KeyError, AttributeError, FileNotFoundError) as error:
        message = f"a safetensors file of {given} has no readable header: {error}"
        raise Stop(EXIT_INPUT, message, fix="upload it again, or give the size: --model 8B") from error
    return tensors
