# block: engine 1
"""A stream of conversations in, a stream of replies out, whichever engine answers: vLLM, an API, or transformers.

Promises: the engine never waits for a part to end (what is answered makes room for the next conversation at once), and
holds a window of them, never the whole input; the chat template is applied once, so there is no second BOS; what cannot
be asked or answered (too long, a role the template refuses) becomes a reply with an error, not the end of the run.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from .exits import EXIT_ENVIRONMENT, EXIT_INPUT, EXIT_TOKEN, EXIT_USAGE, Stop, one_line
from .preflight import list_gpus, require_vram
from .retry import http_status, retry
from .token import token_advice

if TYPE_CHECKING:
    import torch
    from openai import APIStatusError, OpenAI
    from openai.types.chat import ChatCompletion
    from transformers import PreTrainedTokenizerBase
    from vllm import RequestOutput, SamplingParams
    from vllm.lora.request import LoRARequest

ENGINES = ("vllm", "openai", "transformers")
ENGINE_API_KEY = "OPENAI_API_KEY"
ENGINE_API_ATTEMPTS = 8
ENGINE_API_TIMEOUT_S = 600.0
ENGINE_BATCH = 32  # conversations that transformers answers at a time
ENGINE_WINDOWS = 2  # times as many conversations wait in vLLM as it answers at once, so that it never runs dry
ENGINE_LONGEST_THAT_FITS = -1  # vLLM finds it: a model for long texts also runs where the memory holds short ones alone
ENGINE_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
ENGINE_OVERHEAD = 1.25  # memory for the cache and the work beside the weights, at least
_ENGINE_SEED_BITS = 31

Conversation = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineModel:
    """Which model answers and how it is loaded. `weights` is its size in bytes, `heads` its attention heads.

    `commit` pins a model of the Hub; None for a local folder and for an API. What is not known is 0.
    """

    name: str
    commit: str | None = None
    weights: int = 0
    heads: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How an answer is drawn: `temperature` 0 is greedy; `count` answers each; `json_schema` binds their form."""

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    max_tokens: int = 1024
    count: int = 1
    stop: tuple[str, ...] = ()
    seed: int = 0
    json_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSettings:
    """What the engine is told beside the model. `extra` goes to it as it is; `base_url` and `concurrency` to an API."""

    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    max_model_len: int | None = None
    dtype: str = "auto"
    quantization: str | None = None
    lora: str | None = None
    tensor_parallel: int = 1
    memory_share: float = 0.9
    seed: int = 0
    base_url: str | None = None
    concurrency: int = 32
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A conversation to answer; `key` tells its reply from the others and, with the seed, draws its answer.

    `sampling` is how this one is answered, where it is not as the others are.
    """

    key: int
    conversation: Conversation
    sampling: Sampling | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer: `finish_reason` is "stop" when the model ended it and "length" when the tokens did.

    `tokens` is None where an API tells only how many all answers to a question have together.
    """

    text: str
    finish_reason: str
    tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back for the question `key`: the answers, or the `error` that took their place.

    `output_tokens` are those of all answers together.
    """

    key: int
    answers: tuple[Answer, ...] = ()
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    error: str | None = None


class Engine(Protocol):
    """What all engines can do. `packages` are those whose versions a card should tell."""

    packages: tuple[str, ...]

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room.

        Where `questions` is a `QuestionQueue`, what is put in while replies are read is answered too.
        """
        ...


class QuestionQueue:
    """Questions that come up while others are answered. It seems to end whenever it is empty, and goes on later."""

    def __init__(self) -> None:
        self._waiting: deque[Question] = deque()

    def __iter__(self) -> QuestionQueue:
        return self

    def __next__(self) -> Question:
        if not self._waiting:
            raise StopIteration
        return self._waiting.popleft()

    def put(self, question: Question) -> None:
        """Add a question; those put in first are asked first."""
        self._waiting.append(question)


def describe_model(name: str, *, revision: str | None, token: str | None) -> EngineModel:
    """Return what is known of a model on the Hub or in a local folder, before anything of it is loaded.

    Stops with 3 when it is gated, with 4 when there is none.
    """
    if Path(name).is_dir():
        return _local_model(Path(name))
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    try:
        api = HfApi(token=token or False)
        info = retry(lambda: api.model_info(name, revision=revision, files_metadata=True), what=f"looking at {name}")
        if info.gated:
            retry(lambda: api.auth_check(name), what=f"asking for access to {name}")
    except (HfHubHTTPError, ValueError) as error:
        raise _no_model(error, name, revision) from error
    sizes = [sibling.size or 0 for sibling in info.siblings or () if sibling.rfilename.endswith(".safetensors")]
    heads = _heads(info.config or {})
    return EngineModel(name=name, commit=info.sha, weights=sum(sizes), heads=heads)


def require_engine(engine: str, model: EngineModel, *, base_url: str | None) -> None:
    """Stop with 5 when this machine cannot hold the model, in milliseconds and before anything heavy is imported."""
    if engine == "openai" and not base_url:
        raise Stop(EXIT_USAGE, "--engine openai needs the address of an API", fix="add --base-url https://.../v1")
    if engine == "vllm" and not _vllm_for_cpu():
        require_vram(int(model.weights * ENGINE_OVERHEAD))


def split_gpus(model: EngineModel) -> tuple[int, int]:
    """Return (tensor parallel, data parallel): the fewest GPUs that hold the model, and how many such groups there are.

    Copies of a model that answer apart are faster than one that is cut up. The GPUs of a group divide the heads.
    """
    gpus = list_gpus()
    if not gpus:
        return 1, 1
    smallest = min(gpu.memory for gpu in gpus)
    sizes = [n for n in range(1, len(gpus) + 1) if len(gpus) % n == 0 and (not model.heads or model.heads % n == 0)]
    holding = [n for n in sizes if n * smallest >= model.weights * ENGINE_OVERHEAD]
    tensor = holding[0] if holding else sizes[-1]
    return tensor, len(gpus) // tensor


def start_engine(engine: str, model: EngineModel, settings: EngineSettings, *, token: str | None) -> Engine:
    """Load the model into `engine` (one of `ENGINES`)."""
    if engine == "openai":
        return ApiEngine(model, settings, token=token)
    kind: Callable[..., Engine] = VllmEngine if engine == "vllm" else TransformersEngine
    try:
        return kind(model, settings)
    except (ImportError, RuntimeError, ValueError) as error:
        message = f"{engine} cannot load {model.name}: {one_line(error)[:500]}"
        fix = "check the model, its options and the memory of the machine (--max-model-len, --quantization, --flavor)"
        raise Stop(EXIT_ENVIRONMENT, message, fix=fix) from error


class VllmEngine:
    """vLLM in this process, fed while it answers."""

    packages = ("vllm", "torch", "transformers")

    def __init__(self, model: EngineModel, settings: EngineSettings) -> None:
        # The sampler of FlashInfer is compiled on first use, by a compiler that the image of a Job does not have.
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
        os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # stdout is for --json
        os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
        from vllm import LLM

        adapter = _adapter_folder(settings.lora)
        options = {
            "model": model.name,
            "revision": model.commit,
            "tokenizer_revision": model.commit,
            "dtype": settings.dtype,
            "quantization": settings.quantization,
            "max_model_len": settings.max_model_len or ENGINE_LONGEST_THAT_FITS,
            "tensor_parallel_size": settings.tensor_parallel,
            "gpu_memory_utilization": settings.memory_share,
            "seed": settings.seed,
        }
        given = {name: value for name, value in options.items() if value is not None}
        self._llm = LLM(**{**given, **_lora_options(adapter), **settings.extra})
        self._lora = _vllm_lora(adapter)
        self._tokenizer = self._llm.get_tokenizer()
        self._template = settings.chat_template_kwargs
        self._longest = self._llm.llm_engine.vllm_config.model_config.max_model_len
        self._window = self._llm.llm_engine.vllm_config.scheduler_config.max_num_seqs * ENGINE_WINDOWS
        # On the CPU a generator of its own for each request fails once a prompt is read in pieces (vLLM 0.32).
        self._seeded = not _vllm_for_cpu()

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room."""
        stream = iter(questions)
        waiting = 0
        while True:
            for question in itertools.islice(stream, self._window - waiting):
                refusal = self._ask(question, question.sampling or sampling)
                if refusal is None:
                    waiting += 1
                else:
                    yield refusal
            if not waiting:
                return
            for done in self._llm.llm_engine.step():
                if done.finished:
                    waiting -= 1
                    yield _vllm_reply(done)

    def _ask(self, question: Question, sampling: Sampling) -> Reply | None:
        """Hand the question over to the engine, or return the reply that says why it cannot be asked."""
        from vllm.exceptions import VLLMValidationError

        try:
            tokens = _prompt_tokens(self._tokenizer, question.conversation, self._template)
            if len(tokens) >= self._longest:
                return Reply(key=question.key, prompt_tokens=len(tokens), error=_too_long(len(tokens), self._longest))
            seed = _seed_of(sampling.seed, question.key) if self._seeded and sampling.temperature > 0 else None
            self._llm.llm_engine.add_request(
                str(question.key),
                {"prompt_token_ids": tokens},
                _vllm_sampling(sampling, seed),
                lora_request=self._lora,
            )
        except (*_template_errors(), VLLMValidationError) as error:
            return Reply(key=question.key, error=one_line(error))
        return None


class ApiEngine:
    """Any server with OpenAI's chat completions: `vllm serve`, llama.cpp's, `transformers serve`, a provider."""

    packages = ("openai",)

    def __init__(self, model: EngineModel, settings: EngineSettings, *, token: str | None) -> None:
        from openai import OpenAI

        self._model, self._settings = model.name, settings
        self._client: OpenAI = OpenAI(
            base_url=settings.base_url,
            api_key=_api_key(str(settings.base_url), token),
            max_retries=ENGINE_API_ATTEMPTS,
            timeout=ENGINE_API_TIMEOUT_S,
        )

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room."""
        stream = iter(questions)
        stopped = threading.Event()
        with ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="ask") as pool:
            running: set[Future[Reply]] = set()
            try:
                while True:
                    room = itertools.islice(stream, self._settings.concurrency - len(running))
                    running |= {pool.submit(self._ask, asked, asked.sampling or sampling, stopped) for asked in room}
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            finally:
                stopped.set()  # what has not been asked yet is not asked any more
                pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, question: Question, sampling: Sampling, stopped: threading.Event) -> Reply:
        from openai import APIConnectionError, APIError, APIStatusError

        if stopped.is_set():
            return Reply(key=question.key, error="not asked: the run was stopped")
        try:
            done = self._client.chat.completions.create(
                model=self._model,
                messages=[dict(message) for message in question.conversation],
                **_api_sampling(sampling, question.key, self._settings),
            )
        except APIStatusError as error:
            if http_status(error) in {400, 413, 422}:  # this conversation is at fault, not the run
                return Reply(key=question.key, error=one_line(error.message))
            raise _api_refusal(error, str(self._settings.base_url)) from error
        except APIConnectionError as error:
            message = f"{self._settings.base_url} cannot be reached: {one_line(error.__cause__ or error)}"
            raise Stop(EXIT_ENVIRONMENT, message, fix="check --base-url and the network, then run it again") from error
        except (APIError, ValueError) as error:
            return Reply(key=question.key, error=one_line(error))
        return _api_reply(question.key, done)


class TransformersEngine:
    """transformers, one batch after the other: for small models, and machines without a GPU."""

    packages = ("transformers", "torch")

    def __init__(self, model: EngineModel, settings: EngineSettings) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging

        if settings.lora is not None:
            raise Stop(EXIT_USAGE, "an adapter needs vLLM here", fix="add --engine vllm, or merge it into the model")
        logging.disable_progress_bar()
        place = "cuda" if torch.cuda.is_available() else "cpu"
        dtype: Any = settings.dtype if settings.dtype != "auto" or place == "cuda" else torch.float32
        options = {"revision": model.commit} if model.commit else {}
        self._tokenizer = AutoTokenizer.from_pretrained(model.name, padding_side="left", **options)
        self._model = AutoModelForCausalLM.from_pretrained(model.name, dtype=dtype, **options, **settings.extra)
        self._model.to(place).eval()
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        known = getattr(self._model.config, "max_position_embeddings", None) or self._tokenizer.model_max_length
        self._longest = min(settings.max_model_len or known, known)
        self._template = settings.chat_template_kwargs

    def replies(self, questions: Iterable[Question], sampling: Sampling) -> Iterator[Reply]:
        """Yield the reply to each question as it is ready, in any order; take questions only as there is room."""
        stream = iter(questions)
        while batch := list(itertools.islice(stream, ENGINE_BATCH)):
            for alike, group in itertools.groupby(batch, key=lambda question: question.sampling or sampling):
                asked: list[tuple[int, list[int]]] = []
                for question in group:
                    prompt = self._prompt(question)
                    if isinstance(prompt, Reply):
                        yield prompt
                    else:
                        asked.append((question.key, prompt))
                if asked:
                    yield from self._answer(asked, alike)

    def _prompt(self, question: Question) -> list[int] | Reply:
        try:
            tokens = _prompt_tokens(self._tokenizer, question.conversation, self._template)
        except _template_errors() as error:
            return Reply(key=question.key, error=one_line(error))
        if len(tokens) >= self._longest:
            return Reply(key=question.key, prompt_tokens=len(tokens), error=_too_long(len(tokens), self._longest))
        return tokens

    def _answer(self, asked: Sequence[tuple[int, list[int]]], sampling: Sampling) -> Iterator[Reply]:
        import torch

        if sampling.json_schema is not None:
            raise Stop(EXIT_USAGE, "transformers cannot bind an answer to a schema", fix="use --engine vllm or openai")
        padded = self._tokenizer.pad({"input_ids": [tokens for _, tokens in asked]}, return_tensors="pt")
        inputs = {name: value.to(self._model.device) for name, value in padded.items()}
        width = inputs["input_ids"].shape[1]
        torch.manual_seed(_seed_of(sampling.seed, asked[0][0]))
        with torch.inference_mode():
            output = self._model.generate(**inputs, **self._sampling(sampling, width))
        rows = output[:, width:].reshape(len(asked), sampling.count, -1)
        for (key, tokens), answers in zip(asked, rows, strict=True):
            told = tuple(self._cut(answer, sampling.stop) for answer in answers)
            yield _counted(key, told, len(tokens))

    def _sampling(self, sampling: Sampling, width: int) -> dict[str, Any]:
        options: dict[str, Any] = {
            "max_new_tokens": min(sampling.max_tokens, self._longest - width),
            "num_return_sequences": sampling.count,
            "repetition_penalty": sampling.repetition_penalty,
            "pad_token_id": self._tokenizer.pad_token_id,
            "do_sample": sampling.temperature > 0,
        }
        if sampling.temperature > 0:
            drawn = {"top_p": sampling.top_p, "top_k": sampling.top_k, "min_p": sampling.min_p or None}
            options |= {"temperature": sampling.temperature, **drawn}
        if sampling.stop:
            options |= {"stop_strings": list(sampling.stop), "tokenizer": self._tokenizer}
        return options

    def _cut(self, tokens: torch.Tensor, stop: Sequence[str]) -> Answer:
        """Return the answer in a row of the batch, which goes on with padding after its end."""
        ends = self._model.generation_config.eos_token_id
        ending = {
            self._tokenizer.eos_token_id,
            self._tokenizer.pad_token_id,
            *(ends if isinstance(ends, list) else [ends]),
        }
        numbers = tokens.tolist()
        end = next((place for place, number in enumerate(numbers) if number in ending), None)
        text = self._tokenizer.decode(numbers[:end], skip_special_tokens=True)
        found = [place for word in stop if (place := text.find(word)) >= 0]
        ended = end is not None or bool(found)
        return Answer(
            text=text[: min(found)] if found else text,
            finish_reason="stop" if ended else "length",
            tokens=len(numbers) if end is None else end + 1,
        )


def split_thinking(text: str) -> tuple[str | None, str]:
    """Return (what the model thought, its answer). Some templates open <think> in the prompt: only its end is there."""
    if "</think>" in text:
        thought, _, answer = text.partition("</think>")
    elif text.lstrip().startswith("<think>"):  # cut off before it came to an answer
        thought, answer = text, ""
    else:
        return None, text
    return thought.strip().removeprefix("<think>").strip(), answer.strip()


def _local_model(folder: Path) -> EngineModel:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = f"{folder} has no config.json that can be read ({one_line(error)})"
        raise Stop(EXIT_INPUT, message, fix="name a folder that save_pretrained() wrote") from error
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return EngineModel(name=str(folder), weights=weights, heads=_heads(config))


def _heads(config: Mapping[str, Any]) -> int:
    text = config.get("text_config") or config
    heads = text.get("num_attention_heads", 0)
    return heads if isinstance(heads, int) else 0


def _no_model(error: Exception, name: str, revision: str | None) -> Stop:
    kind, status = type(error).__name__, http_status(error)
    if kind == "GatedRepoError":
        fix = f"ask for access at its page on the Hub, then {token_advice()}"
        return Stop(EXIT_TOKEN, f"the model {name} is gated and this account has no access", fix=fix)
    if kind == "RevisionNotFoundError":
        return Stop(EXIT_INPUT, f"the model {name} has no revision {revision!r}", fix="name a branch, tag or commit")
    if status in {401, 403} and kind != "RepositoryNotFoundError":
        return Stop(EXIT_TOKEN, f"the Hub does not accept the token for the model {name}", fix=token_advice())
    message = f"there is no model {name} on the Hub for this account, and no such folder"
    return Stop(EXIT_INPUT, message, fix=f"check the spelling; if it is private, {token_advice()}")


def _vllm_for_cpu() -> bool:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return "cpu" in version("vllm")
    except PackageNotFoundError:
        return False


def _vllm_sampling(sampling: Sampling, seed: int | None) -> SamplingParams:
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    schema = sampling.json_schema
    return SamplingParams(
        n=sampling.count,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        repetition_penalty=sampling.repetition_penalty,
        max_tokens=sampling.max_tokens,
        stop=list(sampling.stop),
        seed=seed,
        structured_outputs=None if schema is None else StructuredOutputsParams(json=dict(schema)),
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _vllm_reply(done: RequestOutput) -> Reply:
    answers = tuple(
        Answer(text=said.text, finish_reason=str(said.finish_reason), tokens=len(said.token_ids))
        for said in sorted(done.outputs, key=lambda said: said.index)
    )
    return _counted(int(done.request_id), answers, len(done.prompt_token_ids))


def _counted(key: int, answers: tuple[Answer, ...], prompt_tokens: int) -> Reply:
    spoken = sum(answer.tokens or 0 for answer in answers)
    return Reply(key=key, answers=answers, prompt_tokens=prompt_tokens, output_tokens=spoken)


def _vllm_lora(adapter: Path | None) -> LoRARequest | None:
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, str(adapter)) if adapter else None


def _adapter_folder(name: str | None) -> Path | None:
    """Return the folder of a LoRA adapter, fetched from the Hub when it is none."""
    if name is None or Path(name).is_dir():
        return Path(name) if name else None
    from huggingface_hub import snapshot_download

    return Path(retry(lambda: snapshot_download(name), what=f"fetching {name}"))


def _lora_options(adapter: Path | None) -> dict[str, Any]:
    """Return what vLLM has to reserve for `adapter`: of the few ranks that it knows, the least that holds it."""
    if adapter is None:
        return {}
    rank = int(json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"])
    return {"enable_lora": True, "max_lora_rank": next((known for known in ENGINE_LORA_RANKS if known >= rank), rank)}


def _prompt_tokens(
    tokenizer: PreTrainedTokenizerBase, conversation: Conversation, template: Mapping[str, Any]
) -> list[int]:
    """Return the tokens of the conversation, ready for the assistant to speak; special tokens as the template sets them."""
    messages = [dict(message) for message in conversation]
    given = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False, **template)
    return list(tokenizer(given, add_special_tokens=False, verbose=False)["input_ids"])


def _template_errors() -> tuple[type[Exception], ...]:
    """Return what a chat template raises at a conversation that it was not written for."""
    from jinja2 import TemplateError

    return TemplateError, LookupError, ValueError, TypeError, AttributeError


def _too_long(tokens: int, longest: int) -> str:
    return f"the prompt has {tokens} tokens; the model takes {longest}, the answer included"


def _seed_of(seed: int, key: int) -> int:
    """Return a seed for one question, so that a restart draws the same answer for it."""
    return random.Random(f"{seed} {key}").getrandbits(_ENGINE_SEED_BITS)  # noqa: S311 - drawing answers, not secrets


def _api_key(base_url: str, token: str | None) -> str:
    """Return the key for an API: OPENAI_API_KEY; the Hub's token is for the Hub's own hosts, and nobody else."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    if parts.scheme == "https" and (host == "huggingface.co" or host.endswith(".huggingface.co")):
        if token is None:
            raise Stop(EXIT_TOKEN, f"no Hub token, needed to ask {host}", fix=token_advice())
        return token
    return os.environ.get(ENGINE_API_KEY) or "none"


def _api_sampling(sampling: Sampling, key: int, settings: EngineSettings) -> dict[str, Any]:
    beyond_openai = {
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "chat_template_kwargs": dict(settings.chat_template_kwargs),
    }
    usual = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "chat_template_kwargs": {}}
    extra = {name: value for name, value in beyond_openai.items() if value != usual[name]}
    options: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "extra_body": {**extra, **settings.extra},
    }
    if sampling.temperature > 0:
        options["seed"] = _seed_of(sampling.seed, key)
    if sampling.count > 1:
        options["n"] = sampling.count
    if sampling.stop:
        options["stop"] = list(sampling.stop)
    if sampling.json_schema is not None:
        schema = {"name": "answer", "schema": dict(sampling.json_schema), "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": schema}
    return options


def _api_refusal(error: APIStatusError, base_url: str) -> Stop:
    status, said = http_status(error), one_line(error.message)[:300]
    if status in {401, 403}:
        fix = f"set {ENGINE_API_KEY} (in a Job: --secrets {ENGINE_API_KEY})"
        return Stop(EXIT_TOKEN, f"{base_url} does not accept the key: {said}", fix=fix)
    if status == 404:
        return Stop(EXIT_INPUT, f"{base_url} has no such model or address: {said}", fix="check --model and --base-url")
    message = f"{base_url} answered {status} {ENGINE_API_ATTEMPTS + 1} times: {said}"
    return Stop(EXIT_ENVIRONMENT, message, fix="run the same command again later: it does what is missing")


def _api_reply(key: int, done: ChatCompletion) -> Reply:
    usage = done.usage
    asked, spoken = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
    each = spoken if len(done.choices) == 1 else None
    answers = tuple(
        Answer(text=choice.message.content or "", finish_reason=str(choice.finish_reason), tokens=each)
        for choice in done.choices
    )
    if not answers:
        return Reply(key=key, error="the API gave no answer")
    return Reply(key=key, answers=answers, prompt_tokens=asked, output_tokens=spoken)
