"""Ways to break a sound script, each with the rule that must notice.

A mutation is a function from a script's text to the broken text, or to None where the script has nothing to break that way (a script that
needs no token cannot lose its token assertion). The docstring of each says what a person would have done wrong.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

Change = Callable[[str], str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A named change and the code of the rule that must report it. `slow` ones cost seconds of processor time."""

    name: str
    code: str
    change: Change
    slow: bool = False

    @property
    def description(self) -> str:
        """What was done wrong."""
        return (self.change.__doc__ or "").strip()


MUTATIONS: list[Mutation] = []


def breaks(code: str, *, slow: bool = False) -> Callable[[Change], Change]:
    """Register the decorated change as one that the rule `code` must report."""

    def register(change: Change) -> Change:
        MUTATIONS.append(Mutation(name=change.__name__, code=code, change=change, slow=slow))
        return change

    return register


# --- helpers ---


def header_of(text: str) -> str:
    """Return the header, with its two fences."""
    return text[text.index("# /// script") : text.index("\n# ///\n") + len("\n# ///\n")]


def table_of(text: str, name: str) -> dict[str, object]:
    """Return `[tool.<name>]` of the header."""
    lines = header_of(text).splitlines()[1:-1]
    return tomllib.loads("\n".join(line[2:] for line in lines)).get("tool", {}).get(name, {})


@lru_cache(maxsize=1)
def tree_of(text: str) -> ast.Module:
    """Return the syntax tree, which all changes of one script read and none changes."""
    return ast.parse(text)


def in_header(pattern: str, replacement: str) -> Change:
    """Return the change that replaces the first match of `pattern` inside the header."""

    def change(text: str) -> str | None:
        header = header_of(text)
        changed = re.sub(pattern, replacement, header, count=1, flags=re.MULTILINE)
        return text.replace(header, changed, 1) if changed != header else None

    return change


def in_docstring(text: str, pattern: str, replacement: str) -> str | None:
    """Replace the first match of `pattern` in the source of the docstring."""
    node = tree_of(text).body[0]
    lines = text.splitlines(keepends=True)
    docstring = "".join(lines[node.lineno - 1 : node.end_lineno])
    changed = re.sub(pattern, replacement, docstring, count=1, flags=re.MULTILINE)
    return text.replace(docstring, changed, 1) if changed != docstring else None


def substitute(text: str, pattern: str, replacement: str) -> str | None:
    """Replace the first match of `pattern` outside the header."""
    header = header_of(text)
    before, after = text.split(header, 1)
    changed = re.sub(pattern, replacement, after, count=1, flags=re.MULTILINE)
    return before + header + changed if changed != after else None


def insert(text: str, line: int, code: str, indent: int = 0) -> str:
    """Insert `code` before the 1-based `line`."""
    lines = text.splitlines(keepends=True)
    new = "".join(f"{' ' * indent}{row}\n" if row else "\n" for row in code.splitlines())
    return "".join(lines[: line - 1]) + new + "".join(lines[line - 1 :])


def function(text: str, name: str) -> ast.FunctionDef | None:
    """Return the first function of this name."""
    return next(
        (node for node in ast.walk(tree_of(text)) if isinstance(node, ast.FunctionDef) and node.name == name), None
    )


def at_start_of(text: str, name: str, code: str) -> str | None:
    """Insert `code` as the first statements of the function `name`."""
    found = function(text, name)
    if found is None:
        return None
    first = found.body[1] if isinstance(found.body[0], ast.Expr) and len(found.body) > 1 else found.body[0]
    return insert(text, first.lineno, code, first.col_offset)


def after_parsing(text: str, code: str) -> str | None:
    """Insert `code` after the statement that calls `parse_args`."""
    for node in ast.walk(tree_of(text)):
        if isinstance(node, ast.Assign) and "parse_args(" in ast.unparse(node.value):
            return insert(text, node.end_lineno + 1, code, node.col_offset)
    return None


def before_guard(text: str, code: str) -> str:
    """Insert `code` at module level, above the `__main__` guard."""
    return text.replace('\nif __name__ == "__main__":', f'\n{code}\n\nif __name__ == "__main__":', 1)


def needs_token(text: str) -> bool:
    """Tell whether the header says that the rehearsal needs a token."""
    return table_of(text, "jobshelf").get("token", "none") != "none"


def persists(text: str) -> bool:
    """Tell whether the header says that the script persists something on the Hub."""
    return str(table_of(text, "jobshelf").get("persists", "none")).startswith("hub")


# --- header ---


@breaks("UVS101")
def header_trailing_space(text: str) -> str | None:
    """A blank after `# /// script`: uv sees no header."""
    return text.replace("# /// script\n", "# /// script \n", 1)


@breaks("UVS101")
def header_without_space(text: str) -> str | None:
    """`#/// script`: uv sees no header."""
    return text.replace("# /// script\n", "#/// script\n", 1)


@breaks("UVS101")
def header_capitalised(text: str) -> str | None:
    """`# /// Script`: uv sees no header."""
    return text.replace("# /// script\n", "# /// Script\n", 1)


@breaks("UVS101")
def header_indented(text: str) -> str | None:
    """The whole header indented: uv sees no header."""
    header = header_of(text)
    return text.replace(header, "".join(f" {line}\n" for line in header.splitlines()), 1)


@breaks("UVS101")
def header_gone(text: str) -> str | None:
    """The header deleted."""
    return text.replace(header_of(text), "", 1)


@breaks("UVS101")
def byte_order_mark(text: str) -> str | None:
    """Saved with a byte order mark in front of the header, as some editors do."""
    return "\ufeff" + text[text.index("# /// script") :]


@breaks("UVS102")
def header_below_docstring(text: str) -> str | None:
    """The header moved below the docstring."""
    header = header_of(text)
    rest = text.replace(header, "", 1)
    return insert(rest, ast.parse(rest).body[0].end_lineno + 1, "\n" + header)


@breaks("UVS103")
def header_not_closed(text: str) -> str | None:
    """The closing `# ///` deleted."""
    return text.replace("\n# ///\n", "\n", 1)


@breaks("UVS103")
def header_not_toml(text: str) -> str | None:
    """A quote lost in the header."""
    return in_header(r'^# requires-python = "', "# requires-python = ")(text)


@breaks("UVS103")
def header_twice(text: str) -> str | None:
    """The header pasted a second time."""
    return text + "\n" + header_of(text)


@breaks("UVS104")
def key_misspelt(text: str) -> str | None:
    """`dependancies`: uv installs nothing and says nothing."""
    return in_header(r"^# dependencies = ", "# dependancies = ")(text)


@breaks("UVS104")
def key_with_underscore(text: str) -> str | None:
    """`requires_python`: uv ignores it."""
    return in_header(r"^# requires-python = ", "# requires_python = ")(text)


@breaks("UVS105")
def python_not_named(text: str) -> str | None:
    """No requires-python."""
    return in_header(r"^# requires-python = .*\n", "")(text)


@breaks("UVS105")
def python_without_operator(text: str) -> str | None:
    """`requires-python = "3.11"`: uv refuses it."""
    return in_header(r'^# requires-python = ".*"', '# requires-python = "3.11"')(text)


@breaks("UVS106")
def syntax_of_a_later_python(text: str) -> str | None:
    """A statement of Python 3.12 in a script that says 3.11."""
    return before_guard(text, "type Rows = list[dict[str, int]]")


# --- dependencies ---


@breaks("UVS201")
def dependency_not_a_requirement(text: str) -> str | None:
    """A requirement that is not one."""
    return in_header(r'"([\w.-]+)(\[.*?\])?>=', r'"\1 => ')(text)


@breaks("UVS201")
def dependency_twice(text: str) -> str | None:
    """The same requirement a second time."""
    return in_header(r'^(# +"[\w.-]+(?:\[.*?\])?>=.*\n)', r"\1\1")(text)


@breaks("UVS202")
def dependency_without_upper_bound(text: str) -> str | None:
    """The upper bound deleted."""
    return in_header(r'(">?[\w.\[\]-]+>=[\w.]+),<[\w.]+"', r'\1"')(text)


@breaks("UVS202")
def dependency_bare(text: str) -> str | None:
    """A bare name."""
    return in_header(r'"([\w.\[\]-]+)>=[\w.]+,<[\w.]+"', r'"\1"')(text)


@breaks("UVS203")
def no_date(text: str) -> str | None:
    """exclude-newer deleted: a URL run resolves to whatever is new."""
    return in_header(r"^# exclude-newer = .*\n", "")(text)


@breaks("UVS203")
def date_in_the_future(text: str) -> str | None:
    """exclude-newer in the year 2126."""
    return in_header(r'^# exclude-newer = "2\d', '# exclude-newer = "21')(text)


@breaks("UVS205")
def dependency_from_a_branch(text: str) -> str | None:
    """A dependency from the head of a git branch."""
    return in_header(
        r"^(# dependencies = \[\n)", r'\1#     "some-tool @ git+https://github.com/user/some-tool@main",\n'
    )(text)


@breaks("UVS205")
def prereleases(text: str) -> str | None:
    """Pre-releases allowed."""
    return in_header(r"^# \[tool\.uv\]\n", '# [tool.uv]\n# prerelease = "allow"\n')(text)


@breaks("UVS206")
def import_without_dependency(text: str) -> str | None:
    """An import of a package that the header does not name."""
    return at_start_of(text, "main", "import networkx")


@breaks("UVS206")
def dependency_forgotten(text: str) -> str | None:
    """The dependency of an import deleted."""
    return in_header(r'^# +"(?:huggingface-hub|polars)[>=\[].*\n', "")(text)


# --- interface ---


@breaks("UVS301")
def docstring_gone(text: str) -> str | None:
    """No docstring."""
    node = tree_of(text).body[0]
    lines = text.splitlines(keepends=True)
    return "".join(lines[: node.lineno - 1] + lines[node.end_lineno :])


@breaks("UVS301")
def summary_too_long(text: str) -> str | None:
    """A summary that fills two lines."""
    return in_docstring(
        text,
        r'\A("""[^\n]*)',
        r"\1 And then it goes on, and on, and says what nobody asked for, twice, and again, and so on.",
    )


@breaks("UVS302")
def flag_renamed_in_example(text: str) -> str | None:
    """An example with an option that does not exist."""
    return in_docstring(text, r"^(    (?:uv run|hf jobs uv run) .*\.py)\b", r"\1 --no-such-flag 3")


@breaks("UVS302")
def example_of_another_script(text: str) -> str | None:
    """An example copied from another script."""
    return in_docstring(text, r"/[\w-]+\.py\b", "/another_script.py")


@breaks("UVS302")
def example_from_another_place(text: str) -> str | None:
    """An example with the URL of another repository."""
    return in_docstring(text, r"https://huggingface\.co/datasets/[\w-]+/", "https://huggingface.co/datasets/someone/")


@breaks("UVS302")
def example_with_open_quote(text: str) -> str | None:
    """An example that a shell cannot read."""
    return in_docstring(text, r"^(    uv run [^\n\\]*)$", r'\1 "a')


@breaks("UVS302")
def example_with_an_argument_too_many(text: str) -> str | None:
    """An example that the script's own parser refuses."""
    if re.search(r"""nargs=["'][*+]""", text):  # such a parser refuses no number of arguments
        return None
    return in_docstring(text, r"^(    uv run [^\n]*?\.py)\b", r"\1 one two three four five")


@breaks("UVS302")
def no_job_example(text: str) -> str | None:
    """No `hf jobs uv run` line left."""
    changed = re.sub(r"^    hf jobs (?:scheduled )?uv run", "    hf jobs  run", text, flags=re.MULTILINE)
    return changed if changed != text else None


@breaks("UVS302")
def option_gone_from_parser(text: str) -> str | None:
    """An option that an example uses, renamed in the parser."""
    used = re.findall(r"^    (?:uv run|hf jobs uv run) [^\n]*?\.py[^\n]*? (--[a-z][\w-]+)", text, flags=re.MULTILINE)
    for flag in used:
        changed = re.sub(rf'"{flag}"', '"--other-name"', text)
        if changed != text:
            return changed
    return None


@breaks("UVS303")
def heavy_import_at_the_top(text: str) -> str | None:
    """torch imported before the arguments are parsed."""
    return substitute(text, r"^import argparse\n", "import argparse\nimport torch\n")


@breaks("UVS303")
def work_at_module_level(text: str) -> str | None:
    """A print at module level."""
    return before_guard(text, 'print("starting")')


@breaks("UVS304")
def help_forgotten(text: str) -> str | None:
    """An option without help."""
    return substitute(text, r"^(\s+)return parser$", r'\1parser.add_argument("--unexplained")\n\1return parser')


@breaks("UVS304")
def another_word_for_seed(text: str) -> str | None:
    """`--random-seed` where every other script says `--seed`."""
    return substitute(
        text, r"^(\s+)return parser$", r'\1parser.add_argument("--random-seed", type=int, help="seed")\n\1return parser'
    )


@breaks("UVS304")
def underscores_in_an_option(text: str) -> str | None:
    """`--batch_size` without the dashed spelling."""
    return substitute(
        text, r"^(\s+)return parser$", r'\1parser.add_argument("--batch_size", type=int, help="size")\n\1return parser'
    )


@breaks("UVS305")
def dry_run_gone(text: str) -> str | None:
    """No --dry-run."""
    return text.replace('"--dry-run"', '"--try-run"').replace("--dry-run", "--try-run") if persists(text) else None


@breaks("UVS306")
def exception_swallowed(text: str) -> str | None:
    """`except Exception: pass` around the work."""
    return after_parsing(text, "try:\n    print(end='')\nexcept Exception:\n    pass")


@breaks("UVS306")
def bare_except(text: str) -> str | None:
    """A bare except."""
    return after_parsing(text, "try:\n    print(end='')\nexcept:\n    print(end='')")


@breaks("UVS306")
def exit_code_thrown_away(text: str) -> str | None:
    """`main()` instead of `raise SystemExit(main())`."""
    return substitute(text, r"^(\s+)raise SystemExit\(main\(\)\)$", r"\1main()")


@breaks("UVS306")
def failure_exits_with_zero(text: str) -> str | None:
    """An error that ends with exit code 0."""
    return after_parsing(text, "try:\n    print(end='')\nexcept ValueError:\n    sys.exit(0)")


@breaks("UVS306")
def error_on_stdout(text: str) -> str | None:
    """The error message printed to stdout."""
    return substitute(
        text, r'print\(f"error: \{text\}", file=sys\.stderr, flush=True\)', 'print(f"error: {text}", flush=True)'
    )


# --- token and persistence ---


@breaks("UVS401")
def token_taken_on_trust(text: str) -> str | None:
    """The token assertion removed: nothing stops a run without one."""
    if not needs_token(text) or function(text, "require_token") is None:
        return None
    changed = at_start_of(text, "require_token", 'return ""')
    return (at_start_of(changed, "require_write", 'return ""') or changed) if changed else None


@breaks("UVS401")
def work_before_token(text: str) -> str | None:
    """The dataset is loaded before the token is looked for."""
    return (
        after_parsing(text, 'from datasets import load_dataset\nload_dataset("user/name")')
        if needs_token(text)
        else None
    )


@breaks("UVS402")
def token_on_the_command_line(text: str) -> str | None:
    """A --hf-token option."""
    return substitute(
        text, r"^(\s+)return parser$", r'\1parser.add_argument("--hf-token", help="Hub token")\n\1return parser'
    )


@breaks("UVS402")
def token_printed(text: str) -> str | None:
    """The token printed for debugging."""
    return after_parsing(text, "from huggingface_hub import get_token\ntoken = get_token()\nprint(token)")


@breaks("UVS402")
def token_prefix_logged(text: str) -> str | None:
    """The first letters of the token in a message."""
    return after_parsing(text, 'from huggingface_hub import get_token\nprint(f"token {get_token()[:7]}...")')


@breaks("UVS402")
def token_in_a_url(text: str) -> str | None:
    """The token in a URL."""
    return after_parsing(text, 'hf_token = ""\nurl = f"https://user:{hf_token}@huggingface.co/user/name"')


@breaks("UVS402")
def token_in_the_file(text: str) -> str | None:
    """A token pasted into the file."""
    return before_guard(text, f'HF_TOKEN = "hf_{"AbCdEf12" * 4}"')


@breaks("UVS402")
def token_as_environment_variable(text: str) -> str | None:
    """An example that passes the token with -e."""
    return in_docstring(text, r"^    hf jobs uv run ", "    hf jobs uv run -e HF_TOKEN=$HF_TOKEN ")


@breaks("UVS403")
def result_never_persisted(text: str) -> str | None:
    """Every call that uploads replaced by a note."""
    if not persists(text):
        return None
    return re.sub(
        r"\.(?:create_commit|upload_file|upload_folder|upload_large_folder|push_to_hub|batch_bucket_files|put_file)\(",
        ".describe(",
        text,
    ).replace("push_to_hub=True", "push_to_hub=False")


@breaks("UVS404")
def push_not_retried(text: str) -> str | None:
    """The retry unwrapped: one refused request ends the run."""
    found = function(text, "retry")
    if found is None or not persists(text):
        return None
    lines = text.splitlines(keepends=True)
    first = found.body[0].lineno
    body = "".join(lines[: first - 1]) + "    return call()\n" + "".join(lines[found.end_lineno :])
    return re.sub(r"\bretry\(", "once(", body)


@breaks("UVS404")
def lost_when_refused(text: str) -> str | None:
    """No exit code 6: what could not be pushed is lost."""
    return substitute(text, r"^EXIT_NOT_PERSISTED = 6$", "EXIT_NOT_PERSISTED = 1") if persists(text) else None


@breaks("UVS405")
def target_not_checked(text: str) -> str | None:
    """The target is neither created nor looked at before the push."""
    if not persists(text):
        return None
    return re.sub(
        r"\.(?:create_repo|dataset_info|model_info|repo_info|repo_exists|auth_check|create_bucket|bucket_info)(?=[(,])",
        ".list_repo_refs",
        text,
    )


# --- security and provenance ---


@breaks("UVS501")
def remote_code_hard_wired(text: str) -> str | None:
    """trust_remote_code=True."""
    return at_start_of(text, "main", "def load(model):\n    return model.from_pretrained(trust_remote_code=True)")


@breaks("UVS501")
def shell_called(text: str) -> str | None:
    """os.system with a value in its command."""
    return at_start_of(text, "main", 'import os\nos.system(f"ls {sys.argv[1]}")')


@breaks("UVS501")
def text_evaluated(text: str) -> str | None:
    """eval of an argument."""
    return after_parsing(text, 'eval("args")')


@breaks("UVS501")
def pickle_loaded(text: str) -> str | None:
    """A pickle from the network."""
    return at_start_of(text, "main", "import pickle\n\ndef load(data):\n    return pickle.loads(data)")


@breaks("UVS501")
def packages_installed_at_run_time(text: str) -> str | None:
    """pip install in the script."""
    return at_start_of(text, "main", 'import subprocess\nsubprocess.run([sys.executable, "-m", "pip", "install", "x"])')


@breaks("UVS502")
def revision_not_pinned(text: str) -> str | None:
    """A model of its own choice, at whatever it is today."""
    return at_start_of(text, "main", "def load(model):\n    return model.from_pretrained('org/model')")


@breaks("UVS503")
def licence_gone(text: str) -> str | None:
    """The SPDX line deleted."""
    changed = re.sub(r"^# SPDX-License-Identifier: .*\n", "", text, flags=re.MULTILINE)
    return changed if changed != text else None


@breaks("UVS504")
def path_edited(text: str) -> str | None:
    """sys.path extended to a folder that a URL does not have."""
    return at_start_of(text, "main", 'sys.path.append("./lib")')


@breaks("UVS504")
def file_beside_the_script(text: str) -> str | None:
    """A file read beside the script."""
    return at_start_of(
        text,
        "main",
        "open(Path(__file__).parent / 'prompts.json')" if "import Path" in text else "open(__file__ + '.json')",
    )


# --- catalogue ---


@breaks("UVS601")
def table_without_persists(text: str) -> str | None:
    """A key of [tool.jobshelf] forgotten."""
    return in_header(r"^# persists = .*\n", "")(text)


@breaks("UVS601")
def unknown_jobs_key(text: str) -> str | None:
    """A key that the real hf command refuses."""
    return in_header(r"^# \[tool\.hf-jobs\]\n", '# [tool.hf-jobs]\n# flavour = "cpu-basic"\n')(text)


@breaks("UVS603")
def placeholder_left(text: str) -> str | None:
    """A template delimiter that was not rendered."""
    return before_guard(text, 'TITLE = "@{ title }@"')


@breaks("UVS604")
def suppression_without_reason(text: str) -> str | None:
    """A suppression that does not say why."""
    return before_guard(text, 'print("starting")  # vet: ignore[UVS303]')


@breaks("UVS604")
def suppression_not_needed(text: str) -> str | None:
    """A suppression of something that is not there."""
    return before_guard(text, "SPARE = 1  # vet: ignore[UVS303] -- it used to print")


# --- behaviour ---


@breaks("UVS901")
def environment_needed_for_help(text: str) -> str | None:
    """A variable read before the arguments are parsed."""
    return at_start_of(text, "main", 'import os\nos.environ["MY_SETTINGS"]')


@breaks("UVS901")
def log_written_first(text: str) -> str | None:
    """A log file opened before the arguments are parsed."""
    return at_start_of(text, "main", 'open("run.log", "w").close()')


@breaks("UVS901")
def network_asked_first(text: str) -> str | None:
    """A version check over the network before the arguments are parsed."""
    code = "import urllib.request\ntry:\n    urllib.request.urlopen('https://example.org/')\nexcept OSError:\n    print(end='')"
    return at_start_of(text, "main", code)


@breaks("UVS901", slow=True)
def loops_for_ever(text: str) -> str | None:
    """A loop before the arguments are parsed."""
    return at_start_of(text, "main", "while True:\n    print(end='')")


@breaks("UVS902")
def unknown_options_ignored(text: str) -> str | None:
    """parse_known_args: a misspelt option changes nothing and says nothing."""
    return substitute(text, r"\.parse_args\((\w*)\)", r".parse_known_args(\1)[0]")


@breaks("UVS902")
def usage_error_exits_with_one(text: str) -> str | None:
    """A parser that exits with 1."""
    return substitute(
        text, r"^(\s+)return parser$", r"\1parser.error = lambda message: sys.exit(message)\n\1return parser"
    )


@breaks("UVS903")
def missing_token_exits_with_one(text: str) -> str | None:
    """Exit code 1 where no token is found."""
    return substitute(text, r"^EXIT_TOKEN = 3$", "EXIT_TOKEN = 1") if needs_token(text) else None


@breaks("UVS903")
def missing_token_not_explained(text: str) -> str | None:
    """A message without the fix."""
    return at_start_of(text, "token_advice", 'return "log in"') if needs_token(text) else None


@breaks("UVS904")
def rehearsal_not_declared(text: str) -> str | None:
    """No `rehearse` in [tool.jobshelf]."""
    return in_header(r"^# rehearse = .*\n", "")(text)


@breaks("UVS905")
def stream_stopped_early(text: str) -> str | None:
    """The first rows of a streamed dataset."""
    code = "def first(name):\n    from datasets import load_dataset\n    for row in load_dataset(name, streaming=True):\n        return row"
    return before_guard(text, code)
