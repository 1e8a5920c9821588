"""Reading a model: a repository of the Hub or a local folder."""

import hashlib
from pathlib import Path

from .retrying import retrying
from .stop import stop


def find_model(source: str, revision: str | None) -> tuple[str, bool]:
    """Return the commit of a Hub model, or the digest of a local folder, and whether it is private. Stops with 3 or 4."""
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    folder = Path(source).expanduser()
    try:
        if folder.is_dir():
            digest = hashlib.sha256()
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                with path.open("rb") as opened:
                    found = hashlib.file_digest(opened, "sha256").hexdigest()
                digest.update(f"{path.relative_to(folder)} {found}\n".encode())
            return digest.hexdigest(), False
        info = retrying(HfApi().model_info, source, revision=revision)
        return info.sha, bool(info.private)
    except HFValidationError:
        stop(4, f"{source} is neither a local folder nor a Hub model", "write ./folder or user/name")
    except HfHubHTTPError as error:
        code = 4 if get_token() else 3  # without a token the Hub does not say whether a model exists
        fix = "check the name; a private model needs a token: `hf auth login`, or --secrets HF_TOKEN for a Job"
        stop(code, f"the Hub answered {error.response.status_code} for {source}", fix)


def fetch_model(source: str, commit: str) -> Path:
    """Return the folder with the files of the model."""
    from huggingface_hub import snapshot_download

    folder = Path(source).expanduser()
    return folder if folder.is_dir() else Path(retrying(snapshot_download, source, revision=commit))
