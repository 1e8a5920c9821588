"""Block `engine`: what holds for any engine, and the API engine on a server that misbehaves.

vLLM and transformers answer in the heavy lane.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi

from blocks.chat_server import ChatServer, chat_server
from jobshelf import blocks
from jobshelf.hub import Hub
from support import READ_TOKEN, TOKEN

engine, exits, preflight = blocks.load("engine"), blocks.load("exits"), blocks.load("preflight")
GB = 1_000_000_000


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


def api(server: ChatServer, *, token: str | None = None, **settings: Any) -> Any:
    told = engine.EngineSettings(base_url=server.url, **settings)
    return engine.start_engine("openai", engine.EngineModel(name="m"), told, token=token)


def questions(*texts: str) -> Iterator[Any]:
    for key, text in enumerate(texts):
        yield engine.Question(key=key, conversation=[{"role": "user", "content": text}])


def replies(answering: Any, *texts: str, **sampling: Any) -> list[Any]:
    drawn = engine.Sampling(**sampling)
    return sorted(answering.replies(questions(*texts), drawn), key=lambda reply: reply.key)


def test_each_question_gets_its_own_reply(server: ChatServer) -> None:
    texts = [f"text {number}" for number in range(100)]
    answered = replies(api(server, concurrency=8), *texts)
    assert [reply.key for reply in answered] == list(range(100))
    assert [reply.answers[0].text for reply in answered] == [text[::-1] for text in texts]
    assert {(reply.answers[0].finish_reason, reply.answers[0].tokens) for reply in answered} == {("stop", 3)}
    assert answered[0].prompt_tokens == len("text 0")


def test_many_are_asked_at_once_and_no_more() -> None:
    with chat_server(pause=0.02) as server:
        replies(api(server, concurrency=6), *(str(number) for number in range(60)))
    assert server.most_at_once == 6


def test_questions_are_taken_as_there_is_room_and_not_before(server: ChatServer) -> None:
    taken = itertools.count()

    def endless() -> Iterator[Any]:
        for key in taken:
            yield engine.Question(key=key, conversation=[{"role": "user", "content": str(key)}])

    stream = api(server, concurrency=4).replies(endless(), engine.Sampling())
    for _ in range(20):
        next(stream)
    stream.close()
    assert next(taken) <= 20 + 2 * 4


def test_busy_and_broken_answers_are_tried_again() -> None:
    with chat_server(first_answers={"a": [429, 500, 429], "b": [503]}) as server:
        answered = replies(api(server), "a", "b", "c")
    assert [reply.error for reply in answered] == [None] * 3
    assert server.asked == {"a": 4, "b": 2, "c": 1}


def test_a_question_that_is_refused_is_one_row_with_an_error() -> None:
    with chat_server(first_answers={"b": [400]}) as server:
        answered = replies(api(server), "a", "b", "c")
    assert [bool(reply.error) for reply in answered] == [False, True, False]
    assert "400 for b" in answered[1].error
    assert server.asked["b"] == 1


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, 3, "OPENAI_API_KEY"),
        (403, 3, "does not accept the key"),
        (404, 4, "--base-url"),
        (500, 5, "answered 500 9 times"),
    ],
)
def test_an_api_that_refuses_everything_ends_the_run(status: int, code: int, said: str) -> None:
    with chat_server(refuses=status) as server, pytest.raises(exits.Stop, match=said) as stop:
        replies(api(server, concurrency=2), "a", "b", "c")
    assert stop.value.code == code


def test_no_server_at_all(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = engine.EngineSettings(base_url="http://127.0.0.1:9/v1")
    answering = engine.start_engine("openai", engine.EngineModel(name="m"), settings, token=None)
    monkeypatch.setattr(answering, "_client", answering._client.with_options(max_retries=0))
    with pytest.raises(exits.Stop, match="cannot be reached") as stop:
        replies(answering, "a")
    assert stop.value.code == 5


def test_a_server_that_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "ENGINE_API_TIMEOUT_S", 0.05)
    monkeypatch.setattr(engine, "ENGINE_API_ATTEMPTS", 1)
    with chat_server(pause=0.5) as server, pytest.raises(exits.Stop, match=r"cannot be reached: .*timed out") as stop:
        replies(api(server), "a")
    assert stop.value.code == 5


def test_options_reach_the_server(server: ChatServer) -> None:
    schema = {"type": "object"}
    replies(
        api(server, chat_template_kwargs={"enable_thinking": False}, extra={"priority": 1}),
        "a",
        temperature=0.5,
        top_p=0.8,
        top_k=20,
        min_p=0.1,
        repetition_penalty=1.1,
        max_tokens=7,
        count=2,
        stop=("END",),
        seed=3,
        json_schema=schema,
    )
    (asked,) = server.requests
    assert {name: asked[name] for name in ("model", "temperature", "top_p", "max_tokens", "n", "stop")} == {
        "model": "m",
        "temperature": 0.5,
        "top_p": 0.8,
        "max_tokens": 7,
        "n": 2,
        "stop": ["END"],
    }
    assert (asked["top_k"], asked["min_p"], asked["repetition_penalty"], asked["priority"]) == (20, 0.1, 1.1, 1)
    assert asked["chat_template_kwargs"] == {"enable_thinking": False}
    assert asked["response_format"]["json_schema"]["schema"] == schema


@pytest.mark.parametrize(("count", "each"), [(1, 3), (2, None)])
def test_tokens_that_an_api_tells_for_all_answers_are_not_made_up_for_each(
    server: ChatServer, count: int, each: int | None
) -> None:
    (reply,) = replies(api(server), "hello", count=count)
    assert [answer.tokens for answer in reply.answers] == [each] * count
    assert reply.output_tokens == 3 * count


def test_the_seed_of_a_question_is_the_same_on_every_attempt(server: ChatServer) -> None:
    for _ in range(2):
        replies(api(server), "a", "b", seed=1)
    seeds = {(request["messages"][0]["content"], request["seed"]) for request in server.requests}
    assert len(seeds) == 2
    replies(api(server), "a", seed=2)
    assert ("a", server.requests[-1]["seed"]) not in seeds


def test_the_token_of_the_hub_goes_to_no_other_host(server: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    replies(api(server, token="hf_secret"), "a")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    replies(api(server, token="hf_secret"), "a")
    assert server.keys == {"Bearer none", "Bearer sk-mine"}


@pytest.mark.parametrize(
    ("url", "key"),
    [
        ("https://router.huggingface.co/v1", "hf_secret"),
        ("https://huggingface.co.evil.example/v1", "none"),
        ("https://evilhuggingface.co/v1", "none"),
        ("http://router.huggingface.co/v1", "none"),
    ],
)
def test_which_hosts_are_the_hubs_own(url: str, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert engine._api_key(url, "hf_secret") == key


def gpus(monkeypatch: pytest.MonkeyPatch, *memories: int) -> None:
    found = tuple(preflight.Gpu(name="GPU", memory=memory * GB) for memory in memories)
    monkeypatch.setattr(engine, "list_gpus", lambda: found)
    monkeypatch.setattr(preflight, "list_gpus", lambda: found)


@pytest.mark.parametrize(
    ("memories", "weights", "heads", "split"),
    [
        ((), 8, 32, (1, 1)),
        ((24,), 8, 32, (1, 1)),
        ((24, 24, 24, 24), 8, 32, (1, 4)),
        ((24, 24, 24, 24), 30, 32, (2, 2)),
        ((24, 24, 24, 24), 70, 32, (4, 1)),
        ((24,) * 8, 8, 14, (1, 8)),
        ((24,) * 8, 60, 14, (2, 4)),  # four are needed, but 14 heads are not divided by four
        ((24, 80), 30, 32, (2, 1)),  # the smallest GPU counts
    ],
)
def test_gpus_are_split_into_the_fewest_that_hold_the_model(
    monkeypatch: pytest.MonkeyPatch, memories: tuple[int, ...], weights: int, heads: int, split: tuple[int, int]
) -> None:
    gpus(monkeypatch, *memories)
    assert engine.split_gpus(engine.EngineModel(name="m", weights=weights * GB, heads=heads)) == split


def test_a_machine_without_a_gpu_is_told_the_flavor(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch)
    with pytest.raises(exits.Stop, match=r"no GPU here.*20 GB.*--flavor l4x1") as stop:
        engine.require_engine("vllm", engine.EngineModel(name="m", weights=16 * GB), base_url=None)
    assert stop.value.code == 5
    with pytest.raises(exits.Stop, match="--base-url"):
        engine.require_engine("openai", engine.EngineModel(name="m"), base_url=None)
    engine.require_engine("transformers", engine.EngineModel(name="m"), base_url=None)


def test_a_model_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(exits.Stop, match=r"no config\.json") as stop:
        engine.describe_model(str(tmp_path), revision=None, token=None)
    assert stop.value.code == 4
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"num_attention_heads": 14}}))
    (tmp_path / "model.safetensors").write_bytes(b"x" * 100)
    found = engine.describe_model(str(tmp_path), revision=None, token=None)
    assert (found.commit, found.weights, found.heads) == (None, 100, 14)


def test_a_model_on_the_hub(hub: Hub, client: HfApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    client.create_repo("alice/tiny")
    client.upload_file(path_or_fileobj=b"w" * 64, path_in_repo="model-1.safetensors", repo_id="alice/tiny")
    found = engine.describe_model("alice/tiny", revision=None, token=TOKEN)
    assert (found.commit, found.weights) == (client.model_info("alice/tiny").sha, 64)
    for name, revision, code, said in (
        ("alice/none", None, 4, "there is no model alice/none"),
        ("alice/tiny", "v9", 4, "no revision 'v9'"),
        ("not a name", None, 4, "there is no model"),
    ):
        with pytest.raises(exits.Stop, match=said) as stop:
            engine.describe_model(name, revision=revision, token=TOKEN)
        assert stop.value.code == code
    client.update_repo_settings("alice/tiny", gated="manual")
    with pytest.raises(exits.Stop, match="gated") as stop:
        engine.describe_model("alice/tiny", revision=None, token=READ_TOKEN)
    assert stop.value.code == 3


def test_questions_may_come_up_while_others_are_answered(server: ChatServer) -> None:
    queue = engine.QuestionQueue()
    for question in questions("a", "b"):
        queue.put(question)
    greedy = engine.Sampling(temperature=0, max_tokens=3)
    seen = []
    for reply in api(server).replies(queue, engine.Sampling(max_tokens=9)):
        seen.append((reply.key, reply.answers[0].text))
        if reply.key < 10:  # each answer is asked about in turn, in its own way
            told = [{"role": "user", "content": f"{reply.answers[0].text} again"}]
            queue.put(engine.Question(key=reply.key + 10, conversation=told, sampling=greedy))
    assert sorted(seen) == [(0, "a"), (1, "b"), (10, "niaga a"), (11, "niaga b")]
    assert sorted(request["max_tokens"] for request in server.requests) == [3, 3, 9, 9]


@pytest.mark.parametrize(
    ("text", "thought", "answer"),
    [
        ("<think>why</think>\n\nbecause", "why", "because"),
        ("why</think>because", "why", "because"),
        ("<think>why and", "why and", ""),
        ("because", None, "because"),
        (" because\n", None, " because\n"),
        ("<think></think>x", "", "x"),
    ],
)
def test_thinking_is_told_from_the_answer(text: str, thought: str | None, answer: str) -> None:
    assert engine.split_thinking(text) == (thought, answer)
