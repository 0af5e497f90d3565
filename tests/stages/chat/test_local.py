from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import prompts
from grand_pipeline.errors import MissingDependencyError, SettingsError
from stages import chat
from tests.tiny.chats import bare_llama, byte_tokenizer, llama, strict_llama
from tests.tiny.checkpoints import Builder, checkpoint


def turns(*contents: str) -> list[prompts.Message]:
    roles = ["system", *("user", "assistant") * len(contents)]
    return [{"role": role, "content": text} for role, text in zip(roles, contents, strict=False)]


def test_answers_in_a_batch_are_those_alone() -> None:
    live = chat.load(checkpoint(llama), "cpu")
    chats = [turns("S", "a"), turns("S", "a much longer question than the first"), turns("", "xyz")]
    answers = live.complete(chats, 12)
    assert answers == [live.complete([one], 12)[0] for one in chats]
    assert all(a.text for a in answers) and len({a.text for a in answers}) > 1


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (llama, "<system>S<user>Q<assistant>A<user>R<assistant>"),
        (bare_llama, "S USER: Q ASSISTANT: A<end>USER: R ASSISTANT:"),
        (strict_llama, "<user>S\n\nQ<assistant>A<user>R<assistant>"),
    ],
)
def test_templates_of_all_kinds(build: Builder, text: str) -> None:
    live = chat.load(checkpoint(build), "cpu")
    assert live.prompt(turns("S", "Q", "A", "R")) == text
    assert live.context_length == 2048
    assert live.count("abc") == 3


class Scripted:
    """A model that generates given tokens, or fails for batches above `most`."""

    device = "cpu"

    def __init__(self, tokens: Sequence[int], most: int = 99) -> None:
        self.tokens, self.most = list(tokens), most
        self.generation_config = type("Settings", (), {"eos_token_id": [7]})()

    def generate(self, *, input_ids: Any, **options: Any) -> Any:
        import torch

        if len(input_ids) > self.most:
            raise RuntimeError("no room")
        new = torch.tensor([self.tokens] * len(input_ids))
        return SimpleNamespace(sequences=torch.cat([input_ids, new], dim=1))


def scripted(tokens: Sequence[int], most: int = 99) -> chat.TransformersChat:
    tokenizer = byte_tokenizer(None)
    tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, "left"
    return chat.TransformersChat(Scripted(tokens, most), tokenizer)


def test_why_an_answer_ended() -> None:
    a, b = byte_tokenizer(None)("ab")["input_ids"]
    assert scripted([a, b]).complete([turns("", "q")], 2) == [chat.Answer("ab", "length")]
    for end in (1, 7):  # the tokenizer's end token; the model's own
        assert scripted([a, end, b]).complete([turns("", "q")], 3) == [chat.Answer("a", "stop")]


def test_a_failing_batch_goes_one_by_one_and_a_failing_chat_is_named() -> None:
    (a,) = byte_tokenizer(None)("a")["input_ids"]
    chats = [turns("", "q"), turns("", "r")]
    assert scripted([a], most=1).complete(chats, 1) == [chat.Answer("a", "length")] * 2
    assert scripted([a], most=0).complete(chats, 1) == [chat.Answer("", "RuntimeError")] * 2


def test_a_seed_gives_the_same_text_in_any_batch_and_leaves_other_chance_alone() -> None:
    import torch

    live = chat.load(checkpoint(llama), "cpu")
    chats = [turns("S", "a"), turns("S", "a longer question")]
    hot = chat.Decoding(1.5, 7)
    state = torch.random.get_rng_state()
    answers = live.complete(chats, 8, hot)
    assert torch.equal(state, torch.random.get_rng_state())
    assert answers == [live.complete([one], 8, hot)[0] for one in chats]
    assert answers != live.complete(chats, 8, chat.Decoding(1.5, 8))
    assert answers != live.complete(chats, 8)


def test_missing_models_are_explained(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not exist"):
        chat.load(str(tmp_path / "nowhere"), "cpu")
    with pytest.raises((MissingDependencyError, SettingsError), match="model '"):
        chat.load(str(tmp_path), "cpu")
