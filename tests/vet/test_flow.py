"""The order of outside calls, as read from a script's tree."""

from __future__ import annotations

import ast
import textwrap

import pytest

from jobshelf.vet.flow import Step, is_push, is_work, steps, writes_to_place


def read(source: str) -> tuple[Step, ...]:
    return steps(ast.parse(textwrap.dedent(source)))


def names(source: str) -> list[str]:
    return [step.name for step in read(source)]


def test_own_functions_are_opened_where_they_are_called() -> None:
    source = """
    from datasets import load_dataset
    import huggingface_hub as hub

    def check():
        hub.whoami()

    def never():
        hub.create_repo("a/b")

    def main():
        check()
        load_dataset("a/b")

    main()
    """
    assert names(source) == ["huggingface_hub.whoami", "datasets.load_dataset"]


def test_lambdas_and_functions_handed_over_are_called_by_whoever_gets_them() -> None:
    source = """
    def commit():
        api.create_commit()

    def again(call):
        pause()
        return call()

    again(lambda: api.whoami())
    again(commit)
    """
    assert names(source) == ["pause", "call", "api.whoami", "api.create_commit"]


def test_a_name_means_what_it_means_in_its_scope() -> None:
    source = """
    def outer(commit):
        describe(commit)

    def other():
        def commit():
            api.create_commit()
        commit()

    outer("abc")
    """
    assert names(source) == ["describe"]


@pytest.mark.parametrize(
    "source",
    [
        "retry(lambda: api.create_commit())",
        "def commit():\n    api.create_commit()\nretry(commit, what='x')",
        "from tenacity import retry\n@retry(stop=5)\ndef commit():\n    api.create_commit()\ncommit()",
        "while True:\n    try:\n        api.create_commit()\n    except OSError:\n        time.sleep(1)",
        "for attempt in range(3):\n    try:\n        api.create_commit()\n    except OSError:\n        sleep(1)",
    ],
)
def test_what_is_tried_again_is_retried(source: str) -> None:
    (step,) = [step for step in read(source) if step.verb == "create_commit"]
    assert (step.retried, step.looped) == (True, False)


def test_what_happens_for_each_item_is_looped() -> None:
    found = {step.verb: step.looped for step in read("load()\nfor part in parts():\n    push(part)\nend()")}
    assert found == {"load": False, "parts": False, "push": True, "end": False}


def test_methods_and_context_managers_of_the_script_are_opened() -> None:
    source = """
    class Run:
        def __init__(self):
            first()
        def __enter__(self):
            second()
        def __exit__(self, *error):
            last()
        def work(self):
            third()

    with Run() as run:
        run.work()
    """
    assert names(source) == ["first", "second", "third", "last"]


def test_recursion_ends() -> None:
    assert names("def f():\n    g()\n    f()\nf()") == ["g"]


@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("datasets.load_dataset", True),
        ("transformers.AutoModel.from_pretrained", True),
        ("vllm.LLM", True),
        ("requests.Session().get", True),
        ("os.environ.get", False),
        ("huggingface_hub.HfApi.whoami", False),
    ],
)
def test_work_is_what_costs(name: str, work: bool) -> None:
    assert is_work(name) is work


def test_super_init_is_not_every_class_that_has_one() -> None:
    source = """
    from datasets import load_dataset

    class Stop(Exception):
        def __init__(self):
            super().__init__("no")

    class Loader:
        def __init__(self):
            load_dataset("a/b")

    def main():
        check()
        raise Stop()

    main()
    """
    assert [name for name in names(source) if "load" in name] == []


UPLOAD = "from huggingface_hub import HfApi\napi = HfApi()\n"


@pytest.mark.parametrize(
    ("source", "retried"),
    [
        (
            "def again(call, *args, **more):\n    return call(*args, **more)\nagain(api.upload_file, repo_id='a/b')",
            False,
        ),
        (
            "def again(times, *, call):\n    for _ in range(times):\n        try:\n            return call()\n"
            "        except OSError:\n            sleep(1)\nagain(3, call=api.upload_file)",
            True,
        ),
        ("from tenacity import Retrying\nRetrying(stop=5)(api.upload_file, repo_id='a/b')", True),
        ("from tenacity import Retrying\npolicy = Retrying()\npolicy(api.upload_file, repo_id='a/b')", True),
        (
            "import tenacity\ndef patiently(call, *args):\n    policy = tenacity.Retrying()\n"
            "    return policy(call, *args)\npatiently(api.upload_file, 'a')",
            True,
        ),
        ("from tenacity import retry\nretry(stop=5)(api.upload_file)(repo_id='a/b')", True),
        ("import backoff\nsafe = backoff.on_exception(backoff.expo, OSError)(api.upload_file)\nsafe()", True),
        ("import tenacity\nfor attempt in tenacity.Retrying():\n    with attempt:\n        api.upload_file()", True),
        ("from functools import partial\npartial(api.upload_file, repo_id='a/b')()", False),
        ("import functools\njob = functools.partial(api.upload_file, repo_id='a/b')\njob()", False),
        ("from functools import partial\nretry(partial(api.upload_file, repo_id='a/b'))", True),
        ("from functools import partial\njob = partial(api.upload_file, repo_id='a/b')\nretry(job)", True),
        ("job = lambda: api.upload_file()\nretry(job)", True),
        ("upload = api.upload_file\nupload(repo_id='a/b')", False),
        ("upload = api.upload_file\nretry(upload, repo_id='a/b')", True),
        ("from huggingface_hub import upload_file\nretry(upload_file, repo_id='a/b')", True),
        ("with ThreadPoolExecutor() as pool:\n    pool.submit(api.upload_file, repo_id='a/b')", False),
        ("import asyncio\nasyncio.run(asyncio.to_thread(api.upload_file, repo_id='a/b'))", False),
        ("loop.run_in_executor(None, api.upload_file, 'a')", False),
        ("Thread(target=api.upload_file).start()", False),
        ("api.run_as_future(api.upload_file, repo_id='a/b')", False),
        ("class Hub:\n    def upload_file(self, path):\n        api.upload_file(path)\nHub().upload_file('a')", False),
        (
            "class Hub:\n    def __init__(self):\n        self.api = HfApi()\n    def upload_file(self, path):\n"
            "        self.api.upload_file(path)\nhub = Hub()\nhub.upload_file('a')",
            False,
        ),
        ("class Base:\n    def __init__(self):\n        api.upload_file()\nclass Hub(Base):\n    pass\nHub()", False),
        ("class Save:\n    def __call__(self, path):\n        api.upload_file(path)\nsave = Save()\nsave('a')", False),
        (
            "class Push(TrainerCallback):\n    def on_save(self, *args):\n        api.upload_file()\n"
            "Trainer(callbacks=[Push()])",
            False,
        ),
        ("class Hub:\n    @property\n    def sent(self):\n        return api.upload_file()\nprint(Hub().sent)", False),
        (
            "class Hub:\n    def __enter__(self):\n        return self\n    def __exit__(self, *error):\n"
            "        api.upload_file()\nhub = Hub()\nwith hub:\n    pass",
            False,
        ),
    ],
)
def test_an_upload_is_seen_wherever_it_is_called(source: str, *, retried: bool) -> None:
    (step,) = [step for step in read(UPLOAD + source) if step.verb == "upload_file"]
    assert step.retried is retried


@pytest.mark.parametrize(
    "source",
    [
        "print(api.upload_file)",
        "def show(call):\n    print(call)\nshow(api.upload_file)",
        "job = lambda: api.upload_file()",
        "class Hub:\n    def send(self):\n        api.upload_file()",
        "retry(load, api.upload_file)",
        "def outer(upload):\n    return str(upload)\nouter(args.upload_file)",
    ],
)
def test_what_is_only_named_is_not_called(source: str) -> None:
    assert "upload_file" not in [step.verb for step in read(UPLOAD + source)]


def test_arguments_are_handed_over_with_the_function() -> None:
    (step,) = [step for step in read("retry(api.repo_info, 'a/b', revision='main')") if step.verb == "repo_info"]
    assert ast.unparse(step.node) == "api.repo_info('a/b', revision='main')"
    assert (step.node.lineno, step.node.col_offset) == (1, 6)


def test_a_function_called_in_several_places_is_looped_when_one_is_and_retried_when_all_are() -> None:
    source = "def push():\n    api.create_commit()\npush()\nfor part in parts:\n    retry(push)\n"
    (step,) = [step for step in read(source) if step.verb == "create_commit"]
    assert (step.looped, step.retried) == (True, False)
    (step,) = [step for step in read(source.replace("\npush()", "\nretry(push)")) if step.verb == "create_commit"]
    assert (step.looped, step.retried) == (True, True)


@pytest.mark.parametrize(
    ("source", "elsewhere", "hub"),
    [
        ("fs, root = fsspec.url_to_fs(target)\nfs.pipe_file(root, b'')", True, False),
        ("fs, root = fsspec.url_to_fs(f'hf://datasets/{target}')\nfs.pipe_file(root, b'')", True, True),
        ("fs, root = fsspec.url_to_fs('./out')\nfs.pipe_file(root, b'')", False, False),
        ("fs = fsspec.filesystem('hf')\nfs.put('a', 'b')", True, True),
        ("fs = fsspec.filesystem('file')\nfs.put('a', 'b')", False, False),
        ("fs = huggingface_hub.HfFileSystem()\nwith fs.open(path, 'wb') as file:\n    file.write(b'')", True, True),
        ("fs = huggingface_hub.HfFileSystem()\nfs.open(path).read()", False, False),
        ("with fsspec.open('hf://buckets/a/b/c', mode='wb') as file:\n    file.write(b'')", True, True),
        ("with fsspec.open(path, 'rb') as file:\n    file.read()", False, False),
        ("def save(fs):\n    fs.put_file('a', 'b')\nsave(make())", True, False),
        ("class Out:\n    def __init__(self):\n        self.fs = s3fs.S3FileSystem()\n    def write(self):\n"
         "        self.fs.pipe('a', b'')\nOut().write()", True, False),
        ("retry(huggingface_hub.HfFileSystem().pipe_file, 'a', b'')", True, True),
        ("frame.write_parquet(f'hf://datasets/{target}/a.parquet')", True, True),
        ("frame.write_parquet('a.parquet')", False, False),
        ("jobs = queue.Queue()\njobs.put('a')", False, False),
        ("pathlib.Path('a').write_text('b')", False, False),
    ],
)  # fmt: skip
def test_files_written_by_fsspec(source: str, *, elsewhere: bool, hub: bool) -> None:
    found = read(f"import fsspec, huggingface_hub, pathlib, queue, s3fs\n{source}")
    assert any(map(writes_to_place, found)) is elsewhere
    assert any(map(is_push, found)) is hub


def test_words_that_are_looked_for_are_no_command_line() -> None:
    assert "--push_to_hub" in {step.name for step in read("run(['--push_to_hub'])")}
    assert "--push_to_hub" not in {step.name for step in read("word.startswith(('--push_to_hub', '--x'))")}
