"""How a stage's model is run: in this process, by a server, or by a vLLM of the worker's own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from grand_pipeline.errors import SettingsError, suggest
from stages import hub
from stages.chat import vllm
from stages.chat.retry import Backoff
from stages.chat.server import RequestError, Server, ask

OPERATIONAL: frozenset[str] = frozenset(
    {"endpoint", "api_key_env", "concurrency", "timeout", "retries"}
    | {"vllm", "vllm_tuning", "vllm_patience"}
)
"""Options of `Serving` that say where and how fast a model runs, not what it answers."""


@dataclass(frozen=True, kw_only=True)
class Serving:
    """Options of a stage whose model a server can run. Only fields and whether they go together."""

    model: str
    """Hub id, folder, or "embedded:NAME"; with `endpoint` the name under which the server knows
    it."""

    dtype: hub.Dtype = "float32"
    """Precision of the weights in this process; bfloat16 halves the memory on a GPU that has
    it."""

    endpoint: str = ""
    """Address of an OpenAI-compatible server that runs the model, such as
    "http://host:8000/v1"; empty: it runs in this process."""

    api_key_env: str = ""
    """Name of the environment variable that holds the server's key; the key is stored nowhere."""

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


def served(stage: Serving) -> bool:
    """Whether a server answers, which is to have as many questions at once as it takes."""
    return bool(stage.endpoint or stage.vllm)


def server(stage: Serving, environment: Mapping[str, str] = os.environ) -> Server:
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


def launched(
    stage: Serving, arguments: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> Server:
    """A vLLM of our own, started with `arguments` and those of the options. It is told what models
    in this process are told: not to think aloud, and to sample from all tokens where it samples.

    Raises as `vllm.serve`.
    """
    asked = server(stage, environment)
    process = vllm.serve(
        vllm.Launch(
            stage.vllm,
            stage.model,
            stage.dtype,
            stage.context_length,
            (*arguments, *stage.vllm_args, *stage.vllm_tuning),
            stage.vllm_patience,
        )
    )
    alike = {"chat_template_kwargs": {"enable_thinking": False}, "top_p": 1.0, "top_k": 0}
    extra = alike | dict(asked.extra)
    return replace(asked, url=process.url, key=process.key, process=process, extra=extra)


def declared_length(server: Server) -> int:
    """Tokens that the model takes, as the server says. Raises SettingsError as `known`, and where
    it does not say."""
    length = known(server).get("max_model_len")
    if not length:
        raise SettingsError(
            f"{server.url} does not say how many tokens '{server.model}' takes; set the option "
            "context_length"
        )
    return int(length)


def known(server: Server) -> Mapping[str, Any]:
    """What the server says of the model. Raises SettingsError where it has no list of models, or
    the model is not in it."""
    try:
        listed: list[dict[str, Any]] = list(ask(server, "/models")["data"])
        models = {str(model["id"]): model for model in listed}
    except (RequestError, KeyError, TypeError) as error:
        raise SettingsError(
            f"{server.url}/models gives no list of models: {error}. Start the server, correct "
            "the option endpoint, or set the option context_length if it has no such list"
        ) from None
    if server.model not in models:
        raise SettingsError(
            f"{server.url} knows no model '{server.model}'.{suggest(server.model, models)}"
        )
    return models[server.model]
