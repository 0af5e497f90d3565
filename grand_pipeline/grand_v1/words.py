"""GranD's two ways to take phrases out of a parsed text, and how it compares phrases."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from grand_pipeline import spans

Lemmas = Callable[[str], Sequence[str]]
"""Text -> lemmas of its words that are neither stop words nor punctuation."""


@dataclass(frozen=True)
class Word:
    """A word of a parsed text: `head` is the position of the word it depends on (its own for the
    root), `start` its character offset, `pos` its universal part of speech."""

    text: str
    pos: str
    head: int
    start: int

    @property
    def end(self) -> int:
        """Offset behind the last character."""
        return self.start + len(self.text)


@dataclass(frozen=True)
class Found:
    """A phrase of a text with its head noun: `text[start:end]`."""

    noun: str
    start: int
    end: int


def phrases(words: Sequence[Word], text: str) -> list[Found]:
    """Phrases of a text by the first rule: what depends on a noun, up to the first comma behind
    the noun, unless it is a mere article and noun or part of a phrase found before."""
    collected = ""
    found: list[Found] = []
    for place, word in enumerate(words):
        if word.pos != "NOUN":
            continue
        below = subtree(words, place)
        short = len(below) == 2 and words[below[0]].pos in ("DET", "PRON")
        if len(below) < 2 or (short and words[below[1]].pos == "NOUN"):
            continue
        start = words[below[0]].start
        end = start + _with_noun(text[start : words[below[-1]].end], word.text)
        phrase = text[start:end]
        if phrase != word.text and phrase not in collected:
            collected += f" {phrase}"
            found.append(Found(word.text, start, end))
    return found


def plain_phrases(words: Sequence[Word], text: str) -> list[Found]:
    """Phrases of a text by the second rule: every noun that something depends on."""
    found: list[Found] = []
    for place, word in enumerate(words):
        below = subtree(words, place) if word.pos == "NOUN" else []
        if len(below) > 1:
            start, end = words[below[0]].start, words[below[-1]].end
            found.append(Found(word.text, start, end - text[start:end].endswith(".")))
    return found


def subtree(words: Sequence[Word], place: int) -> list[int]:
    """Positions of a word and all that depends on it, in order."""
    return [n for n in range(len(words)) if place in _chain(words, n)]


def similarity(first: str, second: str, lemmas: Lemmas, defects: Collection[str] = ()) -> float:
    """How much two phrases (lower case) say the same, in [0, 1].

    1 if one stands in the other; otherwise the share of the shorter one's lemmas that stand in the
    longer. A phrase without any lemma is like nothing. D7: it, like any part of a word, stands in
    everything that holds its letters.
    """
    shorter, longer = (first, second) if len(first) < len(second) else (second, first)
    if "D7" in defects:
        if shorter in longer:
            return 1.0
    elif lemmas(shorter) and spans.find_all(longer, shorter):
        return 1.0
    wanted = lemmas(shorter)
    return sum(lemma in longer for lemma in wanted) / len(wanted) if wanted else 0.0


def _chain(words: Sequence[Word], place: int) -> Iterator[int]:
    """A word and those it depends on, up to the root."""
    yield place
    for _ in words:
        above = words[place].head
        if above == place:
            return
        yield above
        place = above


def _with_noun(phrase: str, noun: str) -> int:
    """Length of a phrase up to the comma behind the first part that holds the noun."""
    length = 0
    for part in phrase.split(","):
        length += len(part)
        if noun in part:
            return len(phrase[:length].rstrip())
        length += 1
    return len(phrase)
