"""train_grpo.py as far as it comes without a model: its command line, its rewards, the rows that they need, its plan."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from datasets import Dataset
from huggingface_hub import CommitOperationAdd, HfApi, constants

from catalog.conftest import CATALOG, Publish, jsonl
from jobshelf.hub import Hub
from jobshelf.rehearse.tiny_model import tiny_model
from support import TOKEN

NAME = "train_grpo.py"
QUESTIONS = [
    {"prompt": f"What is {number} + 1?", "answer": f"{number} + 1 is more.\n#### {number + 1}"} for number in range(12)
]

Train = Callable[..., int]


@pytest.fixture(scope="module")
def grpo() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_grpo", CATALOG / NAME)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def train(grpo: ModuleType, hub: Hub, client: HfApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Train:
    """`train("alice/d", "--rewards", "format")`: as far as it comes, into ./out, with the tiny model on the Hub."""
    url = hub.endpoint
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.chdir(tmp_path)
    client.create_repo("alice/tiny")
    files = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in tiny_model().items()]
    client.create_commit("alice/tiny", files, commit_message="model")
    return lambda data, *words: grpo.main([data, "./out", "--model", "alice/tiny", *words])


def parse(grpo: ModuleType, *words: str) -> Any:
    return grpo.parse_words(["alice/d", "alice/m", "--model", "alice/tiny", *words])


def refusal(grpo: ModuleType, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parse(grpo, *words)
    assert ended.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


# --- the command line ---


def test_right_answers_are_rewarded_where_nothing_is_said(grpo: ModuleType) -> None:
    args = parse(grpo)
    assert args.rewards == {"maths": 1.0}
    assert (args.temperature, args.beta, args.loss_type, args.eval_strategy) == (1.0, 0.0, "dapo", "no")


@pytest.mark.parametrize(
    ("words", "weights"),
    [
        (["--rewards", "maths", "format=0.2"], {"maths": 1.0, "format": 0.2}),
        (["--rewards", "length", "regex=-1", "--regex", "sorry"], {"length": 1.0, "regex": -1.0}),
        (["--reward_funcs", "accuracy_reward", "think_format_reward", "--reward_weights", "1", "0.5"], {"maths": 1.0, "think": 0.5}),
        (["--reward-funcs", "get_soft_overlong_punishment"], {"length": 1.0}),
    ],
)  # fmt: skip
def test_rewards_have_weights(grpo: ModuleType, words: Sequence[str], weights: Mapping[str, float]) -> None:
    assert parse(grpo, *words).rewards == weights


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rewards", "matsh"], "there is no reward 'matsh'; there are maths, exact, format, think, length, regex; did you mean maths?"),
        (["--rewards", "my.module.reward"], "functions of your own cannot be loaded"),
        (["--rewards", "maths", "accuracy_reward"], "the reward 'maths' is named twice"),
        (["--rewards", "maths=much"], "'maths=much' has no number for a weight: write NAME=0.5"),
        (["--rewards", "maths=0"], "the weight of 'maths' is no number other than 0"),
        (["--rewards", "maths=nan"], "the weight of 'maths' is no number other than 0"),
        (["--rewards", "maths", "think", "--reward-weights", "1"], "1 weights for 2 rewards"),
        (["--rewards", "regex"], "--rewards regex and --regex PATTERN go together"),
        (["--regex", "a"], "--rewards regex and --regex PATTERN go together"),
        (["--rewards", "regex", "--regex", "(a"], "--regex '(a' is no regular expression"),
        (["--target-length", "5"], "--target-length is for --rewards length"),
        (["--num-generations", "1"], "a prompt needs 2 answers at least"),
        (["--top-p", "1.5"], "'1.5' is more than 1"),
        (["--temperature", "0"], "'0' is no number above 0"),
        (["--loss-type", "ppo"], "invalid choice: 'ppo'"),
        (["--max-prompt-length", "9"], "--max-prompt-length is gone"),
    ],
)  # fmt: skip
def test_a_bad_command_line_is_answered(
    grpo: ModuleType, capsys: pytest.CaptureFixture[str], words: Sequence[str], said: str
) -> None:
    assert said in refusal(grpo, capsys, *words)


def test_an_eval_split_is_evaluated_on(grpo: ModuleType) -> None:
    assert parse(grpo, "--eval-split", "test").eval_strategy == "steps"


# --- the rows ---


@pytest.mark.parametrize(
    ("value", "answer"),
    [
        ("72", "72"),
        ("8 x 9 is\n#### 72", "72"),
        ("It is \\boxed{72}.", "72"),
        (72, "72"),
        (72.0, "72"),
        (0.5, "0.5"),
        (float("nan"), None),
        ("  ", None),
        (None, None),
        ("a solution without an end " * 60, None),
    ],
)
def test_the_right_answer_of_a_cell(grpo: ModuleType, value: object, answer: str | None) -> None:
    assert grpo.right_answer(value, 0, "answer", "d") == answer


@pytest.mark.parametrize("column", ["answer", "solution"])
def test_answers_are_routed(grpo: ModuleType, column: str) -> None:
    rows = Dataset.from_list([{"prompt": "a", column: 3, "images": "b"}, {"prompt": "c", column: 4, "images": "d"}])
    routed = grpo.route_answers(rows, {"maths": 1.0}, "d")
    assert routed.to_list() == [{"prompt": "a", "answer": "3"}, {"prompt": "c", "answer": "4"}]


def test_rewards_that_compare_with_nothing_get_no_answers(grpo: ModuleType) -> None:
    rows = Dataset.from_list([{"prompt": "a", "answer": "3"}])
    assert grpo.route_answers(rows, {"format": 1.0}, "d").to_list() == [{"prompt": "a"}]


def test_a_row_without_an_answer_is_left_out_or_judged_by_the_others(
    grpo: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = Dataset.from_list([{"prompt": "a", "answer": None}, {"prompt": "b", "answer": "2"}])
    assert grpo.route_answers(rows, {"maths": 1.0}, "d").to_list() == [{"prompt": "b", "answer": "2"}]
    assert "1 of 2 rows have no answer in 'answer': they are left out" in capsys.readouterr().err
    both = grpo.route_answers(rows, {"maths": 1.0, "length": 1.0}, "d").to_list()
    assert both == [{"prompt": "a", "answer": None}, {"prompt": "b", "answer": "2"}]
    assert "only the other rewards judge them" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([{"prompt": "a", "result": 1}], "d has no column 'answer', only 'result'; the reward 'maths' compares with it. Fix: add --map result=answer"),
        ([{"prompt": "a"}], "d has no column 'answer'; the reward 'maths' compares with it. Fix: add --map NAME=answer"),
        ([{"prompt": "a", "answer": ""}], "no row of d has an answer in 'answer'"),
        ([{"prompt": "a", "answer": ["1"]}], "'answer' holds list in row 1 of d: texts or numbers are expected"),
    ],
)  # fmt: skip
def test_answers_that_are_not_there(grpo: ModuleType, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(grpo.Stop) as stopped:
        grpo.route_answers(Dataset.from_list(rows), {"maths": 1.0}, "d")
    assert stopped.value.code == 4
    assert said in str(stopped.value)


def test_a_system_prompt_comes_first(grpo: ModuleType) -> None:
    user, system = {"role": "user", "content": "a"}, {"role": "system", "content": "b"}
    rows = Dataset.from_list([{"prompt": [user]}, {"prompt": [system, user]}])
    told = grpo.add_system_prompt(rows, "Think.")["prompt"]
    assert [[turn["content"] for turn in turns] for turns in told] == [["Think.", "a"], ["b", "a"]]
    with pytest.raises(grpo.Stop, match=r"--system-prompt needs conversations.*--as-chat"):
        grpo.add_system_prompt(Dataset.from_list([{"prompt": "a"}]), "Think.")


# --- the plan ---


def recipe(grpo: ModuleType, **values: int) -> Any:
    found = grpo.TrainRecipe()
    for name, value in values.items():
        found.choose(name, None, value, "test")
    return found


@pytest.mark.parametrize(
    ("batch", "passes", "processes", "answers"), [(8, 2, 1, 8), (4, 1, 4, 8), (2, 6, 1, 4), (1, 2, 3, 6)]
)
def test_whole_groups_are_taken(grpo: ModuleType, batch: int, passes: int, processes: int, answers: int) -> None:
    grpo.check_groups(recipe(grpo, batch=batch, accumulation=passes, num_generations=answers), processes)


@pytest.mark.parametrize(
    ("batch", "passes", "processes", "answers", "fix"),
    [
        (4, 1, 1, 8, "write --gradient-accumulation-steps 2, or --num-generations 4"),
        (4, 3, 1, 8, "write --gradient-accumulation-steps 2, or --num-generations 6"),
        (1, 1, 1, 8, "write --gradient-accumulation-steps 8"),
        (2, 1, 3, 8, "write --gradient-accumulation-steps 4, or --num-generations 6"),
    ],
)
def test_groups_that_a_step_would_cut_are_refused(
    grpo: ModuleType, batch: int, passes: int, processes: int, answers: int, fix: str
) -> None:
    with pytest.raises(grpo.Stop) as stopped:
        grpo.check_groups(recipe(grpo, batch=batch, accumulation=passes, num_generations=answers), processes)
    assert stopped.value.code == 2
    assert stopped.value.fix == fix
    assert f"a step has {batch * passes * processes} answers" in stopped.value.message


def test_a_prompt_leaves_room_for_its_answer(grpo: ModuleType) -> None:
    assert grpo.longest_prompt(parse(grpo), 1024, 512) == 512
    assert grpo.longest_prompt(parse(grpo, "--max-length", "100"), 1024, 512) == 100
    assert grpo.longest_prompt(parse(grpo), 131_072, 512) == 4096
    with pytest.raises(grpo.Stop, match=r"leave no room for a prompt.*--max-completion-length 512"):
        grpo.longest_prompt(parse(grpo), 1024, 1024)
    with pytest.raises(grpo.Stop, match=r"exceed the model's context of 1024.*--max-length 512"):
        grpo.longest_prompt(parse(grpo, "--max-length", "513"), 1024, 512)


def test_vllm_needs_a_gpu_and_a_version_that_trl_supports(grpo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    on_cpu = grpo.choose_generator(None, on_cpu=True)
    assert (on_cpu.value, on_cpu.reason) == (False, "no GPU: TRL cannot run vLLM on a CPU, transformers generates")
    assert not grpo.choose_generator(None, on_cpu=False).value
    with pytest.raises(grpo.Stop, match=r"TRL cannot run vLLM on a CPU.*leave --use-vllm out") as stopped:
        grpo.choose_generator(True, on_cpu=True)
    assert stopped.value.code == 5
    with pytest.raises(grpo.Stop, match=r"vLLM is not installed.*uv run --with"):
        grpo.choose_generator(True, on_cpu=False)


@pytest.mark.parametrize(
    ("version", "used"),
    [("0.21.2", False), ("0.22.0", True), ("0.31.1+cu129", True), ("0.32.0", False), ("1.0", False)],
)
def test_versions_of_vllm(grpo: ModuleType, tmp_path: Path, version: str, used: bool) -> None:
    found = tmp_path / f"vllm-{version}.dist-info"
    found.mkdir()
    (found / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
    sys.path.insert(0, str(tmp_path))
    try:
        assert grpo.choose_generator(None, on_cpu=False).value is used
    finally:
        sys.path.remove(str(tmp_path))


# --- the whole script, until it would load a model ---


@pytest.mark.parametrize(
    ("rows", "words", "code", "said"),
    [
        ([{"question": "a", "answer": "1"}], [], 4, "Fix: add --map question=prompt"),
        ([{"prompt": "a", "result": 1}], [], 4, "add --map result=answer"),
        ([{"prompt": "a", "completions": "b", "answer": "1"}], [], 4, "completions"),
        ([{"prompt": "", "answer": "1"}], [], 4, "GRPO"),
        ([{"prompt": 7, "answer": "1"}], [], 4, "GRPO"),
        ([], [], 4, "rows"),
        (QUESTIONS, ["--system-prompt", "Think."], 2, "add --as-chat"),
        (QUESTIONS, ["--use-vllm"], 5, "TRL cannot run vLLM on a CPU"),
    ],
)  # fmt: skip
def test_bad_input_ends_before_a_model_is_loaded(
    train: Train,
    publish: Publish,
    capsys: pytest.CaptureFixture[str],
    rows: list[dict[str, Any]],
    words: Sequence[str],
    code: int,
    said: str,
) -> None:
    publish("alice/d", {"train.jsonl": jsonl(rows)})
    assert train("alice/d", *words) == code
    found = capsys.readouterr()
    assert (found.out, said in found.err.splitlines()[-1]) == ("", True), found.err
    assert "torch" not in sys.modules
