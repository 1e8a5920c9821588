"""The stub runner: what it captures, what it decides, and that nothing a script does gets out of it."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobshelf import interface
from jobshelf.interface import Probe, plausible_arguments, probe, run_with
from jobshelf.script import parse_script
from jobshelf.stub import compiling, fence, generated, patterns
from jobshelf.testing import vet_text
from jobshelf.vet.rules import interface as rules

CLI = """
import argparse
import datetime
from pathlib import Path


def shard(text):
    return tuple(map(int, text.split("/")))


parser = argparse.ArgumentParser(description="Count rows.")
parser.add_argument("input", metavar="INPUT", help="dataset")
parser.add_argument("output", nargs="?", help="dataset, default %(default)s")
parser.add_argument("--split", default="train", choices=["train", "test"], help="split (default: %(default)s)")
parser.add_argument("-n", "--max-samples", type=int, help="rows")
parser.add_argument("--shard", type=shard, default=(0, 1), help="I/N")
parser.add_argument("--folder", type=Path, default=Path.home() / "out", help="folder")
parser.add_argument("--work", default=str(Path.cwd()), help="folder")
parser.add_argument("--since", default=datetime.date(2026, 1, 2), help="date")
parser.add_argument("--names", default={"b", "a", "c"}, help="names")
parser.add_argument("--push", action=argparse.BooleanOptionalAction, default=True, help="push")
parser.add_argument("--tag", action="append", help="tags")
parser.add_argument("--secret", help=argparse.SUPPRESS)
visibility = parser.add_mutually_exclusive_group()
visibility.add_argument("--private", action="store_true", help="private")
visibility.add_argument("--public", action="store_true", help="public")
parser.parse_args()
"""

LIMITS = fence.Limits(processor=1, wall=2.0, memory=1 << 33, file=1 << 20, output=1 << 20)


def run(source: str, name: str = "script.py") -> Probe:
    return probe(parse_script(textwrap.dedent(source).encode(), name))


def calls(found: Probe) -> list[str]:
    return [event.name for event in found.without_token.events if event.kind == "call"]


def test_argparse_interface_is_captured_as_data() -> None:
    found = run(CLI, "count.py").interface
    assert found.library == "argparse"
    by_name = {argument.name: argument for argument in found.command.arguments}
    assert by_name["input"].required
    assert by_name["input"].metavar == "INPUT"
    assert (by_name["output"].nargs, by_name["output"].required) == ("?", False)
    assert by_name["split"].choices == ("train", "test")
    assert by_name["split"].help == "split (default: train)"
    assert by_name["max_samples"].flags == ("-n", "--max-samples")
    assert by_name["max_samples"].type == "int"
    assert (by_name["shard"].type, by_name["shard"].default) == ("shard", [0, 1])
    assert (by_name["folder"].type, by_name["folder"].default) == ("path", "~/out")
    assert by_name["work"].default == "."
    assert by_name["since"].default == "2026-01-02"
    assert by_name["names"].default == ["a", "b", "c"]
    assert (by_name["push"].type, by_name["push"].flags) == ("bool", ("--push", "--no-push"))
    assert by_name["tag"].repeated
    assert by_name["secret"].hidden
    assert by_name["private"].exclusive == by_name["public"].exclusive == 1
    assert found.command.description == "Count rows."
    assert found.command.usage == (
        "count.py [--split {train,test}] [--max-samples MAX_SAMPLES] [--shard SHARD] [--folder FOLDER] [--work WORK] "
        "[--since SINCE] [--names NAMES] [--push] [--tag TAG] [--private] [--public] INPUT [output]"
    )


def test_interface_is_the_same_from_another_process_and_names_no_machine_path() -> None:
    program = (
        "import json, sys; from jobshelf.interface import probe; from jobshelf.script import parse_script; "
        "print(json.dumps(probe(parse_script(sys.stdin.buffer.read(), 'count.py')).interface.as_data()))"
    )
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            input=CLI.encode(),
            capture_output=True,
            check=True,
            env={**os.environ, "COLUMNS": columns, "PYTHONHASHSEED": seed},
        ).stdout.decode()
        for columns, seed in (("40", "1"), ("200", "2"))
    }
    (text,) = texts
    assert json.loads(text) == run(CLI, "count.py").interface.as_data()
    assert tempfile.gettempdir() not in text
    assert str(Path.home()) not in text


def test_default_that_changes_from_run_to_run_is_left_out() -> None:
    found = run(
        """
        import argparse, time, uuid
        parser = argparse.ArgumentParser()
        parser.add_argument("--name", default=f"run-{uuid.uuid4()}")
        parser.add_argument("--rows", type=int, default=5)
        parser.parse_args()
        """
    )
    assert [argument.default for argument in found.interface.command.arguments] == [None, 5]


def test_subcommands_are_captured() -> None:
    found = run(
        """
        import argparse
        parser = argparse.ArgumentParser(prog="tool")
        commands = parser.add_subparsers(required=True)
        push = commands.add_parser("push", help="push it")
        push.add_argument("--to", required=True, help="target")
        parser.parse_args()
        """
    )
    (command,) = found.interface.command.commands
    assert (command.name, command.help, command.flags) == ("push", "push it", {"--to"})
    assert command.usage == "tool push --to TO"


def test_click_group_is_captured() -> None:
    found = run(
        """
        import click

        @click.group()
        def cli(): "Two things."

        @cli.command()
        @click.argument("src")
        @click.option("--mode", type=click.Choice(["a", "b"]), default="a", help="how")
        @click.option("--deep/--flat", default=False, help="depth")
        def go(src, mode, deep): "Go there."

        if __name__ == "__main__":
            cli()
        """,
        "tool.py",
    )
    assert found.interface.library == "click"
    (command,) = found.interface.command.commands
    src, mode, deep = command.arguments
    assert (src.kind, src.required) == ("positional", True)
    assert (mode.choices, mode.default, mode.help) == (("a", "b"), "a", "how")
    assert (deep.type, deep.flags) == ("bool", ("--deep", "--flat"))
    assert found.interface.command.usage == "tool.py {go} ..."
    assert found.unknown_option.exit == 2


def test_other_cli_libraries_are_real_when_installed(tmp_path: Path) -> None:
    (tmp_path / "with_typer.py").write_text(
        "import typer, torch\n"
        "def main(src: str, rows: int = 3, push: bool = False):\n    'Count.'\n    print(src)\n"
        "typer.run(main)\n"
    )
    (tmp_path / "with_tyro.py").write_text("import tyro\ndef main(rows: int): ...\ntyro.cli(main)\n")
    (tmp_path / "with_cyclopts.py").write_text("import cyclopts\ndef main(rows: int): ...\ncyclopts.run(main)\n")
    program = (
        "import json, sys; from pathlib import Path; from jobshelf.interface import probe; "
        "from jobshelf.script import read_script; found = [probe(read_script(Path(path))) for path in sys.argv[1:]]; "
        "print(json.dumps([[one.help.exit, one.unknown_option.exit, one.missing_required and one.missing_required.exit, "
        "one.interface and one.interface.as_data(), one.interface_inconclusive] for one in found]))"
    )
    done = subprocess.run(
        ["uv", "run", "--no-sync", "--with", "typer", "--with", "tyro", "--with", "cyclopts", "python", "-c", program]
        + [
            str(path) for path in (tmp_path / "with_typer.py", tmp_path / "with_tyro.py", tmp_path / "with_cyclopts.py")
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    typer, tyro, cyclopts = json.loads(done.stdout.splitlines()[-1])
    assert typer[:3] == [0, 2, 2]
    assert typer[3]["library"] == "typer"
    assert typer[3]["usage"] == "with_typer.py [--rows ROWS] [--push] src"
    assert tyro[:3] == [0, 2, None]
    assert cyclopts[0] == 0
    assert tyro[4] == cyclopts[4] == "no argparse, click or typer parser was used"


def test_plausible_arguments_satisfy_the_parser() -> None:
    found = run(
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("input")
        parser.add_argument("rows", type=int, nargs=2)
        parser.add_argument("--mode", choices=["fast", "slow"], required=True)
        parser.parse_args()
        """
    )
    assert plausible_arguments(found.interface) == ["--mode", "fast", "user/name", "1", "1"]
    assert found.without_token.exit == 0
    assert found.missing_required.exit == 2


def test_rehearsal_arguments_of_the_header_are_used() -> None:
    found = run(
        """
        # /// script
        # requires-python = ">=3.11"
        # dependencies = []
        # [tool.jobshelf]
        # rehearse = ["{input}", "--json"]
        # ///
        import sys
        print(sys.argv[1:])
        """
    )
    assert found.declared
    assert found.without_token.stdout == "['user/input', '--json']\n"


def test_trace_shows_the_order_of_stubbed_calls() -> None:
    found = run(
        """
        import torch
        from datasets import load_dataset
        from huggingface_hub import HfApi, get_token
        print(get_token())
        rows = load_dataset("a/b", split="train")
        for row in rows.map(lambda row: row):
            torch.nn.Linear(3, 4)(row)
        HfApi().create_repo("a/b")
        """
    )
    assert calls(found) == [
        "huggingface_hub.get_token",
        "datasets.load_dataset",
        "datasets.load_dataset().map",
        "torch.nn.Linear",
        "torch.nn.Linear()",
        "huggingface_hub.HfApi.create_repo",
    ]
    event = next(event for event in found.without_token.events if event.name == "datasets.load_dataset")
    assert event.arguments == ("'a/b'", "split='train'")
    assert found.without_token.stdout == "None\n"


def test_hub_double_refuses_as_the_hub_does() -> None:
    found = run(
        """
        from huggingface_hub import HfApi
        from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, RepositoryNotFoundError
        from huggingface_hub.utils import HFValidationError, validate_repo_id
        assert issubclass(RepositoryNotFoundError, HfHubHTTPError)
        for call in (HfApi().whoami, lambda: HfApi().create_repo("a/b"), lambda: validate_repo_id("a//b")):
            try:
                call()
            except LocalTokenNotFoundError as error:
                print("HF_TOKEN" in str(error))
            except HfHubHTTPError as error:
                print(error.response.status_code)
            except HFValidationError:
                print("not a name")
        HfApi().dataset_info("a/b").sha
        """
    )
    assert found.without_token.stdout == "True\n401\nnot a name\n"


def test_stubs_stand_in_for_classes_decorators_and_errors() -> None:
    found = run(
        """
        import torch
        from pydantic_settings import BaseSettings
        from requests.exceptions import HTTPError
        from tenacity import retry

        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.rows = 3

        class Settings(BaseSettings):
            name: str = "a"

        @retry(stop=3)
        def work(rows):
            raise HTTPError("no")

        with torch.no_grad():
            try:
                work(Net().rows)
            except HTTPError as error:
                print(type(error).__name__, Settings(name="b").name, isinstance(Net(), Net))
        """
    )
    assert found.without_token.stdout == "HTTPError b True\n"


def test_a_branch_on_a_stub_is_told_as_a_guess_and_a_failure_after_it_decides_nothing() -> None:
    found = run("import torch\nif torch.cuda.device_count() > 3:\n    pass\nraise ValueError('later')\n")
    assert found.help.guesses == ("gt(torch.cuda.device_count())",)
    assert "ValueError: later" in found.help.inconclusive
    assert run("raise ValueError('at once')").help.inconclusive is None
    asked = "import torch\nfor row in torch.rows: pass\nif torch.ready and len(torch.rows) and 3 in torch.rows: pass\n"
    expected = ("iter(torch.rows)", "bool(torch.ready)", "len(torch.rows)", "in(torch.rows)")
    assert run(asked).help.guesses == expected


def test_a_parser_that_is_a_stub_is_inconclusive_with_its_name() -> None:
    found = run("from trl import TrlParser\nTrlParser(dict).parse_args_and_config()\n")
    assert found.interface is None
    assert "trl.TrlParser().parse_args_and_config" in found.interface_inconclusive


def test_neither_token_nor_environment_of_the_caller_reach_the_script(monkeypatch: pytest.MonkeyPatch) -> None:
    canary = "hf_canary" + "x" * 20
    monkeypatch.setenv("HF_TOKEN", canary)
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    found = run("import os\nprint(sorted(os.environ), os.listdir(os.path.expanduser('~')))\n")
    assert canary not in repr(found)
    assert found.help.stdout == "['COLUMNS', 'HOME', 'LANG', 'LINES', 'NO_COLOR', 'PATH', 'TERM', 'TMPDIR'] []\n"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("raise SystemExit", 0),
        ("raise SystemExit(7)", 7),
        ("raise SystemExit('no')", 1),
        ("1 / 0", 1),
        ("import os; os._exit(5)", 5),
        ("import atexit; atexit.register(print, 'bye')", 0),
        ("import threading; threading.Thread(target=print, args=('bye',)).start()", 0),
        ("import asyncio; asyncio.run(asyncio.sleep(0))", 0),
    ],
)
def test_exit_code_is_that_of_the_interpreter(source: str, code: int) -> None:
    found = run(source).help
    assert (found.exit, found.ended, found.stopped) == (code, None, None)
    assert ("bye" in source) == (found.stdout == "bye\n")


def test_the_script_may_be_anything_but_a_script() -> None:
    assert run("def broken(").help.inconclusive == "the file is not Python"
    large = "x = 1\n" + "#" * interface.MAX_BYTES
    assert "larger than" in run(large).interface_inconclusive


def test_what_only_the_compiler_refuses_is_an_error_of_the_script() -> None:
    found = run("return 1")
    assert (found.help.exit, found.help.error) == (1, "SyntaxError: 'return' outside function")


@pytest.mark.parametrize("name", ["..", "a\nb.py", "x" * 300 + ".py", "https://example.org/count.py?download=1", ""])
def test_any_path_may_name_the_script(name: str) -> None:
    assert run("import sys; print(sys.argv[0])", name).help.stdout == "script.py\n"


HOSTILE = {
    "loops": "while True: pass",
    "forks": "import os\nwhile True: os.fork()",
    "forks_and_catches": "import os\nwhile True:\n    try: os.fork()\n    except OSError: pass",
    "daemonises": "import os, time\nif os.fork(): os._exit(0)\nos.setsid()\nif os.fork(): os._exit(0)\ntime.sleep(600)",
    "writes_outside": "open({outside!r}, 'w').write('x')",
    "writes_many": "for n in range(10**6): open(f'f{{n}}', 'w').write('x')",
    "writes_much": "f = open('big', 'wb')\nwhile True: f.write(b'x' * 10**6)",
    "makes_folders": "import os\nwhile True: os.mkdir('d' * 50); os.chdir('d' * 50)",
    "prints_a_terabyte": "while True: print('x' * 10**5)",
    "prints_to_stderr": "import sys\nwhile True: sys.stderr.write('x' * 10**5)",
    "leaves_at_once": "import os; os._exit(0)",
    "deletes_its_folder": "import os, shutil; shutil.rmtree(os.getcwd()); os.getcwd()",
    "deletes_outside": "import os; os.remove({outside!r})",
    "takes_all_memory": "a = []\nwhile True: a.append('x' * 10**7)",
    "starts_threads": "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9**9,)).start()",
    "closes_all_pipes": "import os; os.closerange(0, 10**5); os.write(1, b'x')",
    "crashes": "import ctypes; ctypes.string_at(0)",
    "ends_its_limits": "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (-1, -1))\nwhile True: pass",
    "runs_a_program": "import os; os.execvp('touch', ['touch', {outside!r} + '2'])",
    "runs_a_shell": "import os; os.system('touch ' + {outside!r} + '2')",
    "connects": "import socket; socket.create_connection(('127.0.0.1', {port}))",
    "ignores_signals": "import signal\nfor n in range(1, 31):\n    try: signal.signal(n, signal.SIG_IGN)\n"
    "    except (OSError, ValueError): pass\nwhile True: pass",
    "loops_over_a_stub": "import torch\nwhile torch.cuda.is_available(): pass",
    "recurses": "import sys\nsys.setrecursionlimit(10**8)\ndef f(): f()\nf()",
}
REFUSED = {
    "import os; os.kill(os.getppid(), 0)": ("signal", "0"),
    "import os; os.kill(-1, 0)": ("signal", "0"),
    "import os; os.fork()": ("process", "fork"),
    "import os; os.execv('/bin/true', ['true'])": ("process", "/bin/true"),
    "import subprocess; subprocess.run(['nvidia-smi'])": ("process", "nvidia-smi"),
    "import urllib.request as r; r.urlopen('http://127.0.0.1:{port}/')": ("network", "127.0.0.1"),
    "import socket; socket.socket().bind(('127.0.0.1', 0))": ("network", "socket"),
    "import ctypes; ctypes.CDLL('libc.so.6')": ("native", "libc.so.6"),
    "open({outside!r}, 'a')": ("write", "{outside}"),
    "import os; os.rename({outside!r}, 'here')": ("remove", "{outside}"),
    "import shutil; shutil.rmtree({outside!r})": ("remove", "{outside}"),
}
# The same by the C library: Python's own layer sees none of it, only the kernel's fences stop it.
NATIVE = """
import ctypes
import os
lib = ctypes.pythonapi
path = {outside!r}.encode()
address = bytes([2, 0]) + ({port}).to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
handle = lib.socket(2, 1, 0)
print("socket", handle, lib.connect(handle, address, 16))
print("fork", lib.fork())
print("kill", lib.kill(-1, 0), lib.kill({pid}, 0))
print("unlink", lib.unlink(path), "open", lib.open(path + b"2", 0o101, 0o600))
print("chmod", lib.chmod(path, 0))
print("execv", lib.execv(b"/bin/true", None))
print("read", lib.open(path, 0))
"""


@pytest.fixture
def surroundings(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, object]]:
    """A file, a listening port, the process list and a temporary folder, all as before when the test is over."""
    # A folder of our own: other runs on this machine come and go in the common one.
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    canary = tmp_path / "canary"
    canary.write_text("still here")
    run("")  # the warmed process is started
    processes, listed = _processes(_folder()), set(temporary.iterdir())
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        yield {"outside": str(canary), "port": server.getsockname()[1], "pid": os.getpid()}
        with pytest.raises(TimeoutError):
            server.accept()
    assert canary.read_text() == "still here"
    assert canary.stat().st_mode & 0o777 != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["canary"]
    _until_gone(processes, _folder())
    assert [path.name for path in set(temporary.iterdir()) - listed] == []
    left = {path.relative_to(_folder()).as_posix() for path in _folder().rglob("*")}
    assert left <= {"run", "run/code", "run/home", "run/tmp", "run/work"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_script_is_found_out_and_leaves_nothing_behind(name: str, surroundings: dict[str, object]) -> None:
    report = vet_text(HOSTILE[name].format(**surroundings), select=["UVS901"])
    assert report.findings or report.inconclusive


@pytest.mark.parametrize("source", REFUSED)
def test_deed_is_refused_and_recorded(source: str, surroundings: dict[str, object]) -> None:
    kind, name = REFUSED[source]
    found = run(source.format(**surroundings)).help
    assert (kind, name.format(**surroundings)) in [(event.kind, event.name) for event in found.events]
    assert (found.exit, "a stub run " in found.error) == (1, True)


def test_native_code_is_stopped_by_the_kernel(surroundings: dict[str, object]) -> None:
    found = run(NATIVE.format(**surroundings))
    assert found.help.stdout.splitlines() == [
        "socket -1 -1",
        "fork -1",
        "kill -1 -1",
        "unlink -1 open -1",
        "chmod 0",
        "execv -1",
        "read -1",
    ]


def test_a_dataclass_is_the_same_whether_its_methods_were_compiled_or_known() -> None:
    source = """
        import argparse, dataclasses

        @dataclasses.dataclass(frozen=True, order=True)
        class Row:
            number: int
            name: str = "x"

        argparse.ArgumentParser().parse_args()
        print(Row(1), Row(1) == Row(1, "x"), sorted([Row(2), Row(1)])[0].number, hash(Row(1)) == hash(Row(1)))
        try:
            Row(1).number = 2
        except dataclasses.FrozenInstanceError as error:
            print(error)
    """
    expected = "Row(number=1, name='x') True 1 True\ncannot assign to field 'number'\n"
    assert [run(source).without_token.stdout for _ in range(3)] == [expected] * 3


def test_code_is_made_of_what_compiles_and_of_nothing_else() -> None:
    forged = ["x = (", 3, None, ["y = 1"], "z = '" + "a" * 100_000 + "'", "\0", "def good(): return 1"]
    assert list(generated.compile_all(forged)) == ["def good(): return 1"]
    assert len(generated.compile_all([f"x{number} = 1" for number in range(10_000)])) < 3_000
    assert generated.compile_all(5) == {}


def test_code_that_is_known_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataclasses, "exec", exec, raising=False)  # taken away again after the test
    fields = [("number", int), ("name", str)]
    first = generated.use({})
    dataclasses.make_dataclass("Row", fields)
    assert first
    second = generated.use(generated.compile_all(first))
    assert dataclasses.make_dataclass("Row", fields)(1, "x").name == "x"
    assert second == []


def test_a_text_is_compiled_in_another_process() -> None:
    names: dict[str, object] = {}
    exec(
        compiling.compiled_apart("value = {'\u00e9': (1, 2.5, b'x', frozenset({3}))}", "script.py", LIMITS, None), names
    )
    assert names["value"] == {"\u00e9": (1, 2.5, b"x", frozenset({3}))}
    assert compiling.compiled_apart("x = (", "script.py", LIMITS, None) is None


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), 9)", "[0] * (1 << 40)", "[0 for _ in iter(int, 1)]", "1 / 0"])
def test_the_process_that_compiles_may_fall_down(end: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling, "compiled", lambda source, path: eval(end))
    assert compiling.compiled_apart("x = 1", "script.py", LIMITS, None) is None


def test_what_the_compiler_warns_of_is_not_shown_as_the_tools_own(tmp_path: Path) -> None:
    script = tmp_path / "warn.py"
    script.write_text(f"{CLI}assert (1, 'always true')\n")
    command = [sys.executable, "-m", "jobshelf", "vet", "--select", "UVS901", str(script)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 script: nothing found.\n", "")


def test_a_warning_for_a_pattern_is_shown_in_every_run() -> None:
    runs = run("import re\nre.compile('[[a]')\nprint(re.compile('(b+)').sub(r'<\\1>', 'abba'))")
    for made in (runs.help, runs.without_token):
        assert made.stdout == "a<bb>a\n"
        assert "FutureWarning: Possible nested set" in made.stderr


def test_patterns_that_are_known_are_not_compiled_again() -> None:
    re.compile("before")
    mark = patterns.newest()
    re.compile("first(?:of two)+"), re.compile(b"bytes"), re.compile("second", re.ASCII | re.IGNORECASE)
    fresh = patterns.compiled_since(mark)
    assert fresh == [("second", int(re.ASCII | re.IGNORECASE)), ("first(?:of two)+", 0)]
    re.purge()
    patterns.compile_all([list(pattern) for pattern in fresh])
    assert patterns.compiled_since(None) == fresh


@pytest.mark.parametrize(
    "forged",
    [5, None, [3], [["(", 0]], [["a", "b"]], [["[[a]", 0]], [["a" * 10_000, 0]], [["a", 1 << 40]], [["a{9}" * 2]]],
)
def test_nothing_is_compiled_that_is_no_pattern(forged: object) -> None:
    re.purge()
    patterns.compile_all(forged)
    assert patterns.newest() is None


def test_a_run_that_has_no_network_loads_no_certificates() -> None:
    source = "import argparse, ssl; argparse.ArgumentParser().parse_args(); print(ssl.create_default_context().cert_store_stats())"
    run(source)
    assert run(source).without_token.stdout == "{'x509': 0, 'crl': 0, 'x509_ca': 0}\n"


@pytest.mark.parametrize(
    "deed",
    [
        "here.unlink(); here.symlink_to({outside!r})",
        "here.unlink(); here.mkdir(); (here / 'file').touch()",
        "shutil.rmtree(here.parent); here.parent.symlink_to(Path({outside!r}).parent)",
        "here.parent.rename(here.parent.parent / 'elsewhere')",
        "shutil.rmtree(Path.home()); Path.home().write_text('a file')",
        "(Path.home() / 'a').touch(); Path('b').touch(); Path(os.environ['TMPDIR'], 'c').touch()",
        "Path.cwd().rmdir()",
    ],
)
def test_a_run_finds_nothing_of_the_run_before(deed: str, surroundings: dict[str, object]) -> None:
    look = "import os\nfrom pathlib import Path\nroot = Path.home().parent\n"
    look += (
        "print(sorted(str(p.relative_to(root)) + ' f' * p.is_file() + ' l' * p.is_symlink() for p in root.rglob('*')))"
    )
    done = run(f"import os, shutil\nfrom pathlib import Path\nhere = Path(__file__)\n{deed.format(**surroundings)}")
    assert (done.help.exit, done.unknown_option.exit) == (0, 0)
    assert run(look).help.stdout == "['code', 'code/script.py f', 'home', 'tmp', 'work']\n"


def test_an_example_that_stands_twice_is_run_once_and_reported_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(rules, "run_with", lambda script, words: asked.append(words) or run_with(script, words))
    examples = "uv run script.py a b\n    hf jobs uv run script.py -- a b\n    uv run script.py c"
    source = f"'''Count rows.\n\n    {examples}\n'''\n"
    source += "import argparse\np = argparse.ArgumentParser()\np.add_argument('x')\np.parse_args()\n"
    report = vet_text(f'# /// script\n# requires-python = ">=3.11"\n# ///\n{source}', select=["UVS302"])
    assert [(finding.line, finding.found) for finding in report.findings] == [
        (6, "script.py: error: unrecognized arguments: b"),
        (7, "script.py: error: unrecognized arguments: b"),
    ]
    assert asked == [("a", "b"), ("c",)]


def test_a_script_that_waits_for_ever_is_given_up(surroundings: dict[str, object]) -> None:
    found = run("import threading; threading.Event().wait()")
    assert found.help.ended == "it did not end within 6 s"
    assert "not run again" in found.without_token.inconclusive


def test_the_warmed_process_is_started_again_after_its_death() -> None:
    run("")
    interface._running._process.kill()
    interface._running._process.wait()
    assert run("print('usage')").help.stdout == "usage\n"


def test_a_forked_caller_gets_a_process_of_its_own() -> None:
    run("")
    before = _processes()
    child = os.fork()
    if child == 0:
        try:
            os._exit(0 if run("print('usage')").help.stdout == "usage\n" else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert run("print('usage')").help.exit == 0
    _until_gone(before)


def _folder() -> Path:
    return Path(interface._running._folder)


def _processes(folder: Path | None = None) -> set[int]:
    """Return the ids of all processes that a stub run started, in any session; of one warmed process's `folder` only."""
    marks = [b"jobshelf.stub", os.fsencode(folder or "")]
    found = set()
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and all(mark in (entry / "cmdline").read_bytes() for mark in marks):
                found.add(int(entry.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def _until_gone(before: set[int], folder: Path | None = None) -> None:
    """Wait until no process but those of `before` is left; a process whose stdin has ended needs a moment to go."""
    for number in _processes(folder) - before:
        try:
            handle = os.pidfd_open(number)
        except ProcessLookupError:
            continue
        assert select.select([handle], [], [], 10)[0], f"process {number} is still there"
        os.close(handle)
