"""How a script is started: locally, by `hf jobs`, by the Python API, by the MCP tool. One launch table, four equal forms.

The `hf` command line reads `[tool.hf-jobs]` from the script itself; `run_uv_job` and the MCP tool do not, so those two
forms carry flavor, timeout, environment and secrets (source: huggingface_hub 2.4 `cli/_uv_script_header.py`;
hf-mcp-server 0.4 `packages/mcp/src/jobs`).
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jobshelf.launch import Launch, Mount, parse_volume

ENDPOINT = "https://huggingface.co"

# `hf` takes these for itself wherever they stand before a `--`, also behind the script
# (source: huggingface_hub 2.4 `cli/_cli_utils.py`, the global formatting flags).
TAKEN_BY_HF = ("--json", "--quiet", "-q", "--format", "--no-truncate")
# The flavors that the MCP tool lets pass (source: hf-mcp-server 0.4 `packages/mcp/src/jobs/types.ts`).
MCP_FLAVORS = frozenset(
    {
        *("cpu-basic", "cpu-upgrade", "cpu-performance", "cpu-xl", "t4-small", "t4-medium", "l4x1", "l4x4"),
        *("l40sx1", "l40sx4", "l40sx8", "a10g-small", "a10g-large", "a10g-largex2", "a10g-largex4"),
        *("a100-large", "a100x4", "a100x8"),
    }
)
# What each of the two programs cannot be told.
_NOT_IN_MCP = ("name", "labels", "attempts", "network_group", "network_aliases")
_PLAIN = ("image", "flavor", "python", "timeout")
_SPACES = ("hf.co/spaces/", "huggingface.co/spaces/", "https://hf.co/spaces/", "https://huggingface.co/spaces/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Forms:
    """The ways to start one script with the same arguments. Each `*_argv` is what a shell line would be split into.

    `local` is empty where there is no such way. `notes` are (form, what a person must know before pasting it).
    """

    local: tuple[str, ...]
    jobs: tuple[str, ...]
    python: Mapping[str, Any]
    mcp: Mapping[str, Any]
    function: str = "run_uv_job"
    notes: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return argv lists with their shell text, and the two calls as data with their source text."""
        return {
            "local": {"argv": list(self.local), "text": shlex.join(self.local)},
            "jobs": {"argv": list(self.jobs), "text": shlex.join(self.jobs)},
            "python": {"arguments": dict(self.python), "text": python_text(self.python, function=self.function)},
            "mcp": {"call": dict(self.mcp), "text": json.dumps(self.mcp, ensure_ascii=False)},
        }


def forms(
    script: str,
    launch: Mapping[str, Any],
    arguments: Sequence[str],
    *,
    asked: Launch | None = None,
    text: str | None = None,
    saved_as: str | None = None,
) -> Forms:
    """Return the four forms of starting `script`, the URL or path of a script whose `[tool.hf-jobs]` table is `launch`.

    `asked` is what flags say on top of the table. `text` is the script itself, for the form that has no file to send.
    `saved_as` is the file that two of the forms name in place of a `script` that they cannot read.
    """
    asked = asked or Launch()
    full = Launch.from_table(launch).under(asked)
    file = saved_as or script
    call = _python_settings(full)
    return Forms(
        local=(*_env_words(full.env), "uv", "run", *_uv_flags(full), script, *arguments),
        jobs=_hf(("hf", "jobs", "uv", "run"), asked, full, (file, *arguments)),
        python={"script": file, "script_args": list(arguments), **call},
        mcp=_mcp(script, full, arguments, text),
        notes=_notes(full, text),
    )


def docker_forms(image: str, command: Sequence[str], asked: Launch) -> Forms:
    """Return the forms of starting `command` in a Docker image, or in that of a Space (`hf.co/spaces/owner/name`)."""
    asked = replace(asked, image=None)
    is_space = image.startswith(_SPACES)
    here = () if is_space else ("docker", "run", "--rm", *_docker_env(asked), image, *command)
    notes = [("local", "the image of a Space runs on Jobs only")] if is_space else []
    return Forms(
        local=here,
        jobs=_hf(("hf", "jobs", "run"), asked, asked, (image, *command)),
        python={"image": image, "command": list(command), **_python_settings(asked)},
        mcp={"operation": "run", "args": {"image": image, "command": list(command), **_mcp_settings(asked)}},
        function="run_job",
        notes=(*notes, *_notes(asked, None)),
    )


def scheduled(given: Forms, schedule: str) -> Forms:
    """Return the forms that start the same by the clock; there is none for this machine."""
    split = given.jobs.index("jobs") + 1
    verbs = 1 if given.jobs[split] == "run" else 2
    kind = given.jobs[split : split + verbs]
    jobs = (*given.jobs[:split], "scheduled", *kind, *given.jobs[split + verbs :])
    place = _operand(jobs)
    return replace(
        given,
        local=(),
        jobs=(*jobs[:place], schedule, *jobs[place:]),
        python={**given.python, "schedule": schedule},
        mcp={"operation": f"scheduled {given.mcp['operation']}", "args": {**given.mcp["args"], "schedule": schedule}},
        function=given.function.replace("run_", "create_scheduled_"),
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


def python_text(arguments: Mapping[str, Any], *, function: str = "run_uv_job") -> str:
    """Return the Python source of a call; the real secret is read where it runs, never written out."""
    rest = {key: value for key, value in arguments.items() if key not in {"script", "secrets", "volumes"}}
    words = [repr(arguments["script"])] if "script" in arguments else []
    words += [f"{key}={value!r}" for key, value in rest.items()]
    names = [function]
    if secrets := arguments.get("secrets"):
        pairs = ", ".join(f"{name!r}: {_secret_source(name)}" for name in secrets)
        names += ["get_token"] if "HF_TOKEN" in secrets else []
        words.append(f"secrets={{{pairs}}}")
    if volumes := [_volume_source(parse_volume(spec)) for spec in arguments.get("volumes", ())]:
        names += sorted({source.partition("(")[0] for source in volumes})
        words.append(f"volumes=[{', '.join(volumes)}]")
    imports = "import os\n" if any(name != "HF_TOKEN" for name in arguments.get("secrets", ())) else ""
    return f"{imports}from huggingface_hub import {', '.join(sorted(names))}\n\n{function}({', '.join(words)})"


def uv_command(script: str, launch: Launch, arguments: Sequence[str]) -> tuple[str, ...]:
    """Return the command of a Job that runs `script`, in the words of huggingface_hub's `run_uv_job`."""
    return ("uv", "run", *_uv_flags(launch), script, *arguments)


def _uv_flags(launch: Launch) -> list[str]:
    flags = [word for dependency in launch.dependencies for word in ("--with", dependency)]
    return flags + (["--python", launch.python] if launch.python else [])


def _env_words(env: Mapping[str, str]) -> list[str]:
    return ["env", *(f"{name}={value}" for name, value in env.items())] if env else []


def _docker_env(launch: Launch) -> list[str]:
    given = [f"{name}={value}" for name, value in launch.env.items()]
    return [word for item in (*given, *launch.secrets) for word in ("--env", item)]


def _hf(start: tuple[str, ...], asked: Launch, full: Launch, words: tuple[str, ...]) -> tuple[str, ...]:
    """Flags come first: what stands behind the script is the script's. The table's own values `hf` reads by itself."""
    guard = ["--"] if any(word.partition("=")[0] in TAKEN_BY_HF for word in words[1:]) else []
    return (*start, *_hf_flags(asked), *(word for name in full.secrets for word in ("--secrets", name)), *guard, *words)


def _hf_flags(asked: Launch) -> list[str]:
    single = {
        "--image": asked.image,
        "--flavor": asked.flavor,
        "--python": asked.python,
        "--timeout": asked.timeout,
        "--attempts": asked.attempts,
        "--name": asked.name,
        "--namespace": asked.namespace,
    }
    many = {
        "--with": asked.dependencies,
        "--env": [f"{name}={value}" for name, value in asked.env.items()],
        "--label": [f"{name}={value}" for name, value in asked.labels.items()],
        "--volume": asked.volumes,
    }
    words = [word for flag, value in single.items() if value is not None for word in (flag, str(value))]
    return words + [word for flag, values in many.items() for value in values for word in (flag, value)]


def _operand(argv: tuple[str, ...]) -> int:
    """Return where in an `hf jobs scheduled [uv] run` line the first operand stands."""
    place = argv.index("run") + 1
    while argv[place].startswith("--"):
        place += 1 if argv[place] == "--" else 2
    return place


def _secret_source(name: str) -> str:
    return "get_token()" if name == "HF_TOKEN" else f"os.environ[{name!r}]"


def _volume_source(mount: Mount) -> str:
    if mount.kind is None:
        mode = "" if mount.read_only is not False else ", read_only=False"
        return f"sync_job_volume({mount.source!r}, {mount.mount_path!r}{mode})"
    words = {"type": mount.kind, "source": mount.source, "mount_path": mount.mount_path}
    words |= {"path": mount.path} if mount.path else {}
    words |= {"revision": mount.revision} if mount.revision else {}
    words |= {} if mount.read_only is None else {"read_only": mount.read_only}
    return f"Volume({', '.join(f'{key}={value!r}' for key, value in words.items())})"


def _python_settings(launch: Launch) -> dict[str, Any]:
    call: dict[str, Any] = {key: value for key in _PLAIN if (value := getattr(launch, key)) is not None}
    tables = {"env": dict(launch.env), "labels": dict(launch.labels), "secrets": list(launch.secrets)}
    lists = {"dependencies": list(launch.dependencies), "volumes": list(launch.volumes)}
    words = {key: getattr(launch, key) for key in ("attempts", "name", "namespace", "network_group")}
    aliases = {"network_aliases": list(launch.network_aliases)}
    return call | {key: value for key, value in {**tables, **lists, **words, **aliases}.items() if value}


def _mcp(script: str, launch: Launch, arguments: Sequence[str], text: str | None) -> dict[str, Any]:
    """The tool takes no image for a uv script: where one is asked for, the call is that of a plain `run`."""
    settings = _mcp_settings(launch)
    if launch.image is not None:
        command = uv_command(script, launch, arguments) if text is None else _inline(text, launch, arguments)
        return {"operation": "run", "args": {"image": launch.image, "command": list(command), **settings}}
    call: dict[str, Any] = {"script": script if text is None else text, "script_args": list(arguments)}
    call |= {"with_deps": list(launch.dependencies)} if launch.dependencies else {}
    call |= {"flavor": settings.pop("flavor")} if "flavor" in settings else {}
    call |= {"python": launch.python} if launch.python else {}
    return {"operation": "uv", "args": {**call, **settings}}


def _mcp_settings(launch: Launch) -> dict[str, Any]:
    call: dict[str, Any] = {"flavor": launch.flavor} if launch.flavor else {}
    call |= {"timeout": str(launch.timeout)} if launch.timeout is not None else {}
    call |= {"env": dict(launch.env)} if launch.env else {}
    call |= {"secrets": {name: f"${name}" for name in launch.secrets}} if launch.secrets else {}
    call |= {"volumes": list(launch.volumes)} if launch.volumes else {}
    return call | ({"namespace": launch.namespace} if launch.namespace else {})


def _inline(text: str, launch: Launch, arguments: Sequence[str]) -> tuple[str, ...]:
    """A command that carries the script in itself, as the tool's own `uv` operation does with a text."""
    coded = base64.b64encode(text.encode()).decode()
    return ("sh", "-c", f"echo {coded} | base64 -d | {shlex.join(uv_command('-', launch, arguments))}")


def _notes(launch: Launch, text: str | None) -> tuple[tuple[str, str], ...]:
    notes = []
    if launch.flavor and launch.flavor not in MCP_FLAVORS:
        notes.append(("mcp", f"the MCP tool (0.4) refuses the flavor {launch.flavor}: use another form"))
    if launch.image:
        inside = "" if text is None else ", with the script inside"
        notes.append(("mcp", f"the MCP tool takes no image for a uv script: this is its run form{inside}"))
    if left := [key.replace("_", " ") for key in _NOT_IN_MCP if getattr(launch, key)]:
        notes.append(("mcp", f"the MCP tool cannot be told: {', '.join(left)}"))
    if any(parse_volume(spec).kind is None for spec in launch.volumes):
        notes.append(("mcp", "the MCP tool mounts nothing of this machine: put the folder into a bucket first"))
    if other := [name for name in launch.secrets if name != "HF_TOKEN"]:
        notes.append(("mcp", f"the MCP tool fills in $HF_TOKEN alone: write the value of {', '.join(other)} yourself"))
    return tuple(notes)
