"""train_sft.py with TRL itself, in the environment of its header: the same losses, every option, what it refuses, resume."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import CommitOperationAdd, HfApi

from catalog.conftest import CATALOG, jsonl
from heavy.conftest import Installed
from heavy.models import MODELS, with_tokenizer, without_weights
from jobshelf.hub import Hub
from jobshelf.rehearse.tiny_model import tiny_model
from support import TOKEN

pytestmark = [pytest.mark.heavy, pytest.mark.training, pytest.mark.timeout(900)]
SCRIPT = CATALOG / "train_sft.py"
QUICK = ("--max_steps", "5", "--per_device_train_batch_size", "2", "--logging_steps", "1", "--max_length", "256")
Rows = list[dict[str, Any]]
Drive = Callable[..., Any]
Figure = Callable[[str, object], None]


@pytest.fixture
def chats(real_rows: Callable[[str], Rows]) -> Rows:
    """Questions and answers of gsm8k, short enough for a tiny model on two cores."""
    rows = real_rows("gsm8k_test")[:48]
    return [
        {
            "messages": [
                {"role": "user", "content": row["question"][:120]},
                {"role": "assistant", "content": row["answer"][:120]},
            ]
        }
        for row in rows
    ]


@pytest.fixture
def work(tmp_path: Path, chats: Rows) -> Path:
    """A folder with the tiny model and its rows."""
    (tmp_path / "work" / "tiny").mkdir(parents=True)
    for name, data in tiny_model().items():
        (tmp_path / "work" / "tiny" / name).write_bytes(data)
    (tmp_path / "work" / "chats.jsonl").write_bytes(jsonl(chats))
    return tmp_path / "work"


@pytest.fixture
def python(installed: Installed) -> Path:
    return installed(SCRIPT)


@pytest.fixture
def variables(user: dict[str, str]) -> dict[str, str]:
    return {**user, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def drive(python: Path, work: Path, variables: dict[str, str]) -> Drive:
    """`drive("runs", [[...], [...]])`: what one_trainer.py prints."""

    def run(kind: str, *given: object) -> Any:
        argv = [python, Path(__file__).with_name("one_trainer.py"), SCRIPT, kind, *map(json.dumps, given)]
        done = subprocess.run(argv, cwd=work, env=variables, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-4000:]
        return json.loads(done.stdout.splitlines()[-1])

    return run


def losses(folder: Path) -> list[float]:
    lines = (folder / "training_log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


LORA = {"r": 16, "lora_alpha": 32, "lora_dropout": 0.0, "target_modules": "all-linear"}
SAME = {
    "lora": (("--use_peft", "--learning_rate", "2e-4"), {"learning_rate": 2e-4}, LORA),
    "full": (("--full", "--learning_rate", "1e-3"), {"learning_rate": 1e-3}, None),
    "packing": (("--full", "--packing"), {"packing": True}, None),
    "assistant": (("--full", "--assistant_only_loss"), {"assistant_only_loss": True}, None),
}


def test_the_losses_are_those_of_a_plain_script(drive: Drive, work: Path) -> None:
    """Five steps, with an adapter, with all weights, packed, and on the assistant's tokens only."""
    words = [["chats.jsonl", f"./{name}", "--model", "./tiny", *QUICK, *more] for name, (more, _, _) in SAME.items()]
    ended = drive("runs", words)
    assert [one["code"] for one in ended] == [0] * len(SAME), ended
    common = {"max_steps": 5, "per_device_train_batch_size": 2, "max_length": 256}
    given = {
        name: {"rows": "chats.jsonl", "model": "./tiny", "lora": lora, "config": {**common, "output_dir": "p", **more}}
        for name, (_, more, lora) in SAME.items()
    }
    expected = drive("plain", given)
    for name in SAME:
        assert losses(work / name) == pytest.approx(expected[name], abs=1e-5), name
        assert len(expected[name]) == 5


def test_every_option_of_trl(drive: Drive, record_property: Figure) -> None:
    """Each is accepted, so that the missing rows are what is found next, or refused in TRL's own words."""
    found = drive("options")
    accepted = [name for name, said in found.items() if "rows.jsonl" in said or "no Hub token" in said]
    refused = {name: said for name, said in found.items() if name not in accepted}
    assert len(found) > 160
    assert all("TRL refuses the options" in said or "usage: " in said for said in refused.values()), refused
    assert len(refused) < 15
    record_property(
        "figure", f"heavy: train_sft: {len(accepted)} options of TRL accepted, {len(refused)} refused by it"
    )


def test_what_would_fail_on_paid_time(drive: Drive, work: Path, chats: Rows) -> None:
    """Each of them is found by the rehearsal, with its row or option and the fix, and nothing is written."""
    tools = json.dumps([{"type": "function", "function": {"name": "add", "parameters": {}}}] * 20)
    prompts = [{"prompt": "long " * 50, "completion": "short"}] * 8
    many = [dict(row) for _ in range(42) for row in chats][:2000]
    flawed = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": None}]}
    extra = {"messages": [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "<extra>"}]}
    for name, rows in {
        "tools": [{**row, "tools": tools} for row in chats[:8]],
        "prompts": prompts,
        "flawed": [*many[:1234], flawed, *many[1234:]],
        "extra": [*many[:1234], extra, *many[1234:]],
    }.items():
        (work / f"{name}.jsonl").write_bytes(jsonl(rows))
    for name, change in {"nogen": "no generation", "noend": "im_end", "large": "extra", "shows": "tools"}.items():
        with_tokenizer(work / "tiny", work / name, change)
    cases = {
        ("prompts", "tiny", "--max_length", "16"): (4, "no token of row 0 is trained", "--max_length"),
        ("chats", "nogen", "--assistant_only_loss"): (4, "{% generation %}", "Fix:"),
        ("chats", "noend"): (4, "ends a turn with <|im_end|>", "--eos_token '<|im_end|>'"),
        ("extra", "large"): (4, "row 1234 has token 512", "tokenizer of this model"),
        ("flawed", "tiny"): (4, "row 1234", "content"),
        ("chats", "tiny", "--optim", "adamw_8bit"): (5, "bitsandbytes", "uv run --with bitsandbytes"),
        ("chats", "tiny", "--load_in_4bit"): (5, "bitsandbytes", "uv run --with bitsandbytes"),
        ("chats", "tiny", "--report_to", "wandb"): (5, "wandb is not installed", "uv run --with wandb"),
        ("chats", "tiny", "--lora_target_modules", "nothing"): (4, "TRL refuses", "nothing"),
        ("chats", "tiny", "--lora_target_modules", "lm_head"): (4, "TRL refuses", "lm_head"),
        ("chats", "tiny", "--learning-rat", "1"): (2, "--learning-rat", "--learning_rate"),
        ("chats", "tiny", "--eos_token", "<none>"): (4, "TRL refuses", "<none>"),
    }
    ended = drive("runs", [[f"{rows}.jsonl", "./out", "--model", model, *more] for (rows, model, *more) in cases])
    for (case, (code, found, fix)), one in zip(cases.items(), ended, strict=True):
        assert (one["code"], found in one["said"], fix in one["said"]) == (code, True, True), (case, one)
    assert not (work / "out").exists()
    (measured,) = drive("runs", [["tools.jsonl", "./out", "--model", "./shows", "--dry-run"]])
    assert measured["code"] == 0, measured
    assert int(measured["printed"].split("at most ")[1].split()[0].replace(",", "")) > 400  # the tools are counted
    assert not (work / "out").exists()


def test_the_rehearsal_of_well_known_models(drive: Drive, work: Path, record_property: Figure) -> None:
    """No weights are there, so none are read; the vocabulary has its real size."""
    for name in MODELS:
        without_weights(work / name, name)
    began = time.monotonic()
    ended = drive("runs", [["chats.jsonl", "./out", "--model", f"./{name}", "--dry-run"] for name in MODELS])
    assert [one["code"] for one in ended] == [0] * len(MODELS), ended
    record_property("figure", f"heavy: train_sft: rehearsal of {len(MODELS)} models: {time.monotonic() - began:.0f} s")


@pytest.fixture
def online(variables: dict[str, str], hub: Hub, client: HfApi, chats: Rows) -> dict[str, str]:
    """The writer's variables; the embedded Hub holds the tiny model and private rows."""
    for repo, kind, files in (
        ("alice/tiny", "model", tiny_model()),
        ("alice/chats", "dataset", {"train.jsonl": jsonl(chats)}),
    ):
        client.create_repo(repo, repo_type=kind, private=kind == "dataset")
        operations = [CommitOperationAdd(name, data) for name, data in files.items()]
        client.create_commit(repo, operations, commit_message="files", repo_type=kind)
    return {**variables, "HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}


@pytest.fixture
def train(python: Path, work: Path, online: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`train(*words, at="...")`: run the script on the Hub; SIGTERM when a line of stdout contains `at`."""

    def run(*words: str, at: str = "") -> subprocess.CompletedProcess[str]:
        with (
            (work / "stderr").open("w+") as errors,
            subprocess.Popen(
                [python, SCRIPT, *words], cwd=work, env=online, stdout=-1, stderr=errors, text=True
            ) as done,
        ):
            lines = []
            for line in done.stdout or ():
                lines.append(line)
                if at and at in line:
                    done.send_signal(signal.SIGTERM)
                    at = ""
            done.wait(300)
            errors.seek(0)
            return subprocess.CompletedProcess(words, done.returncode, "".join(lines), errors.read())

    return run


def held(client: HfApi, repo: str) -> dict[str, bytes]:
    names = set(client.list_repo_files(repo)) - {".gitattributes", "README.md", "run.json"}
    return {name: Path(client.hf_hub_download(repo, name)).read_bytes() for name in names}


FOUR = ("--max_steps", "4", "--save_steps", "1", "--logging_steps", "1", "--per_device_train_batch_size", "2")


def test_stopped_and_resumed_on_the_hub(train: Callable[..., Any], client: HfApi, work: Path) -> None:
    """In the form of the seed documents: all weights, private like the rows, one commit at the end."""
    form = ("--model_name", "alice/tiny", "--dataset_name", "alice/chats", "--output_dir", "out", "--push_to_hub")
    stopped = train(*form, "--hub_model_id", "alice/stopped", *FOUR, at="'loss': ")
    assert stopped.returncode == 143, stopped.stderr[-3000:]
    (kept,) = {name.partition("/")[0] for name in client.list_repo_files("alice/stopped") if "checkpoint-" in name}
    resumed = train(*form, "--hub_model_id", "alice/stopped", *FOUR)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert resumed.stdout.count("'loss': ") == 4 - int(kept.partition("-")[2])
    dashed = [word.replace("_", "-") if word.startswith("--") else word for word in (*form, *FOUR)]
    whole = train(*dashed, "--hub-model-id", "alice/whole", "--checkpoints", "hf://buckets/alice/kept")
    assert whole.returncode == 0, whole.stderr[-3000:]
    found = held(client, "alice/stopped")
    assert {"model.safetensors", "tokenizer.json", "loss.png", "training_log.jsonl"} <= found.keys()
    assert found == held(client, "alice/whole")
    assert client.model_info("alice/stopped").private
    assert len(client.list_repo_commits("alice/stopped")) == 1
    assert train(*form, "--hub_model_id", "alice/stopped", *FOUR).stdout.endswith("already there: alice/stopped\n")
    assert not (work / "out").exists()


def test_yaml_of_trl_and_words_over_it(train: Callable[..., Any], work: Path) -> None:
    """`--push_to_hub false` pushes nothing, and a Hub that is away for commits is not needed."""
    (work / "sft.yaml").write_text(
        "model_name_or_path: alice/tiny\ndataset_name: alice/chats\nlearning-rate: 1.0e-4\nuse_peft: true\n"
        "max_steps: 9\nlogging_steps: 1\npush_to_hub: true\noutput_dir: out\nenv:\n  SAID: once\n"
    )
    ended = train("--config=sft.yaml", "--max_steps", "2", "--push_to_hub", "false")
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert ended.stdout.count("'loss': ") == 2
    assert "learning_rate 0.0002" not in ended.stdout
    assert json.loads((work / "out" / "adapter_config.json").read_text())["peft_type"] == "LORA"


def test_a_hub_and_a_monitor_that_are_away(train: Callable[..., Any], hub: Hub, client: HfApi) -> None:
    """Checkpoints are not sent meanwhile; the model is, in the end."""
    hub.fail(path="/commit/", method="POST", kind="status", status=503, times=8)
    hub.fail(path="/spaces/", kind="status", status=503, times=1_000_000)
    words = ("--report_to", "trackio", "--trackio_space_id", "alice/board", *FOUR)
    ended = train("alice/chats", "alice/away", "--model", "alice/tiny", *words)
    assert ended.returncode == 0, ended.stderr[-3000:]
    assert "TrackioCallback: " in ended.stderr
    assert "adapter_model.safetensors" in held(client, "alice/away")


def test_two_processes_give_the_losses_of_one(train: Callable[..., Any], work: Path) -> None:
    words = ("--model", "./tiny", "--max_steps", "3", "--logging_steps", "1", "--per_device_train_batch_size")
    for name, more in {"one": ("2",), "two": ("1", "--num-processes", "2")}.items():
        ended = train("chats.jsonl", f"./{name}", *words, *more)
        assert ended.returncode == 0, ended.stderr[-3000:]
    assert losses(work / "two") == pytest.approx(losses(work / "one"), rel=1e-5)
