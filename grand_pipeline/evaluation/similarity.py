"""A text similarity without any model: cosine of TF-IDF weighted character n-grams."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

_SIZES = (2, 3, 4)


@dataclass(frozen=True, eq=False)
class TextSimilarity:
    """Similarity of two phrases in [0, 1]; n-grams that many phrases share weigh less.

    `weights` are the inverse document frequencies of the n-grams known from `fit`; unknown ones
    weigh `unknown`.
    """

    weights: Mapping[str, float]
    unknown: float

    @staticmethod
    def fit(phrases: Iterable[str]) -> TextSimilarity:
        """Weights from distinct phrases: ln((1 + phrases) / (1 + phrases with it)) + 1."""
        distinct = sorted({phrase.lower() for phrase in phrases})
        seen = Counter(gram for phrase in distinct for gram in set(_grams(phrase)))
        total = len(distinct)
        weights = {gram: math.log((1 + total) / (1 + n)) + 1 for gram, n in seen.items()}
        return TextSimilarity(weights, math.log(1 + total) + 1)

    def __call__(self, first: str, second: str) -> float:
        """Cosine of the two phrases' weighted n-gram counts."""
        a, b = self._vector(first), self._vector(second)
        dot = sum(value * b[gram] for gram, value in a.items() if gram in b)
        norms = math.hypot(*a.values()) * math.hypot(*b.values())
        return dot / norms if norms else 0.0

    def _vector(self, phrase: str) -> dict[str, float]:
        counts = Counter(_grams(phrase.lower()))
        return {gram: n * self.weights.get(gram, self.unknown) for gram, n in counts.items()}


@lru_cache(maxsize=4096)
def _grams(phrase: str) -> tuple[str, ...]:
    """Character n-grams inside words, with the words' borders marked by a space."""
    words = [f" {word} " for word in phrase.split()]
    return tuple(
        word[i : i + size] for word in words for size in _SIZES for i in range(len(word) - size + 1)
    )
