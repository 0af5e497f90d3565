"""A tiny random chat model, and a hand-written one."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from grand_pipeline import weights
from prompts import Message
from stages.chat import GREEDY, STOP, Answer, Decoding

TEMPLATE = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
NO_SYSTEM = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no') }}{% endif %}"


def byte_tokenizer(template: str | None, length: int = 4096) -> Any:
    """One token per byte, `length` of them at most."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    symbols = ["<pad>", "<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    raw = Tokenizer(models.BPE({symbol: n for n, symbol in enumerate(symbols)}, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    raw.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="<end>", chat_template=template, model_max_length=length
    )


def _llama(template: str | None, hidden: int = 16, length: int = 2048) -> tuple[Any, Any]:
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = byte_tokenizer(template, 2 * length)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=length,
        initializer_range=0.5,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
    )
    return LlamaForCausalLM(config), tokenizer


def llama() -> tuple[Any, Any]:
    """A Llama with a chat template."""
    return _llama(TEMPLATE)


def long_llama() -> tuple[Any, Any]:
    """A Llama that has room for the default prompts, with their examples."""
    return _llama(TEMPLATE, length=16_384)


def bare_llama() -> tuple[Any, Any]:
    """A Llama whose tokenizer has no chat template."""
    return _llama(None)


def strict_llama() -> tuple[Any, Any]:
    """A Llama whose template refuses system text."""
    return _llama(NO_SYSTEM + TEMPLATE)


def wide_llama() -> tuple[Any, Any]:
    """A Llama with heads as wide as vLLM wants them on a CPU."""
    return _llama(TEMPLATE, hidden=64)


def wide_llm() -> tuple[Any, Any]:
    """The embedded language model with heads twice as wide that computes the same.

    vLLM has no attention for its narrow heads. Every dimension of a head goes to an even place,
    where rotary embeddings turn it as fast as before, zeros stand between, and queries make up
    for the larger divisor.
    """
    import torch
    from transformers import AutoTokenizer, LlamaForCausalLM

    folder = weights.resolve("embedded:llm")
    narrow = LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)
    config = copy.deepcopy(narrow.config)
    config.head_dim *= 2
    found = {}
    for name, weight in narrow.state_dict().items():
        if name.split(".")[-2] in ("q_proj", "k_proj", "v_proj"):
            found[name] = _apart(weight) * (2**0.5 if "q_proj" in name else 1)
        elif name.split(".")[-2] == "o_proj":
            found[name] = _apart(weight.T).T.contiguous()
        else:
            found[name] = weight
    wide = LlamaForCausalLM(config)
    wide.load_state_dict(found)
    return wide, AutoTokenizer.from_pretrained(folder)


def _apart(rows: Any) -> Any:
    """Rows (n, m) with one of zeros behind each."""
    import torch

    return torch.stack([rows, torch.zeros_like(rows)], dim=1).flatten(0, 1)


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
