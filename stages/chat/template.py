"""Chats as the text that a model reads, by its tokenizer's chat template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prompts import Message

FALLBACK_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}USER: {{ message['content'] }} "
    "{% elif message['role'] == 'assistant' %}ASSISTANT: {{ message['content'] }}{{ eos_token }}"
    "{% else %}{{ message['content'] }} {% endif %}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
"""For models whose tokenizer brings no chat template (those of the Vicuna family)."""


def rendered(tokenizer: Any, messages: Sequence[Message]) -> str:
    """The chat in the tokenizer's own template; system text that the template refuses goes to the
    head of the first user turn."""
    from jinja2.exceptions import TemplateError

    try:
        return _render(tokenizer, messages)
    except TemplateError:
        return _render(tokenizer, _without_system(messages))


def count(tokenizer: Any, text: str) -> int:
    """Number of tokens of a rendered chat; the template has already written the special ones."""
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def _render(tokenizer: Any, messages: Sequence[Message]) -> str:
    text: str = tokenizer.apply_chat_template(
        list(messages),
        tokenize=False,
        add_generation_prompt=True,
        chat_template=None if tokenizer.chat_template else FALLBACK_TEMPLATE,
        # Read by templates of models that would otherwise think aloud first.
        enable_thinking=False,
    )
    return text


def _without_system(messages: Sequence[Message]) -> list[Message]:
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    rest = [dict(m) for m in messages if m["role"] != "system"]
    if system and rest:
        rest[0]["content"] = f"{system}\n\n{rest[0]['content']}"
    return rest
