"""Scripts that know nothing of the shelf: from a URL, without a table, with arguments given by hand."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobshelf.errors import EnvironmentFault, InputError, ScriptError, UsageError
from jobshelf.hub import Account
from jobshelf.rehearse import Outcome, rehearse, to_text
from jobshelf.rehearse.repo_files import HubFiles, RepoName
from jobshelf.testing import embedded_hub
from jobshelf.testing import rehearse as rehearse_or_raise
from rehearse.conftest import GOOD, Broken

ADA = Account(name="ada", token="hf_ada")


def without_table(text: str) -> str:
    before, rest = text.split("# [tool.jobshelf]\n")
    return before + "# ///\n" + rest.partition("# ///\n")[2]


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """The good script with no table and with exit codes of its own."""
    text = without_table(GOOD.read_text(encoding="utf-8"))
    for code in "346":
        text = text.replace(f"stop({code}, ", "stop(1, ")
    path = tmp_path / "stranger.py"
    path.write_text(text, encoding="utf-8")
    return path


def test_from_a_url_the_steps_that_apply_are_taken(stranger: Path) -> None:
    with embedded_hub(ADA) as hub:
        scripts = RepoName(kind="datasets", id="ada/scripts")
        HubFiles(hub.endpoint, ADA.token).push(scripts, {"count.py": stranger.read_bytes()}, private=False)
        shown = rehearse(f"{hub.endpoint}/datasets/ada/scripts/resolve/main/count.py")
    outcomes = {verdict.step: verdict.outcome.value for verdict in shown.verdicts}
    assert (outcomes.pop("help"), outcomes.pop("bad-arguments"), outcomes.pop("token")) == ("passed",) * 3
    assert set(outcomes.values()) == {"not applicable"}
    assert shown.verdict("run").reason.startswith("nobody said how to run it: give arguments after --")
    assert (shown.name, shown.arguments) == ("count", None)


def test_what_a_url_does_not_hold_is_named() -> None:
    with embedded_hub() as hub:
        with pytest.raises(InputError, match=r"is not public \(status 401\)\. Fix: download"):
            rehearse(f"{hub.endpoint}/datasets/ada/scripts/resolve/main/count.py")
        gone = hub.endpoint
    with pytest.raises(EnvironmentFault, match=r"could not be fetched: .*refused"):
        rehearse(f"{gone}/x.py")


def test_with_arguments_every_step_applies(stranger: Path) -> None:
    shown = rehearse(stranger, arguments=["{input:questions}", "{output}"], kills=2, faults=4)
    outcomes = {verdict.step: verdict.outcome for verdict in shown.verdicts}
    assert outcomes.pop("shards") is Outcome.NOT_APPLICABLE
    assert set(outcomes.values()) == {Outcome.PASSED}, to_text(shown)
    assert shown.verdict("no-token").figures["exit_code"] == 1


def test_rows_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.jsonl").write_text('{"question": "Why is it so?"}\n{"question": "Who?"}\n', encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    shown = rehearse_or_raise(GOOD, arguments=["{input:./train.jsonl}", "{output}"], steps=["run"])
    assert shown.verdict("run").figures["rows"] == 2


def test_the_helper_for_tests_raises_with_the_report(broken: Broken) -> None:
    path = broken(('stop(3, "no token"', 'stop(0, "no token"'))
    with pytest.raises(AssertionError, match=r"no-token .*failed[^§]*expected: Without a token it exits with 3"):
        rehearse_or_raise(path, steps=["no-token"])


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("print()", ScriptError, "no line that is exactly '# /// script'"),
        (
            '# /// script\n# dependencies = ["there-is-no-such-package-jobshelf==9"]\n'
            "# [tool.uv]\n# no-index = true\n# ///\n",
            EnvironmentFault,
            "uv sync failed",
        ),
    ],
)
def test_what_cannot_be_run_is_an_error(tmp_path: Path, text: str, error: type[Exception], said: str) -> None:
    path = tmp_path / "x.py"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(error, match=said):
        rehearse(path)


def test_what_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        rehearse(tmp_path / "gone.py")
    with pytest.raises(UsageError, match=r"no step is called 'kil'.*name one of: help, bad-arguments"):
        rehearse(GOOD, steps=["kil"])
    with pytest.raises(UsageError, match=r"no fixture is called 'pdfs'.*finepdfs"):
        rehearse(GOOD, arguments=["{input:pdfs}", "{output}"])
    with pytest.raises(UsageError, match=r"\{inputs\} is no placeholder"):
        rehearse(GOOD, arguments=["{inputs}", "{output}"])


def test_a_list_that_is_none_is_named(broken: Broken) -> None:
    path = broken(('rehearse = ["{input:questions}", "{output}"]', 'rehearse = "{input} {output}"'))
    with pytest.raises(
        ScriptError, match=r"count_words.py:13: found rehearse = '\{input\} \{output\}', expected a list"
    ):
        rehearse(path)


def test_without_a_list_the_inputs_and_outputs_suggest_one(broken: Broken) -> None:
    path = broken(('# rehearse = ["{input:questions}", "{output}"]\n', ""))
    shown = rehearse(path, steps=["run", "missing-column"])
    assert shown.arguments == ("{input}", "{output}")
    assert shown.verdict("run").outcome is Outcome.PASSED, to_text(shown)
    assert shown.verdict("missing-column").outcome is Outcome.NOT_APPLICABLE


def test_a_private_input_needs_the_token(broken: Broken) -> None:
    path = broken(
        ('token = "write"', 'token = "read"'),
        ('"{input:questions}", "{output}"', '"{input:questions}", "{output}", "--dry-run"'),
        ('if not os.environ.get("HF_TOKEN"):', "if json.loads(ask('/api/whoami-v2')) is None:"),
    )
    shown = rehearse(path, steps=["no-token", "read-only-token"])
    assert shown.verdict("no-token").outcome is Outcome.FAILED
    assert shown.verdict("read-only-token").outcome is Outcome.NOT_APPLICABLE


def test_an_interrupt_ends_everything_at_once(broken: Broken, tmp_path: Path) -> None:
    path = broken(
        (
            "    rows, commit = read(",
            f"    Path('{tmp_path}/began').touch()\n    time.sleep(0.5)\n    rows, commit = read(",
        )
    )
    code = f"from jobshelf.rehearse import rehearse; rehearse({str(path)!r}, steps=['kill'])"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    env = {**os.environ, "TMPDIR": str(scratch)}
    process = subprocess.Popen([sys.executable, "-c", code], env=env, stderr=subprocess.PIPE, text=True)
    # the first run and its twin come before the runs that are killed side by side
    for _ in range(3):
        deadline = time.monotonic() + 60
        while not (tmp_path / "began").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        (tmp_path / "began").unlink()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=20)
    assert "KeyboardInterrupt" in said
    assert list(scratch.glob("jobshelf-*")) == []
    running = [entry for entry in Path("/proc").glob("[0-9]*") if str(scratch).encode() in cmdline(entry)]
    assert running == []


def cmdline(process: Path) -> bytes:
    try:
        return process.joinpath("cmdline").read_bytes()
    except OSError:
        return b""
