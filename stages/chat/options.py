"""The options that all stages with a language model share, and what they do with them."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import prompts
from grand_pipeline.errors import AnnotationError, SettingsError, suggest
from grand_pipeline.generation import Generation
from stages import hub
from stages.chat import local
from stages.chat.ask import Effort, describe
from stages.chat.endpoint import EndpointChat, RequestError, Server, ask
from stages.chat.interface import STOP, Chat
from stages.chat.memory import Remembering
from stages.chat.retry import Backoff

OPERATIONAL: frozenset[str] = frozenset(
    {"endpoint", "api_key_env", "concurrency", "timeout", "retries"}
)
"""Options of `Asking` that say where and how fast a model runs, not what it answers."""


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Options of a stage that asks a language model, listed beside `Stage` among its bases.

    Only fields: what is done with them are the functions of this module.
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

    concurrency: int = 32
    """Requests to a server under way at once, per worker; `batch_size` should be a few times
    that."""

    timeout: float = 300.0
    """Seconds that a server has for one answer."""

    retries: int = 8
    """How often a request is sent again after a failure that can pass (timeouts, lost
    connections, statuses 408, 409, 429 and from 500 on), each time later."""


def models(stage: Asking) -> tuple[str, ...]:
    """What identifies the weights. A server's are known by their name alone, an option anyway."""
    if stage.endpoint:
        return (stage.tokenizer,) if stage.tokenizer else ()
    return (stage.model,)


def live(stage: Asking, device: str, environment: Mapping[str, str] = os.environ) -> Remembering:
    """The stage's model, in this process or behind a server; the prompt is read here too, so that
    a wrong name fails at once.

    Raises SettingsError or MissingDependencyError that says what to do.
    """
    prompts.load(stage.prompt)
    if not stage.endpoint:
        return Remembering(local.load(stage.model, device, stage.dtype))
    return Remembering(connect(server(stage, environment), stage.tokenizer, stage.context_length))


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


def usable(generation: Generation, accept: Sequence[str]) -> Generation:
    """The generation. Raises AnnotationError with reason and raw answer where its finish reason
    is not among those accepted."""
    if generation.finish_reason in accept:
        return generation
    before = f" after {', '.join(generation.attempts)}" if generation.attempts else ""
    raise AnnotationError(
        f"the language model gave no usable answer: {generation.finish_reason}{before}. "
        f"Its answer: {generation.answer or '(empty)'}"
    )
