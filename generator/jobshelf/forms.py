"""How a script is started: locally, by `hf jobs`, by the Python API, by the MCP tool. One launch table, four equal forms.

The `hf` command line reads `[tool.hf-jobs]` from the script itself; `run_uv_job` and the MCP tool do not, so those two
forms carry flavor, timeout, environment and secrets (source: huggingface_hub 2.4 `cli/_uv_script_header.py`;
hf-mcp-server 0.4 `packages/mcp/src/jobs`).
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ENDPOINT = "https://huggingface.co"

# `hf` takes these for itself wherever they stand before a `--`, also behind the script
# (source: huggingface_hub 2.4 `cli/_cli_utils.py`, the global formatting flags).
TAKEN_BY_HF = ("--json", "--quiet", "-q", "--format", "--no-truncate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """The ways to start one script with the same arguments. Each `*_argv` is what a shell line would be split into."""

    local: tuple[str, ...]
    jobs: tuple[str, ...]
    python: Mapping[str, Any]
    mcp: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return argv lists with their shell text, and the two calls as data with their source text."""
        return {
            "local": {"argv": list(self.local), "text": shlex.join(self.local)},
            "jobs": {"argv": list(self.jobs), "text": shlex.join(self.jobs)},
            "python": {"arguments": dict(self.python), "text": python_text(self.python)},
            "mcp": {"call": dict(self.mcp), "text": json.dumps(self.mcp, ensure_ascii=False)},
        }


def forms(url: str, launch: Mapping[str, Any], arguments: Sequence[str]) -> Forms:
    """Return the four forms of starting the script at `url`; `launch` is its `[tool.hf-jobs]` table."""
    secrets = [flag for name in launch.get("secrets", ()) for flag in ("--secrets", name)]
    guard = ["--"] if any(word.partition("=")[0] in TAKEN_BY_HF for word in arguments) else []
    return Forms(
        local=("uv", "run", url, *arguments),
        jobs=("hf", "jobs", "uv", "run", *secrets, *guard, url, *arguments),
        python=_python(url, launch, arguments),
        mcp=_mcp(url, launch, arguments),
    )


def script_url(dataset: str, file: str, *, revision: str = "main", endpoint: str = ENDPOINT) -> str:
    """Return the URL from which `file` of the shelf's Hub dataset runs."""
    return f"{endpoint.rstrip('/')}/datasets/{dataset}/resolve/{revision}/{file}"


def example_arguments(docstring: str) -> tuple[str, ...]:
    """Return the arguments of the docstring's first `uv run <URL> ...` line, so that examples have one source."""
    unfolded = re.sub(r"\s*\\\n\s*", " ", docstring)
    for line in unfolded.splitlines():
        if re.match(r"\s*(\$ )?uv run https?://", line):
            words = shlex.split(line.strip().removeprefix("$ "))
            return tuple(words[3:])
    return ()


def python_text(arguments: Mapping[str, Any]) -> str:
    """Return the Python source of a `run_uv_job` call; the real secret is read where it runs, never written out."""
    rest = {key: value for key, value in arguments.items() if key not in {"script", "secrets"}}
    words = [repr(arguments["script"]), *(f"{key}={value!r}" for key, value in rest.items())]
    names = ["run_uv_job"]
    if secrets := arguments.get("secrets"):
        names.insert(0, "get_token")
        pairs = ", ".join(f"{name!r}: {_secret_source(name)}" for name in secrets)
        words.append(f"secrets={{{pairs}}}")
    imports = "import os\n" if any(name != "HF_TOKEN" for name in arguments.get("secrets", ())) else ""
    return f"{imports}from huggingface_hub import {', '.join(names)}\n\nrun_uv_job({', '.join(words)})"


def _secret_source(name: str) -> str:
    return "get_token()" if name == "HF_TOKEN" else f"os.environ[{name!r}]"


def _python(url: str, launch: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    call: dict[str, Any] = {"script": url, "script_args": list(arguments)}
    call |= {key: launch[key] for key in ("image", "flavor", "python", "timeout", "env", "labels") if key in launch}
    if "secrets" in launch:
        call["secrets"] = list(launch["secrets"])
    return call


def _mcp(url: str, launch: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, Any]:
    """The tool takes no image: a script that needs one cannot be started in this form with the image it asks for."""
    call: dict[str, Any] = {"script": url, "script_args": list(arguments)}
    call |= {key: launch[key] for key in ("flavor", "python", "timeout", "env") if key in launch}
    if "secrets" in launch:
        call["secrets"] = {name: f"${name}" for name in launch["secrets"]}
    return {"operation": "uv", "args": call}
