"""Texts as MDETR reads them: tokens, and which of them stand for each phrase.

A model knows 255 positions of a text, the first of which is its beginning; boxes can mean nothing
behind them. A longer caption is cut, between its sentences where it can be, and every piece is
asked for the phrases that begin in it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grand_pipeline.errors import SettingsError
from stages import hub
from stages.label_prompts import Span, pieces, tokens_in

_ENDS = ("<s>", "<pad>", "</s>")
_STOPS = frozenset(".!?")


@dataclass(frozen=True)
class Text:
    """Token ids with both ends, positions of the tokens of phrases, and which phrases they are."""

    ids: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Reader:
    """Makes texts of at most `room` tokens between their two ends."""

    tokenizer: Any
    room: int

    def of_phrases(self, caption: str, phrases: Sequence[Span]) -> list[Text]:
        """A text for every phrase, which is read by itself.

        A phrase that is longer than a model reads is known by its beginning; one without a token
        has no text.
        """
        found = [self._tokens(caption[start:end])[0][: self.room] for start, end in phrases]
        return [
            Text(self._closed(ids), (tuple(range(1, len(ids) + 1)),), (number,))
            for number, ids in enumerate(found)
            if ids
        ]

    def of_caption(self, caption: str, phrases: Sequence[Span]) -> list[Text]:
        """The caption, in one text if it fits, with the phrases that begin in each.

        A piece without phrases is left out. A phrase that goes on behind its piece is known by
        its beginning; one without a token of its own has no place in any.
        """
        ids, offsets = self._tokens(caption)
        inside = [tokens_in(offsets, span) for span in phrases]
        # Words are not torn apart either, if a cut can be had between them.
        whole = [
            *inside,
            *(tokens_in(offsets, word.span()) for word in re.finditer(r"\S+", caption)),
        ]
        ends = [n + 1 for n, (_, end) in enumerate(offsets) if caption[end - 1 : end] in _STOPS]
        texts = []
        for start, end in pieces(len(ids), self.room, ends, whole):
            held = [n for n, (first, last) in enumerate(inside) if start <= first < min(last, end)]
            parts = [range(inside[n][0], min(inside[n][1], end)) for n in held]
            if held:
                shifted = tuple(tuple(token - start + 1 for token in part) for part in parts)
                texts.append(Text(self._closed(ids[start:end]), shifted, tuple(held)))
        return texts

    def _tokens(self, text: str) -> tuple[list[int], list[Span]]:
        coded = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return coded["input_ids"], coded["offset_mapping"]

    def _closed(self, ids: Sequence[int]) -> tuple[int, ...]:
        return (self.tokenizer.bos_token_id, *ids, self.tokenizer.eos_token_id)


def reader(source: str, words: int, room: int, where: str) -> Reader:
    """The reader of a model that knows as many `words`, with a tokenizer of the hub or a folder.

    Raises SettingsError for a tokenizer of another vocabulary, else as `hub.preprocessor`.
    """
    tokenizer = hub.preprocessor("RobertaTokenizer", source)
    marks = tokenizer.convert_tokens_to_ids(list(_ENDS))
    if len(tokenizer) != words or marks != [0, 1, 2]:
        raise SettingsError(
            f"{where} knows {words} tokens with {', '.join(_ENDS)} as 0, 1, 2, but the tokenizer "
            f"of {source} has {len(tokenizer)}, with these as {marks}; put "
            "tokenizer.json of roberta-base beside the checkpoint"
        )
    return Reader(tokenizer, room)
