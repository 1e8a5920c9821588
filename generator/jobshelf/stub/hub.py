"""A double of `huggingface_hub` for a process without token and network.

Who asks for the token gets None; what needs one is refused as the real client refuses it; what only reads gives a stub. In a run with a
token, the account `user` may do everything, and its repositories are empty. Error
classes and their ancestry: `huggingface_hub/errors.py` of 2.4.
"""

from __future__ import annotations

import copy
import importlib
import re
import types
from collections.abc import Callable
from typing import Any, NoReturn

from jobshelf.stub.modules import Stub, StubModule

_NOT_LOGGED_IN = (
    "Token is required, but no token found. Log in with `hf auth login` or set the HF_TOKEN environment variable."
)
_REPO_ID = re.compile(r"(?:[A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?/)?[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?", re.ASCII)
_NEEDS_TOKEN = re.compile(
    r"(?:accept|add|batch|cancel|change|comment|create|delete|disable|duplicate|edit|enable|grant|hide|login|merge|move|"
    r"notebook_login|pause|preupload|push|reject|rename|request|restart|resume|run|scale|set(?!_(?:async_)?client_factory)|super_squash|suspend|sync|"
    r"trigger|unlike|update|upload)(?:_|$)|interpreter_login$"
)
_STRINGS = {
    "constants": {
        "DEFAULT_REVISION": "main",
        "ENDPOINT": "https://huggingface.co",
        "HF_HOME": "~/.cache/huggingface",
        "HF_HUB_CACHE": "~/.cache/huggingface/hub",
        "HF_TOKEN_PATH": "~/.cache/huggingface/token",
        "REPO_TYPE_DATASET": "dataset",
        "REPO_TYPE_MODEL": "model",
        "REPO_TYPE_SPACE": "space",
    }
}


_ACCOUNT = {
    "type": "user",
    "name": "user",
    "fullname": "User",
    "email": "user@example.org",
    "isPro": False,
    "orgs": [],
    "auth": {"type": "access_token", "accessToken": {"displayName": "stub", "role": "write"}},
}
# What a run with a token is told of a Hub where all repositories exist and are empty.
_ANSWERS: dict[str, Any] = {
    "auth_check": None,
    "file_exists": False,
    "get_paths_info": [],
    "list_bucket_tree": [],
    "list_datasets": [],
    "list_models": [],
    "list_repo_files": [],
    "list_repo_tree": [],
    "login": None,
    "repo_exists": True,
    "whoami": _ACCOUNT,
}
_COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HfHubHTTPError(OSError):
    """An answer of the Hub that is an error; `response` is a stub with the real status code."""

    def __init__(self, message: str = "", response: object = None, *, server_message: str | None = None) -> None:
        super().__init__(message)
        self.response = response
        self.server_message = server_message
        self.request_id = None


class LocalTokenNotFoundError(OSError):
    """No token on this machine."""


class HFValidationError(ValueError):
    """Not a repository name."""


class OfflineModeIsEnabled(ConnectionError):
    """HF_HUB_OFFLINE is set."""


class EntryNotFoundError(Exception):
    """No such file in the repository."""


def _hub_error(name: str, *bases: type) -> type:
    return type(name, bases or (HfHubHTTPError,), {"__module__": "huggingface_hub.errors"})


RepositoryNotFoundError = _hub_error("RepositoryNotFoundError")
_ERRORS: dict[str, type] = {
    made.__name__: made
    for made in (
        HfHubHTTPError,
        LocalTokenNotFoundError,
        HFValidationError,
        OfflineModeIsEnabled,
        EntryNotFoundError,
        RepositoryNotFoundError,
        _hub_error("BadRequestError", HfHubHTTPError, ValueError),
        _hub_error("BucketNotFoundError"),
        _hub_error("BucketBatchError"),
        _hub_error("DisabledRepoError"),
        _hub_error("GatedRepoError", RepositoryNotFoundError),
        _hub_error("InferenceTimeoutError", TimeoutError),
        _hub_error("JobNotFoundError"),
        _hub_error("LocalEntryNotFoundError", FileNotFoundError, EntryNotFoundError),
        _hub_error("RemoteEntryNotFoundError", HfHubHTTPError, EntryNotFoundError),
        _hub_error("RevisionNotFoundError"),
        _hub_error("FileMetadataError", OSError),
    )
}


class HfApi:
    """The client object: reading methods give stubs, the others are refused for want of a token."""

    def __init__(self, endpoint: str | None = None, token: object = None, **options: object) -> None:
        self.endpoint = endpoint or _STRINGS["constants"]["ENDPOINT"]
        self.token = token

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return _function(f"huggingface_hub.HfApi.{name}")


def fill_root(module: types.ModuleType) -> None:
    """Fill in the module `huggingface_hub` itself."""
    module.__class__ = _Root
    module.__dict__.update(_ERRORS, HfApi=HfApi, HfFolder=HfFolder, get_token=_get_token, __version__="2.4.0")


def fill_errors(module: types.ModuleType) -> None:
    """Fill in `huggingface_hub.errors`; a class that is not known is taken for an answer of the Hub."""
    module.__dict__.update(_ERRORS)


def fill_utils(module: types.ModuleType) -> None:
    """Fill in `huggingface_hub.utils`."""
    module.__dict__.update(_ERRORS, HfFolder=HfFolder, get_token=_get_token, validate_repo_id=_validate_repo_id)


def fill_constants(module: types.ModuleType) -> None:
    """Fill in `huggingface_hub.constants` with the defaults."""
    module.__dict__.update(_STRINGS["constants"])


def fill_hf_api(module: types.ModuleType) -> None:
    """Fill in `huggingface_hub.hf_api`."""
    module.__dict__.update(_ERRORS, HfApi=HfApi, HfFolder=HfFolder)


DOUBLES = {
    "huggingface_hub": fill_root,
    "huggingface_hub.constants": fill_constants,
    "huggingface_hub.errors": fill_errors,
    "huggingface_hub.hf_api": fill_hf_api,
    "huggingface_hub.utils": fill_utils,
}


class _Root(StubModule):
    """`huggingface_hub`: its functions behave as the client's methods of the same name."""

    def __getattr__(self, name: str) -> object:
        if f"huggingface_hub.{name}" in DOUBLES:
            return importlib.import_module(f"huggingface_hub.{name}")
        if name.islower() and not name.startswith("_"):
            made = _function(f"huggingface_hub.{name}")
            self.__dict__[name] = made
            return made
        return super().__getattr__(name)


def _function(name: str) -> Callable[..., Any]:
    last = name.rpartition(".")[2]

    def call(*arguments: object, **keywords: object) -> object:
        Stub.trace.call(name, *arguments, **keywords)
        if Stub.token:
            return _answer(name, last)
        if last == "whoami" or last.endswith("login"):
            raise LocalTokenNotFoundError(_NOT_LOGGED_IN)
        if _NEEDS_TOKEN.match(last):
            _refuse(last)
        return Stub(f"{name}()")

    call.stub_name = name
    return call


def _refuse(name: str) -> NoReturn:
    response = Stub("huggingface_hub.response")
    response.status_code = 401
    response.headers = {}
    raise HfHubHTTPError(f"401 Client Error: {name} needs a token. Invalid username or password.", response)


def _answer(name: str, last: str) -> object:
    if last in _ANSWERS:
        return copy.deepcopy(_ANSWERS[last])
    made = Stub(f"{name}()")
    if last.endswith("_info"):
        made.__dict__.update(sha=_COMMIT, private=False, gated=False, disabled=False, siblings=[], tags=[])
    return made


def _get_token() -> str | None:
    Stub.trace.call("huggingface_hub.get_token")
    return Stub.token


class HfFolder:
    """The older way to ask for the token."""

    get_token = staticmethod(_get_token)


def _validate_repo_id(repo_id: str) -> None:
    if not _REPO_ID.fullmatch(str(repo_id)) or "--" in str(repo_id) or ".." in str(repo_id):
        raise HFValidationError(f"Repo id must be 'name' or 'namespace/name': '{repo_id}'.")
