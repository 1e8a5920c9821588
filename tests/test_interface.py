"""The stub runner: what it captures, what it decides, and that nothing a script does gets out of it."""

from __future__ import annotations

import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from jobshelf import cli, interface
from jobshelf.errors import EnvironmentFault
from jobshelf.interface import Probe, plausible_arguments, probe, run_with
from jobshelf.script import parse_script
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
    assert "trl.TrlParser()" in found.interface_inconclusive


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
# Python's own layer, switched off: what follows is the kernel's to refuse.
UNGUARDED = """
import gc, types
for found in gc.get_objects():
    if isinstance(found, types.FunctionType) and found.__name__ == "hook" and "fence" in found.__code__.co_filename:
        for cell in found.__closure__:
            cell.cell_contents = {{}} if isinstance(cell.cell_contents, dict) else lambda *_: None
import ctypes
lib = ctypes.pythonapi
path = {outside!r}.encode()
"""
DEADLY = ["lib.fork()", "lib.vfork()", "lib.kill(-1, 0)", "lib.kill({pid}, 0)", "lib.execv(b'/bin/true', None)"]
REFUSALS = """
address = bytes([2, 0]) + ({port}).to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
print("socket", lib.socket(2, 1, 0))
print("unlink", lib.unlink(path), "open", lib.open(path + b"2", 0o101, 0o600))
print("plant", *(lib.open(name, 0o101, 0o600) for name in (b"../../ensurepip.py", b"../x", b"../code/x", {code!r})))
print("chmod", lib.chmod(path, 0))
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


def test_what_native_code_asks_for_is_refused_by_the_kernel(surroundings: dict[str, object]) -> None:
    found = run((UNGUARDED + REFUSALS).format(**surroundings, code=os.fsencode(_folder() / "run/code/script.py")))
    expected = ["socket -1", "unlink -1 open -1", "plant -1 -1 -1 -1", "chmod 0", "read -1"]
    assert found.help.stdout.splitlines() == expected
    assert [event.kind for event in found.help.hostile] == ["evasion"]


@pytest.mark.parametrize("call", DEADLY)
def test_native_code_that_leaves_the_fence_is_killed_by_the_kernel(call: str, surroundings: dict[str, object]) -> None:
    found = run((UNGUARDED + call).format(**surroundings)).help
    assert (found.exit, found.ended) == (None, "it was killed by SIGSYS")
    assert found.breach == "it made a system call that only an attempt to leave the fence makes"


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


def test_a_run_that_has_no_network_loads_no_certificates() -> None:
    source = "import argparse, ssl; argparse.ArgumentParser().parse_args(); print(ssl.create_default_context().cert_store_stats())"
    run(source)
    assert run(source).without_token.stdout == "{'x509': 0, 'crl': 0, 'x509_ca': 0}\n"


@pytest.mark.parametrize(
    ("deed", "status"),
    [
        ("here.unlink(); here.symlink_to({outside!r})", 1),
        ("shutil.rmtree(here.parent); here.parent.symlink_to(Path({outside!r}).parent)", 1),
        ("here.parent.rename(here.parent.parent / 'elsewhere')", 1),
        ("shutil.rmtree(Path.home()); Path.home().write_text('a file')", 1),
        ("Path.cwd().rmdir()", 1),
        ("(Path.home() / 'a').touch(); Path('b').touch(); Path(os.environ['TMPDIR'], 'c').touch()", 0),
        ("Path('a', 'b', 'c').mkdir(parents=True); Path('a/b/link').symlink_to('/')", 0),
        ("Path('a').mkdir(); Path('a/b').touch(); os.rename('a/b', Path.home() / 'c\\n')", 0),
    ],
)
def test_a_run_finds_nothing_of_the_run_before(deed: str, status: int, surroundings: dict[str, object]) -> None:
    look = "import os\nfrom pathlib import Path\nroot = Path.home().parent\n"
    look += (
        "print(sorted(str(p.relative_to(root)) + ' f' * p.is_file() + ' l' * p.is_symlink() "
        "for n in ('code', 'home', 'tmp', 'work') for p in (root / n).rglob('*')))"
    )
    done = run(f"import os, shutil\nfrom pathlib import Path\nhere = Path(__file__)\n{deed.format(**surroundings)}")
    assert (done.help.exit, done.unknown_option.exit) == (status, status)
    assert run(look).help.stdout == "['code/script.py f']\n"


def test_an_example_that_stands_twice_is_run_once_and_reported_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        rules, "run_with", lambda script, words, **options: asked.append(words) or run_with(script, words, **options)
    )
    examples = "uv run script.py a b\n    hf jobs uv run script.py -- a b\n    uv run script.py c"
    source = f"'''Count rows.\n\n    {examples}\n'''\n"
    source += "import argparse\np = argparse.ArgumentParser()\np.add_argument('x')\np.parse_args()\n"
    report = vet_text(f'# /// script\n# requires-python = ">=3.11"\n# ///\n{source}', select=["UVS302"])
    assert [(finding.line, finding.found) for finding in report.findings] == [
        (6, "script.py: error: unrecognized arguments: b"),
        (7, "script.py: error: unrecognized arguments: b"),
    ]
    assert asked == [("a", "b"), ("c",)]


def test_temporary_names_are_the_same_in_every_run() -> None:
    source = """
    import sys
    import tempfile

    with tempfile.NamedTemporaryFile(prefix="rows-", suffix=".csv") as file:
        sys.exit(f"{tempfile.gettempdir()} {file.name} {tempfile.mkdtemp()}")
    """
    first, second = run(source), run(source)
    assert first.help.stderr == second.help.stderr == "/tmp /tmp/rows-00000000.csv /tmp/tmp00000001\n"
    assert [event.name for event in first.help.events] == [event.name for event in second.help.events]
    messages = [finding.message for finding in vet_text(textwrap.dedent(source), select=["UVS901"]).findings]
    assert messages == [finding.message for finding in vet_text(textwrap.dedent(source), select=["UVS901"]).findings]
    assert messages


def test_a_script_that_waits_for_ever_is_given_up(surroundings: dict[str, object]) -> None:
    found = run("import threading; threading.Event().wait()")
    assert found.help.ended == "it did not end within 6 s"
    assert "not run again" in found.without_token.inconclusive


def test_the_warmed_process_is_started_again_after_its_death() -> None:
    run("")
    interface._running._process.kill()
    interface._running._process.wait()
    assert run("print('usage')").help.stdout == "usage\n"


def test_a_process_that_dies_while_it_runs_a_script_is_an_error_of_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("")
    script = tmp_path / "waits.py"
    script.write_text("import threading; threading.Event().wait()\n")
    killer = threading.Timer(0.5, interface._running._process.kill)
    killer.start()
    assert cli.main(["vet", "--select", "UVS901", str(script)]) == 5
    killer.join()
    assert "the process that runs scripts with stubbed imports ended" in capsys.readouterr().err
    assert run("print('usage')").help.stdout == "usage\n"


def test_a_process_that_does_not_answer_is_an_error_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    run("")
    monkeypatch.setitem(interface.LIMITS, "wall", 0.2)
    monkeypatch.setattr(interface, "_PATIENCE_SECONDS", 0.3)
    interface._running._process.send_signal(signal.SIGSTOP)
    with pytest.raises(EnvironmentFault, match="did not answer in time"):
        run("")


def test_a_run_that_cannot_be_prepared_is_an_error_of_the_environment() -> None:
    run("")
    (_folder() / "run" / "work").rmdir()
    with pytest.raises(EnvironmentFault, match=r"could not run it|ended"):
        run("print('usage')")
    assert run("print('usage')").help.stdout == "usage\n"


def test_only_modules_of_the_list_are_loaded_beforehand() -> None:
    program = (
        "import sys; from jobshelf.stub.warm import Warmed; warmed = Warmed(); before = set(sys.modules); "
        "warmed.load(['venv.__main__', 'antigravity', 'this', 'jobshelf.cli', 'os.path.x', '', 'csv']); "
        "print(sorted({name for name in set(sys.modules) - before if not name.startswith('_')}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "['csv']\n"


def test_a_child_inherits_four_descriptors_and_nothing_else() -> None:
    source = """
        import os
        found = []
        for handle in range(4096):
            try:
                os.fstat(handle)
                found.append(handle)
            except OSError:
                pass
        print(found[:3], len(found))
    """
    assert run(source).help.stdout == "[0, 1, 2] 4\n"


@pytest.fixture
def without_landlock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process as on a kernel without Landlock; the one before is ended, as is this one."""

    def end() -> None:
        if interface._running is not None:
            interface._running.close()
        monkeypatch.setattr(interface, "_running", None)

    end()
    monkeypatch.setattr(interface, "NEWEST_LANDLOCK", 0)
    yield
    end()


@pytest.mark.usefixtures("without_landlock")
def test_without_landlock_a_script_that_writes_is_inconclusive_and_a_hint_says_what_is_missing() -> None:
    found = run(f"{CLI}Path('a').write_text('x')\n")
    assert (found.help.exit, found.unknown_option.exit) == (0, 2)
    assert "cannot allow on a system without Landlock" in found.without_token.inconclusive
    assert "lacks Landlock" in found.unfenced
    report = vet_text(CLI, select=["UVS906"])
    assert [(finding.severity, report.exit_code) for finding in report.findings] == [("hint", 0)]
    assert "lacks Landlock" in report.findings[0].message


@pytest.mark.usefixtures("without_landlock")
def test_without_landlock_a_script_from_a_url_is_not_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "count.py").write_text(CLI)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/count.py"
        assert cli.main(["vet", "--select", "UVS901", url]) == 5
        message = capsys.readouterr().err
        assert f"{url} was not run" in message
        assert "--unfenced" in message
        assert cli.main(["vet", "--select", "UVS901", "--unfenced", url]) == 0
        assert cli.main(["vet", "--select", "UVS901", "--no-stub", url]) == 0
        server.shutdown()
    assert interface.captured_interface(parse_script(CLI.encode(), url)) is None


def test_a_parser_with_more_than_plain_data_is_captured_as_far_as_it_goes() -> None:
    found = run(
        """
        import argparse
        parser = argparse.ArgumentParser()
        parser.add_argument("--limit", type=float, default=float("inf"))
        parser.add_argument("--seed", type=int, default=1 << 80)
        parser.add_argument("--nested", default=[[[[[[1]]]]]])
        parser.add_argument("--many", default=list(range(1000)))
        parser.parse_args()
        """
    ).interface
    limit, seed, nested, many = (argument.default for argument in found.command.arguments)
    assert (limit, seed, nested, len(many)) == ("inf", str(1 << 80), [[[["<list>"]]]], 200)
    large = run("import argparse\np = argparse.ArgumentParser(description='x' * 10**6)\np.parse_args()\n")
    assert large.interface_inconclusive == "argparse: a text is not one of at most 20000 characters"
    assert large.help.breach is None


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
