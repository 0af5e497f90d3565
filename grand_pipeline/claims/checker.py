"""What a text claims about an image, checked against its objects and their relations.

A claim holds, fails, or nothing is known about it. It fails only where the objects contradict it,
because a true sentence that is taken back is worse than a doubtful one that stays:

* reference: an object that a marked phrase names does not exist or is something else;
* class: no object is such a thing, and neither attributes nor captions speak of one;
* color: the objects meant have known colours, and none is this one;
* count: more are counted than there are, or, after "there are", another number; a marked phrase
  counts other than it refers to;
* relation: centres or depths say the opposite of "left of", "above", "in front of" and their
  inverses, unless the graph lists the relation; neighbours are far apart; something is "on" or
  "in" one place and known to be in another, or on a thing that it does not touch.

Only words of the vocabulary are read: everyday words of `english`, the objects' own labels, and
what the caller adds. Actions, materials and feelings are not checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from grand_pipeline import labels, spans
from grand_pipeline.claims.order import instead, stand
from grand_pipeline.claims.values import Claim, Known, Thing
from grand_pipeline.english import COMPOUNDS, HYPERNYMS, PEOPLE, SYNONYMS
from grand_pipeline.lexicon import Lexicon, Mention
from grand_pipeline.statements import related
from grand_pipeline.structured import read
from grand_pipeline.types import Span

COLORS: tuple[str, ...] = (
    *("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white"),
    "gray",
)
"""Colours that are checked. Finer words name what another eye calls otherwise."""

_REGIONS = ("sky", "grass", "sand", "water", "road", "floor", "wall", "ground", "snow", "street")
_EVERYDAY: frozenset[str] = frozenset(
    (
        *SYNONYMS,
        *SYNONYMS.values(),
        *(w for pair in HYPERNYMS for w in pair),
        *PEOPLE,
        *COMPOUNDS,
        *_REGIONS,
    )
)
_NEGATED = re.compile(r"\b(?:no|not|without|never|nor)(?:\s+(?:a|an|any|the))?\s*$", re.IGNORECASE)
_EXISTS = re.compile(r"\bthere\s+(?:are|is)\s*$", re.IGNORECASE)


@dataclass(frozen=True)
class _Said:
    """A mention with the objects that its marked phrase names; none for unmarked ones."""

    mention: Mention
    ids: tuple[int, ...]


@dataclass(frozen=True)
class Checker:
    """Reads claims with `lexicon` and compares what they name with labels by `same`."""

    lexicon: Lexicon
    same: labels.Lexicon

    def claims(self, answer: str, known: Known) -> tuple[Claim, ...]:
        """All claims of an answer with or without references, in reading order by kind."""
        text, marked = spans.joined([(p.text, p.ids or ()) for p in read(answer).pieces])
        said = self._said(text, marked, known)
        found = [c for one in said for c in self._of_mention(text, one, known)]
        return (*found, *self._relations(text, said, known))

    def _said(self, text: str, marked: Sequence[Span], known: Known) -> list[_Said]:
        """The mentions of a text, with the objects that marked phrases give to their heads.

        Of "<p>a dog and a car</p>[0][1]", each head has the objects that it fits, and the last
        one those that fit none.
        """
        mentions = _nouns(text, self.lexicon.mentions(text))
        table = {thing.id: thing for thing in known.things}
        ids: dict[Mention, tuple[int, ...]] = {}
        for span in marked:
            head = self.lexicon.head(text[span.start : span.end])
            if head is None:
                continue
            end = span.start + head.end
            heads = [m for m in mentions if span.start < m.end <= end]
            left = list(span.object_ids)
            for mention in heads[:-1]:
                ids[mention] = tuple(i for i in left if i in table and self._is(table[i], mention))
                left = [i for i in left if i not in ids[mention]]
            ids |= {mention: tuple(left) for mention in heads[-1:]}
        return [_Said(mention, ids.get(mention, ())) for mention in mentions]

    def _of_mention(self, text: str, said: _Said, known: Known) -> Iterator[Claim]:
        mention = said.mention
        words = text[mention.start : mention.end]
        table = {thing.id: thing for thing in known.things}
        wrong = [i for i in said.ids if i not in table or not self._is(table[i], mention)]
        if said.ids:
            marked = words + "".join(f"[{number}]" for number in said.ids)
            reason = "; ".join(_misnamed(i, table, mention) for i in wrong)
            yield Claim("reference", marked, not wrong, reason)
        meant = self._meant(said, known)
        if not said.ids:
            yield self._class(words, mention, meant, known)
        if meant and mention.color is not None:
            yield self._color(words, said, meant)
        if meant and mention.number is not None:
            yield self._count(text, words, said, meant)

    def _is(self, thing: Thing, mention: Mention) -> bool:
        return self.same.alike(self.same.key(thing.label), mention.name)

    def _meant(self, said: _Said, known: Known) -> list[Thing]:
        """The objects that a mention can mean, whatever colour it gives them."""
        among = [t for t in known.things if not said.ids or t.id in said.ids]
        return [thing for thing in among if self._is(thing, said.mention)]

    def _class(self, words: str, mention: Mention, meant: list[Thing], known: Known) -> Claim:
        if meant:
            return Claim("class", words, True)
        if mention.kind == "stuff" or self._spoken_of(mention, known):
            return Claim("class", words, None)
        return Claim("class", words, False, f"there is no {mention.name} among the objects")

    def _spoken_of(self, mention: Mention, known: Known) -> bool:
        texts = (*known.said, *(text for thing in known.things for text in thing.attributes))
        names = {other.name for text in texts for other in self.lexicon.mentions(text)}
        return any(self.same.alike(name, mention.name) for name in names)

    def _color(self, words: str, said: _Said, meant: list[Thing]) -> Claim:
        colors = {thing: self._colors(thing) for thing in meant}
        fits = [said.mention.color in found for found in colors.values()]
        if all(fits) if said.ids else any(fits):
            return Claim("color", words, True)
        if not said.ids and not all(colors.values()):
            return Claim("color", words, None)
        wrong = [t for t, fit in zip(meant, fits, strict=True) if not fit and colors[t]]
        if not wrong:
            return Claim("color", words, None)
        reason = "; ".join(f"{t.name} is {' and '.join(colors[t])}" for t in wrong)
        return Claim("color", words, False, reason)

    def _colors(self, thing: Thing) -> tuple[str, ...]:
        """The colour words among an object's attributes, each once."""
        words = (w for text in thing.attributes for w in self.lexicon.colors_in(text))
        return tuple(dict.fromkeys(words))

    def _count(self, text: str, words: str, said: _Said, meant: list[Thing]) -> Claim:
        mention, number = said.mention, said.mention.number or 0
        if mention.color is not None:
            meant = [t for t in meant if mention.color in (self._colors(t) or (mention.color,))]
        if said.ids:
            reason = f"the phrase names {len(said.ids)} objects"
            return Claim("count", words, len(said.ids) == number, reason)
        exact = bool(_EXISTS.search(text[: mention.start]))
        if number > len(meant) or (exact and number != len(meant)):
            listed = ", ".join(thing.name for thing in meant) or "none"
            return Claim("count", words, False, f"the objects are {listed}")
        return Claim("count", words, True if number == len(meant) else None)

    def _relations(self, text: str, said: list[_Said], known: Known) -> Iterator[Claim]:
        by_mention = {one.mention: one for one in said}
        for first, predicate, second in related(text, [one.mention for one in said]):
            ends = [
                [t for t in self._meant(by_mention[m], known) if self._may_be(t, m)]
                for m in (first, second)
            ]
            pairs = [(s, t) for s in ends[0] for t in ends[1] if s.id != t.id]
            if not pairs:
                continue
            verdicts = [stand(s, predicate, t, known) for s, t in pairs]
            words = text[first.start : second.end]
            if True in verdicts:
                yield Claim("relation", words, True)
            elif None in verdicts:
                yield Claim("relation", words, None)
            else:
                yield Claim("relation", words, False, instead(*pairs[0], predicate, known))

    def _may_be(self, thing: Thing, mention: Mention) -> bool:
        colors = self._colors(thing)
        return mention.color is None or not colors or mention.color in colors


def _nouns(text: str, mentions: Sequence[Mention]) -> list[Mention]:
    """The mentions that speak of things: not those that only modify the next noun ("table lamp")
    and none that the text denies ("no dog")."""
    kept: list[Mention] = []
    for mention in mentions:
        if kept and (
            kept[-1].end > mention.start or not text[kept[-1].end : mention.start].strip()
        ):
            before = kept.pop()
            mention = replace(
                mention,
                start=min(before.start, mention.start),
                color=mention.color or before.color,
                number=mention.number or before.number,
            )
        kept.append(mention)
    return [m for m in kept if not _NEGATED.search(text[: m.start])]


def _misnamed(number: int, table: dict[int, Thing], mention: Mention) -> str:
    if number not in table:
        return f"there is no object [{number}]"
    return f"{table[number].name} is no {mention.name}"


@lru_cache(maxsize=256)
def checker(names: frozenset[str], stuff: frozenset[str], same: labels.Lexicon) -> Checker:
    """A checker whose words are everyday ones, `names` and, for regions, `stuff`.

    Every word stands for what `same` takes it for. A word for a colour names nothing ("orange")
    unless it is among the names.
    """
    known = {labels.normalize(name) for name in (*names, *stuff)}
    words = {*_EVERYDAY, *(word for pair in (*same.synonyms, *same.hypernyms) for word in pair)}
    regions = {same.key(name) for name in (*_REGIONS, *stuff)}
    table: dict[str, list[str]] = {}
    for word in sorted({word for word in words if word not in COLORS} | known - {""}):
        table.setdefault(same.key(word), []).append(word)
    lexicon = Lexicon(
        things={key: tuple(found) for key, found in table.items() if key not in regions},
        stuff={key: tuple(found) for key, found in table.items() if key in regions},
        plurals={word: labels.plural(word) for found in table.values() for word in found},
        hypernyms={},
        colors=COLORS,
        held_out=frozenset(),
    )
    return Checker(lexicon, same)
