"""Errors planted into true descriptions of rendered scenes, and taken out again one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grand_pipeline.columns import Annotation
from grand_pipeline.evaluation.claims import claims
from grand_pipeline.evaluation.lexicon import Mention, picturebook_lexicon
from grand_pipeline.evaluation.pairing import color_of
from grand_pipeline.picturebook.lexicon import article
from grand_pipeline.statements import related
from grand_pipeline.types import Span

KINDS = ("color", "object", "relation")
RATES = {"color": 0.15, "object": 0.25, "relation": 0.2}
"""Share of the places where an error could stand that get one: mentions with a colour, sentences,
stated relations."""

_CONTRARY = {
    "left of": "right of",
    "right of": "left of",
    "in front of": "behind",
    "behind": "in front of",
    "above": "below",
    "below": "above",
}
_SENTENCE = re.compile(r"[^.]+\.\s*")


@dataclass(frozen=True)
class Error:
    """A planted error: `[start, end)` of the true text became `wrong`; `words` quotes it."""

    kind: str
    start: int
    end: int
    wrong: str
    words: str

    def is_meant(self, quote: str) -> bool:
        """Whether a fault that quotes this speaks of the error: of all its words, or of those
        among them that are wrong."""
        return self.words in quote or (self.wrong in quote and quote in self.words)


@dataclass(frozen=True)
class Faulty:
    """A true text with the phrases that it marks, and the errors that stand in it now.

    Sentences that begin at one of `gone` are left out; `mended` are errors taken out again.
    """

    true: str
    spans: tuple[Span, ...]
    errors: tuple[Error, ...]
    mended: tuple[Error, ...] = ()
    gone: frozenset[int] = frozenset()

    def text(self) -> str:
        """The text with its errors, and with references where it has marked phrases."""
        edits = [(e.start, e.end, e.wrong, 0) for e in self.errors]
        for span in self.spans:
            ids = "".join(f"[{number}]" for number in span.object_ids)
            edits += [(span.start, span.start, "<p>", -1), (span.end, span.end, f"</p>{ids}", 1)]
        for match in _SENTENCE.finditer(self.true):
            if match.start() in self.gone:
                edits = [e for e in edits if not match.start() <= e[0] < match.end()]
                edits.append((match.start(), match.end(), "", 2))
        # At one place a phrase is closed first, then opened.
        text, position = "", 0
        for start, end, new, _ in sorted(edits, key=lambda e: (e[0], -e[3])):
            text += self.true[position:start] + new
            position = end
        return (text + self.true[position:]).strip()

    def obeyed(self, quote: str) -> Faulty:
        """Without the errors that a fault quotes; without the sentence if it quotes none."""
        hit = [error for error in self.errors if error.is_meant(quote)]
        if hit:
            left = tuple(error for error in self.errors if error not in hit)
            return replace(self, errors=left, mended=(*self.mended, *hit))
        if any(error.is_meant(quote) for error in self.mended):
            return self
        for match in _SENTENCE.finditer(self.true):
            if quote in match.group():
                return replace(self, gone=self.gone | {match.start()})
        return self


def plant(
    described: tuple[str, tuple[Span, ...]], truth: Annotation, rng: np.random.Generator
) -> Faulty:
    """The description with errors at `RATES`, of which no two overlap."""
    text, spans = described
    chosen: list[Error] = []
    for error in _possible(text, truth, rng):
        rate = RATES[error.kind]
        reach = _reach(error, text)
        free = all(reach[1] <= other[0] or other[1] <= reach[0] for other in _reaches(chosen, text))
        if free and rng.random() < rate and _is_wrong(error, text, truth):
            chosen.append(error)
    return Faulty(text, spans, tuple(chosen))


def _reaches(errors: Sequence[Error], text: str) -> list[tuple[int, int]]:
    return [_reach(error, text) for error in errors]


def _reach(error: Error, text: str) -> tuple[int, int]:
    """Where the quoted words of an error stand in the true text, as far as they do."""
    if error.kind == "object":
        return error.start, error.end
    before = error.words.index(error.wrong)
    return error.start - before, error.end + len(error.words) - before - len(error.wrong)


def _possible(text: str, truth: Annotation, rng: np.random.Generator) -> Iterator[Error]:
    """Every error that could be planted, of each kind in reading order."""
    lexicon = picturebook_lexicon()
    mentions = lexicon.mentions(text)
    for first, predicate, second in related(text, mentions):
        yield from _wrong_relation(text, first, predicate, second, truth)
    for mention in mentions:
        if mention.color and mention.kind == "thing" and mention.color in text[mention.start :]:
            yield from _wrong_color(text, mention, truth, rng)
    present = {o.label for o in truth.objects}
    absent = sorted(set(lexicon.things) - present)
    for match in _SENTENCE.finditer(text):
        name, color = (str(rng.choice(words)) for words in (absent, lexicon.colors))
        words = f"{article(color)} {color} {name}"
        yield Error("object", match.end(), match.end(), f" We also see {words}. ", words)


def _wrong_color(
    text: str, mention: Mention, truth: Annotation, rng: np.random.Generator
) -> Iterator[Error]:
    lexicon = picturebook_lexicon()
    has = {color_of(o, lexicon) for o in truth.objects if o.label == mention.name}
    wrong = str(rng.choice([color for color in lexicon.colors if color not in has]))
    start = text.find(str(mention.color), mention.start, mention.end)
    if start >= 0:
        end = start + len(str(mention.color))
        yield Error(
            "color",
            start,
            end,
            wrong,
            _changed(text, mention.start, start, end, wrong, mention.end),
        )


def _wrong_relation(
    text: str, first: Mention, predicate: str, second: Mention, truth: Annotation
) -> Iterator[Error]:
    if predicate in _CONTRARY:
        start = text.index(predicate, first.end)
        end, wrong = start + len(predicate), _CONTRARY[predicate]
    else:
        others = [o.label for o in truth.objects if o.kind == "stuff" and o.label != second.name]
        start = text.find(second.name, second.start, second.end)
        if second.kind != "stuff" or not others or start < 0:
            return
        end, wrong = start + len(second.name), others[0]
    yield Error(
        "relation", start, end, wrong, _changed(text, first.start, start, end, wrong, second.end)
    )


def _changed(text: str, begin: int, start: int, end: int, wrong: str, finish: int) -> str:
    """`text[begin:finish]` with `[start, end)` replaced."""
    return text[begin:start] + wrong + text[end:finish]


def _is_wrong(error: Error, text: str, truth: Annotation) -> bool:
    """Whether the exact truth finds a false claim in the words that the error changes."""
    changed = text[: error.start] + error.wrong + text[error.end :]
    found = claims(changed, truth, picturebook_lexicon())
    kind = {"object": "class"}.get(error.kind, error.kind)
    return any(c.kind == kind and not c.true and error.words in c.text for c in found)
