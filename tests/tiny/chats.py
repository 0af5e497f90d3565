"""A tiny random chat model, and a hand-written one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from prompts import Message
from stages.chat import GREEDY, STOP, Answer, Decoding

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"


def byte_tokenizer(template: str | None) -> Any:
    """One token per byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    symbols = ["<pad>", "<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE({symbol: n for n, symbol in enumerate(symbols)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<end>", chat_template=template, model_max_length=4096
    )


def _llama(template: str | None) -> tuple[Any, Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer(template)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=2048,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config), tokenizer


def llama() -> tuple[Any, Any]:
    """A Llama with a chat template."""
    return _llama(TEMPLATE)


def bare_llama() -> tuple[Any, Any]:
    """A Llama whose tokenizer has no chat template."""
    return _llama(None)


def strict_llama() -> tuple[Any, Any]:
    """A Llama whose template refuses system text."""
    return _llama(NO_SYSTEM + TEMPLATE)


@dataclass(frozen=True)
class Parrot:
    """Answers with the last line of the last turn; a word is a token; remembers its prompts."""

    context_length: int = 10_000
    asked: list[str] = field(default_factory=list)

    def prompt(self, messages: Sequence[Message]) -> str:
        return "\n".join(f"{m['role']}: {m['content']}" for m in messages)

    def count(self, text: str) -> int:
        return len(text.split())

    def size(self, messages: Sequence[Message], room: int) -> int:
        return self.count(self.prompt(messages))

    def complete(
        self,
        chats: Sequence[Sequence[Message]],
        max_new_tokens: int,
        decoding: Decoding = GREEDY,
    ) -> list[Answer]:
        self.asked.extend(self.prompt(chat) for chat in chats)
        return [Answer(chat[-1]["content"].split("\n")[-1], STOP) for chat in chats]
