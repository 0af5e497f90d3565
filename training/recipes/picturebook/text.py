"""Words, phrases and the tokenizer of the picture-book checkpoints.

The tokenizer is a byte-level CLIP tokenizer whose merges make every word of the world one
token; any other text falls back to pieces, down to single bytes, so nothing is unknown.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from tokenizers import pre_tokenizers

from grand_pipeline.picturebook.vocabulary import (
    COLORS,
    HELD_OUT,
    HYPERNYMS,
    SCENES,
    STUFF,
    SYNONYMS,
    THINGS,
)

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

MAX_LENGTH = 16
PAD, BOS, EOS = "<|pad|>", "<|startoftext|>", "<|endoftext|>"

NAMES: tuple[str, ...] = (*THINGS, *STUFF)
COLOR_NAMES: tuple[str, ...] = tuple(COLORS)

_FUNCTION_WORDS = (
    "a an the of in on at with and or two three four several some many group picture photo image "
    "scene drawing there is are it its this that these those thing things object objects item "
    "left right near behind above below under over next to front beside between by from "
    "standing flying floating sitting hanging parked lying background foreground outdoor indoor "
    "small large big little one no not what where who color colored colorful day sunny"
)


def words() -> tuple[str, ...]:
    """Every lower-case word of the world, sorted."""
    texts: list[str] = [*NAMES, *COLORS, *HYPERNYMS, *SYNONYMS, *_FUNCTION_WORDS.split()]
    texts += [thing.plural for thing in THINGS.values()]
    texts += [plural(hypernym) for hypernym in HYPERNYMS]
    for kind in SCENES.values():
        texts += [kind.name, kind.category, kind.fine_category]
    return tuple(sorted({w for text in texts for w in text.lower().replace("-", " ").split()}))


def plural(noun: str) -> str:
    """Plural of a class name, or of a regular noun."""
    if noun in THINGS:
        return THINGS[noun].plural
    return noun if noun.endswith(("s", "furniture", "grass")) else f"{noun}s"


def _merge_all(vocabulary: tuple[str, ...]) -> tuple[list[tuple[str, str]], list[str]]:
    """Byte-pair merges, most frequent pair first, until every word is one symbol."""
    split = {w: [*w[:-1], f"{w[-1]}</w>"] for w in vocabulary}
    merges: list[tuple[str, str]] = []
    made: list[str] = []
    while True:
        pairs = Counter(p for s in split.values() for p in pairwise(s))
        if not pairs:
            return merges, made
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        if best[0] + best[1] not in made:
            made.append(best[0] + best[1])
        for word, symbols in split.items():
            split[word] = _merge(symbols, best)


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged


@cache
def build_tokenizer() -> CLIPTokenizer:
    """The tokenizer, the same on every machine: pad 0, start 1, end = the highest id."""
    from transformers import CLIPTokenizer

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges, made = _merge_all(words())
    symbols = [PAD, BOS, *letters, *(f"{x}</w>" for x in letters), *made, EOS]
    vocabulary = {symbol: index for index, symbol in enumerate(dict.fromkeys(symbols))}
    return CLIPTokenizer(
        vocab=vocabulary,
        merges=merges,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        unk_token=EOS,
        model_max_length=MAX_LENGTH,
    )


@dataclass(frozen=True)
class Phrase:
    """A query and what it names: classes (one flag per NAMES) and a colour (-1 = any)."""

    text: str
    classes: tuple[bool, ...]
    color: int = -1


def _members(name: str) -> tuple[bool, ...]:
    """Which of NAMES a noun names: a class, a synonym, a hypernym, or any thing."""
    if name in ("object", "thing", "item"):
        return tuple(n in THINGS for n in NAMES)
    if name in HYPERNYMS:
        return tuple(n in THINGS and THINGS[n].hypernym == name for n in NAMES)
    name = SYNONYMS.get(name, name)
    return tuple(n == name for n in NAMES)


@cache
def phrase(noun: str, color: str | None, form: int) -> Phrase:
    """Query for a noun, with a colour or none; `form` 0..3 picks article and number."""
    stem = plural(noun) if form == 3 else noun
    text = stem if color is None else f"{color} {stem}"
    if form == 1:
        text = f"{'an' if text[0] in 'aeiou' else 'a'} {text}"
    if form == 2:
        text = f"the {text}"
    return Phrase(text, _members(noun), -1 if color is None else COLOR_NAMES.index(color))


@cache
def _synonyms_of(name: str) -> tuple[str, ...]:
    return tuple(s for s, n in SYNONYMS.items() if n == name)


def _form(rng: np.random.Generator, countable: bool) -> int:
    return int(rng.choice(4, p=(0.55, 0.2, 0.13, 0.12) if countable else (0.7, 0.0, 0.3, 0.0)))


def phrases_for(name: str, color: str | None, rng: np.random.Generator) -> list[Phrase]:
    """Two queries that an object answers: one of its class, one wider or with its colour."""
    countable = name in THINGS
    noun = name
    others = _synonyms_of(name)
    if others and rng.random() < 0.2:
        noun = others[int(rng.integers(len(others)))]
    found = [phrase(noun, None, _form(rng, countable))]
    if not countable:
        return found
    pick = rng.random()
    hypernym = THINGS[name].hypernym
    if pick < 0.5 and color is not None:
        found.append(phrase(noun, color, _form(rng, True)))
    elif pick < 0.7:
        found.append(phrase(hypernym, None, _form(rng, True)))
    elif pick < 0.8 and color is not None:
        found.append(phrase(hypernym, color, _form(rng, True)))
    elif color is not None:
        wide = ("object", "thing")[int(rng.integers(2))]
        found.append(phrase(wide, color, _form(rng, True)))
    return found


def random_phrase(rng: np.random.Generator) -> Phrase:
    """A query that most pictures do not answer; never a held-out pair of colour and class."""
    name = NAMES[int(rng.integers(len(NAMES)))]
    if name in STUFF or rng.random() < 0.4:
        return phrase(name, None, _form(rng, name in THINGS))
    color = COLOR_NAMES[int(rng.integers(len(COLOR_NAMES)))]
    if (name, color) in HELD_OUT:
        return phrase(name, None, 0)
    return phrase(name, color, _form(rng, True))


def matches(
    phrases: list[Phrase], classes: npt.NDArray[np.int64], colors: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Which objects answer which phrase.

    Args:
        phrases: U queries.
        classes: (..., O) index into NAMES; -1 pads.
        colors: (..., O) index into COLOR_NAMES; -1 where there is none.

    Returns:
        (..., O, U) flags.
    """
    members = np.array([p.classes for p in phrases], bool).T  # (names, U)
    wanted = np.array([p.color for p in phrases])
    by_class = members[classes] & (classes >= 0)[..., None]
    return np.asarray(by_class & ((wanted < 0) | (wanted == colors[..., None])), bool)
