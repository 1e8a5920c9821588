"""An agent that knows nothing but the address of `llms.txt`: it reads, follows the links, builds a command, runs it.

It stands on an embedded Hub, so every address that it reads is asked of that Hub.
"""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pytest
from huggingface_hub import CommitOperationAdd, HfApi, get_session

from jobshelf.forms import script_url
from jobshelf.hub import Account, serve
from jobshelf.index import Entry, load_index
from jobshelf.publish import publish
from jobshelf.rehearse.fixtures import FIXTURES, MODELS, find_fixture, find_model
from jobshelf.shelf import find_shelf
from support import ROOT, TOKEN

pytestmark = pytest.mark.timeout(900)
# Which part of the heavy lane a script on torch belongs to, by a tag of it.
PARTS = {"vllm": pytest.mark.inference, "gguf": pytest.mark.gguf, "trl": pytest.mark.training}
SHELF = find_shelf(ROOT)
_PLACEHOLDER = re.compile(r"\{(?P<role>input|model|output)(?::(?P<name>[^{}]*))?\}")


def lane(entry: Entry) -> list[pytest.MarkDecorator]:
    """Scripts on torch run in the heavy lane."""
    if not any(re.match(r"(torch|vllm|transformers)\b", package) for package in entry.dependencies):
        return []
    return [pytest.mark.heavy, next(PARTS[tag] for tag in entry.tags if tag in PARTS)]


SCRIPTS = [pytest.param(entry.id, marks=lane(entry)) for entry in load_index(SHELF).entries]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Reads addresses of the public Hub on the one that it stands on."""

    endpoint: str

    def read(self, address: str) -> str:
        answer = get_session().get(self.here(address), follow_redirects=True)
        answer.raise_for_status()
        return answer.text

    def here(self, text: str) -> str:
        return text.replace("https://huggingface.co", self.endpoint)

    def links(self, text: str, section: str) -> Iterator[tuple[str, str]]:
        """Yield (name, address) of the links of a section."""
        part = re.search(rf"^## {section}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
        yield from re.findall(r"^- \[([^\]]+)\]\(([^)]+)\)", part[1] if part else "", re.MULTILINE)

    def block(self, page: str, section: str, language: str) -> str:
        """Return the first block of a language in a section of a page."""
        pattern = rf"^## {section}\n.*?^```{language}\n(.*?)^```$"
        return re.search(pattern, page, re.MULTILINE | re.DOTALL)[1].strip()

    def smallest(self, page: str, own: Mapping[str, str]) -> list[str]:
        """Return the words of the smallest run with its placeholders filled with `own`, by their text."""
        template = self.block(page, "Try it small", "text")
        return shlex.split(self.here(_PLACEHOLDER.sub(lambda match: own[match[0]], template)))

    def as_job(self, page: str, words: list[str]) -> list[str]:
        """Return the words of the Job that runs `words` (`uv run URL ...`), after the page's own line for Jobs."""
        line = shlex.split(self.here(self.block(page, "Start it", "sh")))
        before, arguments = line[: line.index(words[2])], words[3:]
        guard = ["--"] if {"--json", "--quiet", "--format"} & {*arguments} and "--" not in before else []
        return [*before, *guard, *words[2:]]

    def exit_codes(self, text: str) -> dict[int, str]:
        """Return what each code means."""
        told = re.search(r"^Exit codes: (.*?)\. After", text, re.MULTILINE)[1]
        return {int(one[0]): one[2:] for one in re.split(r"; (?=\d )", told)}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Iterator[tuple[Agent, HfApi]]:
    """The Hub with the shelf, data and models of `you`."""
    root = tmp_path_factory.mktemp("agent")
    with serve(root / "hub", accounts=(Account(name="you", token=TOKEN, orgs=("jobshelf",)),)) as hub:
        client = HfApi(endpoint=hub.endpoint, token=TOKEN)
        publish(SHELF, client)
        yield Agent(endpoint=hub.endpoint), client


@pytest.fixture
def agent(home) -> Agent:
    return home[0]


@pytest.fixture
def client(home) -> HfApi:
    return home[1]


@pytest.fixture
def shell(environment, agent) -> dict[str, str]:
    return environment | {"HF_ENDPOINT": agent.endpoint, "HF_TOKEN": TOKEN}


def give(client: HfApi, template: str, script: str) -> dict[str, str]:
    """Put what the placeholders of a smallest run ask for on the Hub; return placeholder -> what to write."""
    own = {}
    for match in _PLACEHOLDER.finditer(template):
        if match["role"] == "output":
            own[match[0]] = f"you/{script}-{match['name'] or 'result'}"
            continue
        found = find_model(match["name"]) if match["role"] == "model" else find_fixture(match["name"] or "questions")
        repo, kind = f"you/{found.name}", found.kind.removesuffix("s")
        if not client.repo_exists(repo, repo_type=kind):
            client.create_repo(repo, repo_type=kind)
            files = [CommitOperationAdd(path, data) for path, data in found.make().items()]
            client.create_commit(repo, files, commit_message="Mine", repo_type=kind)
        own[match[0]] = repo
    return own


def start(argv: list[str], shell: dict[str, str], tmp_path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, env=shell, cwd=tmp_path, capture_output=True, text=True, timeout=600)


@pytest.mark.parametrize("script", SCRIPTS)
def test_it_runs_each_script_as_a_job_and_here(script, agent, client, shell, request, monkeypatch, tmp_path):
    if request.node.get_closest_marker("heavy"):
        # each address is an environment of its own, started twice: compiling all of its packages would take longer
        builds = {**request.getfixturevalue("cpu_builds"), "UV_COMPILE_BYTECODE": "0"}
        shell = shell | builds
        for name, value in builds.items():  # Jobs find the package index of the machine that they run on
            monkeypatch.setenv(name, value)
    llms = agent.read(script_url(SHELF.dataset, "llms.txt"))
    page = agent.read(dict(agent.links(llms, "Scripts"))[script])
    own = give(client, agent.block(page, "Try it small", "text"), script)
    words = agent.smallest(page, own)
    job = start(agent.as_job(page, words), shell, tmp_path)
    assert job.returncode == 0, job.stdout + job.stderr
    outputs = [repo for placeholder, repo in own.items() if placeholder.startswith("{output")]
    for repo in outputs:
        kind = "dataset" if client.repo_exists(repo, repo_type="dataset") else "model"
        assert "README.md" in client.list_repo_files(repo, repo_type=kind)
    assert outputs or "{" in job.stdout  # what it writes to the Hub, or says
    again = start(words, shell, tmp_path)  # the same command once more: nothing is left to do
    assert again.returncode == 0, again.stderr
    assert TOKEN not in job.stdout + job.stderr + again.stdout + again.stderr


def test_it_reads_what_an_exit_code_means(agent, client, shell, tmp_path):
    llms = agent.read(script_url(SHELF.dataset, "llms.txt"))
    meaning = agent.exit_codes(llms)
    page = agent.read(dict(agent.links(llms, "Scripts"))["finepdfs-stats"])
    words = agent.smallest(page, give(client, agent.block(page, "Try it small", "text"), "codes"))
    ends = {
        "usage": start([*words, "--no-such-option"], shell, tmp_path),
        "input data": start([*words[:3], "you/nothing", words[4]], shell, tmp_path),
        "token": start(words, {key: value for key, value in shell.items() if key != "HF_TOKEN"}, tmp_path),
    }
    for told, done in ends.items():
        assert meaning[done.returncode].startswith(told), done.stderr


def test_every_link_can_be_followed(agent):
    llms = agent.read(script_url(SHELF.dataset, "llms.txt"))
    sections = {name: list(agent.links(llms, name)) for name in re.findall(r"^## (.+)$", llms, re.MULTILINE)}
    assert set(sections) == {"Scripts", "Guides", "For programs", "Optional"}
    for _, address in (link for links in sections.values() for link in links):
        if not address.startswith("https://github.com/"):
            assert agent.read(address).strip(), address


def test_it_is_told_what_to_report_and_when_to_ask(agent):
    llms = agent.read(script_url(SHELF.dataset, "llms.txt"))
    for words in ("id, address, expected time and cost", "Trackio", "do not poll", "Over an hour or five dollars"):
        assert words in llms
    skill = agent.read(dict(agent.links(llms, "Guides"))["Skill"])
    assert skill.startswith("---\nname: ")


def test_every_placeholder_of_a_rehearsal_is_explained(agent):
    llms = agent.read(script_url(SHELF.dataset, "llms.txt"))
    pages = [agent.read(address) for _, address in agent.links(llms, "Scripts")]
    rehearsed = [page for page in pages if "never rehearsed" not in page]
    assert rehearsed
    for page in rehearsed:
        template = agent.block(page, "Try it small", "text")
        for match in _PLACEHOLDER.finditer(template):
            assert match["name"] is None or match["name"] in {*FIXTURES, *MODELS} or match["role"] == "output"
        assert "{" not in _PLACEHOLDER.sub("", template)
