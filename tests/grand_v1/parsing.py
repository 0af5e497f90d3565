"""A parser by hand: articles and adjectives hang on the next noun, "in NOUN" on the one before."""

from __future__ import annotations

import re

from grand_pipeline.grand_v1.words import Word

SMALL = {"a": "DET", "the": "DET", "it": "PRON", "red": "ADJ", "big": "ADJ", "brown": "ADJ"} | {
    "in": "ADP", "of": "ADP", ",": "PUNCT", ".": "PUNCT", "runs": "VERB", "stands": "VERB",
    "and": "CCONJ",
}  # fmt: skip
STOPS = {"a", "the", "in", "of", "and", "it"}


def parse(text: str) -> list[Word]:
    found = list(re.finditer(r"\w+|[^\w\s]", text))
    pos = [SMALL.get(match.group().lower(), "NOUN") for match in found]
    nouns = [n for n, tag in enumerate(pos) if tag == "NOUN"]
    words: list[Word] = []
    for n, match in enumerate(found):
        after = next((m for m in nouns if m > n), n)
        before = next((m for m in reversed(nouns) if m < n), n)
        head = n
        if pos[n] in ("DET", "ADJ"):
            head = after
        elif pos[n] == "ADP":
            head = before
        elif pos[n] == "NOUN" and "ADP" in pos[before:n]:
            head = before + pos[before:n].index("ADP")
        words.append(Word(match.group(), pos[n], head, match.start()))
    return words


def lemmas(text: str) -> list[str]:
    return [w for w in re.findall(r"\w+", text.lower()) if w not in STOPS]
