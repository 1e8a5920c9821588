"""The order of outside calls, as read from a script's tree."""

from __future__ import annotations

import ast
import textwrap

import pytest

from jobshelf.vet.flow import Step, is_work, steps


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
