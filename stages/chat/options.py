"""The options that all stages with a language model share, and what they do with them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import prompts
from grand_pipeline import weights
from grand_pipeline.columns import UNUSABLE, Column
from grand_pipeline.errors import SettingsError, suggest
from grand_pipeline.generation import Generation
from grand_pipeline.stage import Failed, Questions, Row
from stages import hub
from stages.chat import local, template, vllm
from stages.chat.ask import Effort, describe
from stages.chat.endpoint import EndpointChat, RequestError, Server, ask
from stages.chat.interface import STOP, Chat
from stages.chat.retry import Backoff

OPERATIONAL: frozenset[str] = frozenset(
    {"endpoint", "api_key_env", "concurrency", "timeout", "retries"}
    | {"vllm", "vllm_tuning", "vllm_patience"}
)
"""Options of `Asking` that say where and how fast a model runs, not what it answers."""

QUOTED = 1500
"""Characters of an unusable answer that an error row quotes."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Options of a stage that asks a language model, listed beside `Stage` among its bases.

    Only fields and whether they go together: what is done with them are the functions of this
    module.
    """

    model: str = "Qwen/Qwen3-4B"
    """A causal language model for chats: hub id, folder, or "embedded:NAME"; with `endpoint` the
    name under which the server knows it."""

    prompt: str
    """Folder under `prompts/`; its user template has the one field `graph`."""

    max_new_tokens: int
    """Longest answer in tokens; the prompt has what is left of the model's context."""

    dtype: hub.Dtype = "float32"
    """Precision of the weights in this process; bfloat16 halves the memory on a GPU that has
    it."""

    attempts: int = 3
    """How often a question is asked at most: again with twice the budget when the answer was cut
    short, again with another seed when it is empty, filtered, a refusal, a loop or not English."""

    temperature: float = 0.7
    """Of every attempt with a seed; the first one is greedy."""

    accept: tuple[str, ...] = (STOP,)
    """Finish reasons of usable answers; after the last attempt, any other is an error row."""

    endpoint: str = ""
    """Address of an OpenAI-compatible server that runs the model, such as
    "http://host:8000/v1"; empty: it runs in this process."""

    api_key_env: str = ""
    """Name of the environment variable that holds the server's key; the key is stored nowhere."""

    tokenizer: str = ""
    """Hub id or folder of the tokenizer that counts prompts for a server; empty: the server
    counts (vLLM), or a careful estimate does."""

    context_length: int = 0
    """Tokens that prompt and answer may have on a server; 0: what `/v1/models` says."""

    extra_body: str = ""
    """A JSON object merged into every request to a server, for example
    '{"chat_template_kwargs": {"enable_thinking": false}}'."""

    vllm: str = ""
    """Folder of an environment with vLLM (`grand models vllm-env DIR` makes one): every worker
    starts a server of its own from it and stops it in the end. Not together with `endpoint`."""

    vllm_args: tuple[str, ...] = ()
    """Arguments for that server which can change answers, such as ["--quantization", "fp8"].
    Model, `dtype` and `context_length` reach it anyway."""

    vllm_tuning: tuple[str, ...] = ()
    """Arguments for that server which change nothing but memory and speed, such as
    ["--tensor-parallel-size", "2", "--gpu-memory-utilization", "0.8"]."""

    vllm_patience: float = 1800.0
    """Seconds that the server has until it is ready, fetching its model included."""

    concurrency: int = 32
    """Requests to a server under way at once, per worker, which has a whole shard of images to
    ask about; `batch_size` is for models in this process."""

    timeout: float = 300.0
    """Seconds that a server has for one answer."""

    retries: int = 8
    """How often a request is sent again after a failure that can pass (timeouts, lost
    connections, statuses 408, 409, 429 and from 500 on), each time later."""

    def __post_init__(self) -> None:
        if self.vllm and self.endpoint:
            raise ValueError(
                f"the options vllm ('{self.vllm}') and endpoint ('{self.endpoint}') exclude each "
                "other: a server is either started here or reached at an address"
            )


def models(stage: Asking) -> tuple[str, ...]:
    """What identifies the weights. A server's are known by their name alone, an option anyway."""
    if stage.endpoint:
        return (f"{weights.TOKENIZER}{stage.tokenizer}",) if stage.tokenizer else ()
    return (stage.model,)


def live(stage: Asking, device: str, environment: Mapping[str, str] = os.environ) -> Chat:
    """The stage's model, in this process or behind a server; the prompt is read here too, so that
    a wrong name fails at once.

    Raises SettingsError or MissingDependencyError that says what to do.
    """
    prompts.load(stage.prompt)
    if stage.vllm:
        return started(stage, environment)
    if stage.endpoint:
        return connect(server(stage, environment), stage.tokenizer, stage.context_length)
    return local.load(stage.model, device, stage.dtype)


def started(stage: Asking, environment: Mapping[str, str] = os.environ) -> EndpointChat:
    """The model behind a vLLM of our own, told what in-process models are told: a chat template
    where they bring none, not to think aloud, and to sample from all tokens where they sample.

    Raises as `vllm.serve` and, for the tokenizer, `hub.preprocessor`.
    """
    asked = server(stage, environment)
    tokenizer = hub.preprocessor("AutoTokenizer", stage.tokenizer or stage.model)
    fallback = () if tokenizer.chat_template else ("--chat-template", template.FALLBACK_TEMPLATE)
    process = vllm.serve(
        vllm.Launch(
            stage.vllm,
            stage.model,
            stage.dtype,
            stage.context_length,
            (*fallback, *stage.vllm_args, *stage.vllm_tuning),
            stage.vllm_patience,
        )
    )
    alike = {"chat_template_kwargs": {"enable_thinking": False}, "top_p": 1.0, "top_k": 0}
    extra = alike | dict(asked.extra)
    asked = replace(asked, url=process.url, key=process.key, process=process, extra=extra)
    return EndpointChat(asked, stage.context_length or _declared_length(asked), tokenizer)


def server(stage: Asking, environment: Mapping[str, str] = os.environ) -> Server:
    """The server of the options. Raises SettingsError for options that make no sense."""
    key = environment.get(stage.api_key_env, "") if stage.api_key_env else ""
    if stage.api_key_env and not key:
        raise SettingsError(
            f"environment variable '{stage.api_key_env}' (option api_key_env) is not set; it "
            f"holds the key for {stage.endpoint}"
        )
    try:
        extra = json.loads(stage.extra_body or "{}")
    except ValueError as error:
        raise SettingsError(f"option extra_body is not JSON: {error}") from None
    if not isinstance(extra, dict):
        raise SettingsError(f"option extra_body must be a JSON object, not {stage.extra_body}")
    return Server(
        url=stage.endpoint.rstrip("/"),
        model=stage.model,
        key=key,
        concurrency=max(1, stage.concurrency),
        timeout=stage.timeout,
        backoff=Backoff(stage.retries),
        extra=extra,
    )


def connect(server: Server, tokenizer: str = "", context_length: int = 0) -> EndpointChat:
    """The model behind a server, with what counts its tokens and how many it takes.

    Raises SettingsError when the server does not know the model or does not say its length,
    RequestError's message as SettingsError when it does not answer.
    """
    length = context_length or _declared_length(server)
    if tokenizer:
        return EndpointChat(server, length, hub.preprocessor("AutoTokenizer", tokenizer))
    trial = {"model": server.model, "messages": [{"role": "user", "content": "a"}]}
    try:
        ask(server.root, "/tokenize", trial)
    except RequestError:
        return EndpointChat(server, length)
    return EndpointChat(server, length, counts=True)


def _declared_length(server: Server) -> int:
    try:
        listed: list[dict[str, Any]] = list(ask(server, "/models")["data"])
        lengths = {str(known["id"]): known.get("max_model_len") for known in listed}
    except (RequestError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{server.url}/models gives no list of models: {error}. Start the server, correct "
            "the option endpoint, or set the option context_length if it has no such list"
        ) from None
    if server.model not in lengths:
        raise SettingsError(
            f"{server.url} knows no model '{server.model}'.{suggest(server.model, lengths)}"
        )
    length = lengths[server.model]
    if not length:
        raise SettingsError(
            f"{server.url} does not say how many tokens '{server.model}' takes; set the option "
            "context_length"
        )
    return int(length)


def effort(stage: Asking) -> Effort:
    """How long answers may be and how often they are asked for."""
    return Effort(stage.max_new_tokens, max(1, stage.attempts), stage.temperature)


def told(stage: Asking, model: Chat, graphs: Sequence[str]) -> list[Generation]:
    """What the model says of each scene graph."""
    return describe(model, prompts.load(stage.prompt), graphs, effort(stage), stage.model)


def row(stage: Asking, key: str, column: Column[Generation], told: Generation) -> Row | Failed:
    """The row of the stage `key`, or where the answer's finish reason is not among those accepted
    the reason with what was said; the whole generation is kept then too."""
    unusable = UNUSABLE.of(key)
    if told.finish_reason in stage.accept:
        return {column: told, unusable: None}
    before = f" after {', '.join(told.attempts)}" if told.attempts else ""
    said = told.answer or "(empty)"
    cut = said if len(said) <= QUOTED else f"{said[:QUOTED]}... (whole in '{unusable.name}')"
    return Failed(
        f"the language model gave no usable answer: {told.finish_reason}{before}. "
        f"Its answer: {cut}",
        {unusable: told},
    )


def questions(
    stage: Asking, answers: Column[Generation], graph: Column[str] | None, revised: bool = False
) -> Questions:
    """One question per image, with the prompt's own words."""
    messages = prompts.render(prompts.load(stage.prompt), graph="")
    return Questions(
        frame="\n".join(message["content"] for message in messages),
        graph=graph,
        longest=stage.max_new_tokens,
        answers=answers,
        revised=revised,
    )


def served(stage: Asking) -> bool:
    """Whether a server answers, which is to have as many questions at once as it takes."""
    return bool(stage.endpoint or stage.vllm)
