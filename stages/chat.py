"""Language models that answer chats: the interface, and transformers models in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import prompts
from grand_pipeline.types import FinishReason, Generation
from prompts import Message
from stages import hub
from stages.graph_text import droppable, shortened

STOP, LENGTH, TOO_LONG = FinishReason("stop"), FinishReason("length"), FinishReason("too long")
"""Finish reasons: the model ended its answer; the answer hit `max_new_tokens`; the prompt does
not fit the model's context even in its shortest form, so nothing was asked."""

Dtype = Literal["float32", "bfloat16", "float16"]

FALLBACK_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {{ message['content'] }} "
    "{% elif message['role'] == 'assistant' %}ASSISTANT: {{ message['content'] }}{{ eos_token }}"
    "{% else %}{{ message['content'] }} {% endif %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""For models whose tokenizer brings no chat template (those of the Vicuna family)."""


@dataclass(frozen=True)
class Answer:
    """What the model said, verbatim, and why it ended."""

    text: str
    finish_reason: str


class Chat(Protocol):
    """A language model that answers chats, whatever runs it."""

    @property
    def context_length(self) -> int:
        """Tokens that prompt and answer may have together."""

    def prompt(self, messages: Sequence[Message]) -> str:
        """The text that the model reads for a chat, up to where its answer begins."""

    def count(self, text: str) -> int:
        """Number of the model's own tokens in a text."""

    def complete(self, chats: Sequence[Sequence[Message]], max_new_tokens: int) -> list[Answer]:
        """One answer per chat, in order. A chat that fails does not raise: its answer is empty
        and its finish reason is the name of the error."""


def describe(
    chat: Chat, prompt: prompts.Prompt, graphs: Sequence[str], max_new_tokens: int, source: str
) -> list[Generation]:
    """Ask `prompt` about each scene graph; `prompt` must have the one field `graph`.

    A graph that does not fit the context is shortened by whole lines (`graph_text.shortened`),
    just as much as needed. The stored prompt is the text that the model really read.
    """
    room = chat.context_length - max_new_tokens
    chats = [_fitting(chat, prompt, graph, room) for graph in graphs]
    texts = [chat.prompt(messages) for messages in chats]
    fits = [chat.count(text) <= room for text in texts]
    asked = [messages for messages, fit in zip(chats, fits, strict=True) if fit]
    answers = iter(chat.complete(asked, max_new_tokens) if asked else ())
    given = [next(answers) if fit else Answer("", TOO_LONG) for fit in fits]
    return [
        Generation(text, answer.text, source, answer.finish_reason)
        for text, answer in zip(texts, given, strict=True)
    ]


def _fitting(chat: Chat, prompt: prompts.Prompt, graph: str, room: int) -> list[Message]:
    """The chat about the longest form of `graph` that fits, or else about its shortest form."""

    def ask(drop: int) -> list[Message]:
        return prompts.render(prompt, graph=shortened(graph, drop))

    low, high = 0, droppable(graph)
    if chat.count(chat.prompt(ask(0))) <= room:
        return ask(0)
    while low < high:
        middle = (low + high) // 2
        if chat.count(chat.prompt(ask(middle))) <= room:
            high = middle
        else:
            low = middle + 1
    return ask(low)


@dataclass(frozen=True)
class TransformersChat:
    """A causal language model of transformers with its tokenizer; greedy, batched."""

    model: Any
    tokenizer: Any

    @property
    def context_length(self) -> int:
        """The smaller of what the model and the tokenizer declare; 2048 where neither does."""
        config = self.model.config.get_text_config()
        declared = (
            getattr(config, "max_position_embeddings", None),
            getattr(self.tokenizer, "model_max_length", None),
        )
        # Tokenizers without a limit declare an absurd one.
        return min([int(n) for n in declared if n and n < 10_000_000] or [2048])

    def prompt(self, messages: Sequence[Message]) -> str:
        """The chat in the model's own template; system text that the template refuses goes to
        the head of the first user turn."""
        from jinja2.exceptions import TemplateError

        try:
            return self._render(messages)
        except TemplateError:
            return self._render(_without_system(messages))

    def _render(self, messages: Sequence[Message]) -> str:
        text: str = self.tokenizer.apply_chat_template(
            list(messages),
            tokenize=False,
            add_generation_prompt=True,
            chat_template=None if self.tokenizer.chat_template else FALLBACK_TEMPLATE,
            # Read by templates of models that would otherwise think aloud first.
            enable_thinking=False,
        )
        return text

    def count(self, text: str) -> int:
        """Number of tokens; the template has already written the special ones."""
        return len(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def complete(self, chats: Sequence[Sequence[Message]], max_new_tokens: int) -> list[Answer]:
        """Answers of one batch. Where a batch fails (out of memory), its chats go one by one."""
        texts = [self.prompt(messages) for messages in chats]
        try:
            return self._generate(texts, max_new_tokens)
        except RuntimeError as error:
            if len(texts) == 1:
                return [Answer("", type(error).__name__)]
        return [answer for chat in chats for answer in self.complete([chat], max_new_tokens)]

    def _generate(self, texts: Sequence[str], max_new_tokens: int) -> list[Answer]:
        import torch

        inputs = self.tokenizer(
            list(texts), return_tensors="pt", padding=True, add_special_tokens=False
        ).to(self.model.device)
        with torch.inference_mode():
            out = self.model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                max_new_tokens=max_new_tokens,
                do_sample=False,
                num_beams=1,
            )
        start = inputs["input_ids"].shape[1]
        return [self._answer(row) for row in out[:, start:].tolist()]

    def _answer(self, tokens: Sequence[int]) -> Answer:
        """The text up to the first token that ends answers."""
        end = next((n for n, token in enumerate(tokens) if token in self._ends()), None)
        text = self.tokenizer.decode(tokens[:end], skip_special_tokens=True)
        return Answer(text, LENGTH if end is None else STOP)

    def _ends(self) -> frozenset[int]:
        ends = self.model.generation_config.eos_token_id
        listed = ends if isinstance(ends, list) else [ends]
        return frozenset(n for n in (*listed, self.tokenizer.eos_token_id) if n is not None)


def load(model: str, device: str, dtype: Dtype = "float32") -> TransformersChat:
    """The causal language model `model` on `device`.

    Raises MissingDependencyError or SettingsError like `hub.pretrained`.
    """
    live = hub.pretrained("AutoModelForCausalLM", model, device, dtype)
    tokenizer = hub.preprocessor("AutoTokenizer", model)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    settings = live.generation_config
    # Checkpoints often ask for sampling; a data set must come out the same every time.
    settings.do_sample = False
    settings.temperature = settings.top_p = settings.top_k = None
    settings.pad_token_id = tokenizer.pad_token_id
    return TransformersChat(live, tokenizer)


def _without_system(messages: Sequence[Message]) -> list[Message]:
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    rest = [dict(m) for m in messages if m["role"] != "system"]
    if system and rest:
        rest[0]["content"] = f"{system}\n\n{rest[0]['content']}"
    return rest
