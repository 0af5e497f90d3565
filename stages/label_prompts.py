"""Lists of labels, and captions, as prompts of a Grounding DINO, cut to what it takes at once.

The model divides a text at the marks of BERT's vocabulary, by their numbers: its two ends, full
stop and question mark. Words between two marks see each other, other words do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from typing import Any

Span = tuple[int, int]
"""`[start, end)`: characters of a text, or tokens of a row of tokens."""

OPEN, CLOSE, STOP, QUESTION = 101, 102, 1012, 1029
MARKS = frozenset({OPEN, CLOSE, STOP, QUESTION})
"""Tokens that divide a text."""

_CACHE_LIMIT = 20_000


@dataclass(frozen=True)
class Prompt:
    """Token ids, with their two ends, and the places of the tokens of each label or phrase.

    `numbers` are those of the labels or phrases among all that were asked for.
    """

    ids: tuple[int, ...]
    parts: tuple[tuple[int, ...], ...]
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Prompter:
    """Makes prompts that fit a model, and remembers the tokens of labels.

    `room` is what fits between the two ends of a prompt, `most` the labels that share one.
    """

    tokenizer: Any
    room: int
    most: int
    _labels: dict[str, tuple[int, ...]] = field(default_factory=dict, repr=False)

    def remember(self, labels: Iterable[str]) -> None:
        """Tokenize the labels not seen before."""
        asked = list(dict.fromkeys(labels))
        if len(self._labels) + len(asked) > _CACHE_LIMIT:
            self._labels.clear()
        new = [label for label in asked if label not in self._labels]
        if new:
            found = self.tokenizer(new, add_special_tokens=False)["input_ids"]
            # A full stop inside a label ("St. Bernard") would make two of it; and one that is
            # longer than a prompt is cut, since the model has no way to read all of it.
            kept = (tuple(i for i in ids if i not in MARKS)[: self.room - 1] for ids in found)
            self._labels.update(zip(new, kept, strict=True))

    def of_labels(self, labels: Sequence[str]) -> list[Prompt]:
        """The labels, in order, each closed by a full stop."""
        self.remember(labels)
        tokens = [self._labels[label] for label in labels]
        sizes = grouped([len(ids) + 1 for ids in tokens], self.room, self.most)
        prompts = []
        for start, size in zip(accumulate(sizes, initial=0), sizes, strict=False):
            ids, parts = [OPEN], list[tuple[int, ...]]()
            for label in tokens[start : start + size]:
                parts.append(tuple(range(len(ids), len(ids) + len(label))))
                ids += [*label, STOP]
            numbers = tuple(range(start, start + size))
            prompts.append(Prompt((*ids, CLOSE), tuple(parts), numbers))
        return prompts

    def of_caption(self, caption: str, phrases: Sequence[Span]) -> list[Prompt]:
        """The caption, in one prompt if it fits, with the phrases that begin in each.

        A piece without phrases is left out. A phrase that goes on behind its piece is known by
        its beginning; one without a token of its own has no place in any.
        """
        coded = self.tokenizer(caption, add_special_tokens=False, return_offsets_mapping=True)
        ids, offsets = coded["input_ids"], coded["offset_mapping"]
        inside = [tokens_in(offsets, span) for span in phrases]
        ends = [n + 1 for n, token in enumerate(ids) if token in MARKS]
        prompts = []
        for start, end in pieces(len(ids), self.room - 1, ends, inside):
            held = [n for n, (first, last) in enumerate(inside) if start <= first < min(last, end)]
            parts = (range(inside[n][0], min(inside[n][1], end)) for n in held)
            if held:
                # Without a last full stop no word of the last sentence would see another.
                stop = () if ids[end - 1] in MARKS else (STOP,)
                shifted = tuple(
                    tuple(token - start + 1 for token in part if ids[token] not in MARKS)
                    for part in parts
                )
                prompts.append(Prompt((OPEN, *ids[start:end], *stop, CLOSE), shifted, tuple(held)))
        return prompts


def grouped(lengths: Sequence[int], room: int, most: int) -> tuple[int, ...]:
    """How many labels, in order, share each prompt.

    Args:
        lengths: tokens of each label, its separator counted.
        room: tokens that a prompt holds. A longer label gets a prompt to itself.
        most: labels that a prompt holds.
    """
    sizes: list[int] = []
    used = 0
    for length in lengths:
        if not sizes or sizes[-1] == most or used + length > room:
            sizes.append(0)
            used = 0
        sizes[-1] += 1
        used += length
    return tuple(sizes)


def pieces(
    tokens: int, room: int, ends: Sequence[int], phrases: Sequence[Span]
) -> tuple[Span, ...]:
    """A row of tokens cut into pieces of at most `room`, as few words torn apart as can be.

    A piece goes up to the last end of a sentence in reach. Where there is none it goes as far as
    it can without cutting a phrase, and through a phrase that alone is longer than a piece.

    Args:
        tokens: length of the row.
        room: tokens of a piece, at least 1.
        ends: positions after which a sentence is over.
        phrases: what should stay in one piece.
    """
    cuts = [0]
    while tokens - cuts[-1] > room:
        start, reach = cuts[-1], cuts[-1] + room
        sentences = [end for end in ends if start < end <= reach]
        whole = [
            cut
            for cut in range(start + 1, reach + 1)
            if not any(first < cut < last for first, last in phrases)
        ]
        cuts.append(max(sentences or whole or [reach]))
    bounds = [*cuts, tokens]
    return tuple(pairwise(bounds))


def tokens_in(offsets: Sequence[Span], span: Span) -> Span:
    """Tokens that share characters with the span; an empty range where none does."""
    inside = [n for n, (start, end) in enumerate(offsets) if start < span[1] and end > span[0]]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)
