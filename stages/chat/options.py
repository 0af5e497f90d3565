"""The options that all stages with a language model share, and what they do with them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import prompts
from grand_pipeline import weights
from grand_pipeline.columns import UNUSABLE, Column
from grand_pipeline.generation import Generation
from grand_pipeline.stage import Failed, Questions, Row
from stages import hub
from stages.chat import local, template
from stages.chat.ask import Effort, describe
from stages.chat.endpoint import EndpointChat
from stages.chat.interface import STOP, Chat
from stages.chat.server import RequestError, Server, ask
from stages.chat.serving import Serving, declared_length, launched, server

QUOTED = 1500
"""Characters of an unusable answer that an error row quotes."""


@dataclass(frozen=True, kw_only=True)
class Asking(Serving):
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

    attempts: int = 3
    """How often a question is asked at most: again with twice the budget when the answer was cut
    short, again with another seed when it is empty, filtered, a refusal, a loop or not English."""

    temperature: float = 0.7
    """Of every attempt with a seed; the first one is greedy."""

    accept: tuple[str, ...] = (STOP,)
    """Finish reasons of usable answers; after the last attempt, any other is an error row."""

    tokenizer: str = ""
    """Hub id or folder of the tokenizer that counts prompts for a server; empty: the server
    counts (vLLM), or a careful estimate does."""


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
    """The model behind a vLLM of our own, given a chat template where it brings none, as models in
    this process are.

    Raises as `vllm.serve` and, for the tokenizer, `hub.preprocessor`.
    """
    tokenizer = hub.preprocessor("AutoTokenizer", stage.tokenizer or stage.model)
    fallback = () if tokenizer.chat_template else ("--chat-template", template.FALLBACK_TEMPLATE)
    asked = launched(stage, fallback, environment)
    return EndpointChat(asked, stage.context_length or declared_length(asked), tokenizer)


def connect(server: Server, tokenizer: str = "", context_length: int = 0) -> EndpointChat:
    """The model behind a server, with what counts its tokens and how many it takes.

    Raises SettingsError when the server does not know the model or does not say its length,
    RequestError's message as SettingsError when it does not answer.
    """
    length = context_length or declared_length(server)
    if tokenizer:
        return EndpointChat(server, length, hub.preprocessor("AutoTokenizer", tokenizer))
    trial = {"model": server.model, "messages": [{"role": "user", "content": "a"}]}
    try:
        ask(server.root, "/tokenize", trial)
    except RequestError:
        return EndpointChat(server, length)
    return EndpointChat(server, length, counts=True)


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
