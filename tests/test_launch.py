"""What a Job is launched with: durations, variables, secrets, volumes, and the table under the flags."""

from __future__ import annotations

import pytest

from jobshelf.errors import UsageError
from jobshelf.launch import (
    Launch,
    holds_token,
    parse_env,
    parse_labels,
    parse_secret_names,
    parse_volume,
    refuse_tokens,
    timeout_seconds,
)
from support import TOKEN


@pytest.mark.parametrize(
    ("given", "seconds"),
    [("300", 300), (300, 300), ("45s", 45), ("90m", 5400), ("2h", 7200), ("1.5h", 5400), ("1d", 86400), (" 2h ", 7200)],
)
def test_durations(given, seconds):
    assert timeout_seconds(given) == seconds


@pytest.mark.parametrize("given", ["", "0", "0.4s", "-5", "2h30m", "2 hours", "1.5", "1w", "h", "inf", "٣h", "1e3"])
def test_what_is_no_duration_is_refused_with_examples(given):
    with pytest.raises(UsageError, match=r"300, 90m, 2h, 1\.5h or 1d"):
        timeout_seconds(given)


def test_flags_win_over_the_table_entry_by_entry():
    table = {
        "image": "img:1", "flavor": "t4-small", "timeout": 600, "env": {"A": "1", "B": "1"}, "secrets": ["HF_TOKEN"],
        "labels": {"team": "x"}, "volumes": ["hf://a/b:/in", "hf://a/c:/other"], "network_group": "g",
    }  # fmt: skip
    asked = Launch(
        flavor="l4x1", env={"B": "2"}, secrets=("KEY", "HF_TOKEN"), volumes=("hf://datasets/d/e:/in",), attempts=2
    )
    won = Launch.from_table(table).under(asked)
    assert (won.image, won.flavor, won.timeout_seconds, won.network_group, won.attempts) == (
        "img:1",
        "l4x1",
        600,
        "g",
        2,
    )
    assert (won.env, won.labels) == ({"A": "1", "B": "2"}, {"team": "x"})
    assert won.secrets == ("HF_TOKEN", "KEY")
    assert won.volumes == ("hf://a/c:/other", "hf://datasets/d/e:/in")


@pytest.mark.parametrize(
    ("item", "fix"),
    [
        ("HF_TOKEN=x", "--secrets HF_TOKEN"),
        (f"KEY={TOKEN}", "--secrets KEY"),
        ("KEY=ghp_" + "a" * 36, "--secrets KEY"),
        ("KEY=AKIA" + "A" * 16, "--secrets KEY"),
        ("KEY", "--env NAME=VALUE"),
        ("1K=v", "--env NAME=VALUE"),
        ("=v", "--env NAME=VALUE"),
    ],
)
def test_env_refuses_tokens_and_what_is_no_variable(item, fix):
    with pytest.raises(UsageError) as caught:
        parse_env(["GOOD=1", item])
    assert fix in caught.value.fix
    assert TOKEN not in str(caught.value)


def test_env_and_labels():
    assert parse_env(["A=1", "B=x=y", "C="]) == {"A": "1", "B": "x=y", "C": ""}
    assert parse_labels(["a=b", "run.id=x-1"]) == {"a": "b", "run.id": "x-1"}
    with pytest.raises(UsageError, match="is not KEY=VALUE"):
        parse_labels(["a"])


def test_a_secret_is_a_name_and_its_value_is_not_repeated():
    assert parse_secret_names(["HF_TOKEN", "KEY", "KEY"]) == ("HF_TOKEN", "KEY")
    with pytest.raises(UsageError, match="--secrets KEY takes a name") as caught:
        parse_secret_names([f"KEY={TOKEN}"])
    assert TOKEN not in str(caught.value)


def test_arguments_that_look_like_tokens_are_refused_unseen():
    refuse_tokens(["user/data", "--split", "train", "hf_short", "https://huggingface.co/x", "skill-based"])
    with pytest.raises(UsageError, match="argument 2 of the script looks like a token") as caught:
        refuse_tokens(["--token", f"x={TOKEN}"])
    assert TOKEN not in str(caught.value)
    assert holds_token("Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc-def")


def test_volumes():
    mount = parse_volume("hf://buckets/me/box/run/1:/out:rw")
    assert (mount.kind, mount.source, mount.path, mount.mount_path, mount.read_only) == (
        "bucket", "me/box", "run/1", "/out", False,
    )  # fmt: skip
    assert (parse_volume("hf://me/model@v1:/m").kind, parse_volume("hf://me/model@v1:/m").revision) == ("model", "v1")
    assert (parse_volume("./in:/in").kind, parse_volume("./in:/in").source) == (None, "./in")


@pytest.mark.parametrize("spec", ["hf://a/b", "a", "hf://a:/in", "hf://datasets/a:/in", "./in:/", "./in:/data", ":/in"])
def test_a_volume_that_cannot_be_mounted(spec):
    with pytest.raises(UsageError, match="cannot be mounted"):
        parse_volume(spec)
