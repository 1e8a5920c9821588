"""Both inference scripts, killed at ten points and failed at every write, with the cheapest engine: an API on loopback."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from catalog.conftest import CATALOG
from catalog.self_instruct import play
from harness.chat_server import chat_server
from jobshelf.rehearse import Outcome, Rehearsal, rehearse, to_text

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(3000)]
API = ("--engine", "openai", "--model", "m", "--commit-every", "0")
SCRIPTS = {
    "generate-responses.py": ("{input:questions}", "{output}", "--prompt-column", "question", "--part-rows", "5"),
    "cot-self-instruct.py": (
        "{input:seeds}",
        "{output}",
        "--num-samples",
        "20",
        "--k-responses",
        "6",
        "--part-rows",
        "4",
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_write_fails_once(
    name: str,
    cpu_builds: Mapping[str, str],
    monkeypatch: pytest.MonkeyPatch,
    record_property: Callable[[str, object], None],
) -> None:
    for variable, value in cpu_builds.items():
        monkeypatch.setenv(variable, value)
    with chat_server(answers=play if name.startswith("cot") else None) as server:
        shown = rehearse(CATALOG / name, arguments=[*SCRIPTS[name], *API, "--base-url", server.url])
    assert {verdict.outcome for verdict in shown.verdicts} == {Outcome.PASSED}, to_text(shown)
    record_property("figure", figures(shown))


def figures(shown: Rehearsal) -> str:
    kill, faults = shown.verdict("kill").figures, shown.verdict("faults").figures
    assert (kill["points"], kill["wrong"]) == (10, 0)
    assert faults["faults"] > 40
    return f"sweep: {shown.name}: {kill}, {faults}"
