"""What a text claims about a scene, checked against the true objects.

Claims are read with the simple parser of `lexicon`:

* class: every named thing or hypernym is in the image;
* colour: "a red dog", "the dog is red": a dog of that colour is in the image;
* count: "two red dogs": exactly two of them; "dogs", "several dogs": at least two;
* relation: between two mentions that stand beside each other in one sentence, with only a known
  predicate (and small words) between them: "a dog in front of a red car". It is true if some pair
  of objects that fit the two mentions is so related in the truth, or, for "left of", "in front
  of", "above" and their inverses, if box centres or depths say so (the truth lists such relations
  only between close objects, the sentence may be about others). "Next to" and "beside" are true
  of objects with any listed relation or a small gap between their boxes.

Stuff ("on the grass") counts in relations; its own class claims are kept apart as "stuff".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from grand_pipeline.columns import Annotation, PublishedObject
from grand_pipeline.evaluation.captions import referents
from grand_pipeline.evaluation.lexicon import Lexicon, Mention
from grand_pipeline.evaluation.relations import Triple, normal, triples
from grand_pipeline.relations import CLOSE

_BESIDE = ("next to", "beside")
_PREDICATES = (
    *("to the left of", "to the right of", "on top of", "in front of", "left of", "right of"),
    *("behind", "above", "below", "beneath", "under", "over", "atop", "inside", "in", "on"),
    *_BESIDE,
)
_FILLERS = (
    *("that", "which", "who", "is", "are", "just", "directly", "right", "there", "flies", "lying"),
    *("sitting", "parked", "placed", "seen", "(?:stand|sit|fly|swim|float|lie|grow|hang|wait)"),
    *("(?:stand|sit|float|grow|hang|wait|rest|lie)s", "(?:stand|fly|float|grow|hang|wait|rest)ing"),
    *("swims", "swimming"),
)
_BETWEEN = re.compile(
    rf"^[\s,]*(?:(?:{'|'.join(_FILLERS)})\s+)*({'|'.join(_PREDICATES)})\s*$", re.IGNORECASE
)


@dataclass(frozen=True)
class Claim:
    """One checked claim: `kind` is "class", "color", "count", "relation" or "stuff"."""

    kind: str
    text: str
    true: bool


def claims(text: str, truth: Annotation, lexicon: Lexicon) -> tuple[Claim, ...]:
    """All claims of a text, in reading order by kind."""
    mentions = lexicon.mentions(text)
    found = [c for m in mentions for c in _of_mention(text, m, truth, lexicon)]
    return (*found, *_relations(text, mentions, truth, lexicon))


def _of_mention(
    text: str, mention: Mention, truth: Annotation, lexicon: Lexicon
) -> Iterator[Claim]:
    said = text[mention.start : mention.end]
    plain = Mention(0, 0, mention.name, mention.kind, None, None, False)
    anything = referents(plain, truth.objects, lexicon)
    if mention.kind == "stuff":
        yield Claim("stuff", said, bool(anything))
        return
    yield Claim("class", said, bool(anything))
    fitting = referents(mention, truth.objects, lexicon)
    if mention.color is not None:
        yield Claim("color", said, bool(fitting))
    if mention.number is not None:
        yield Claim("count", said, len(fitting) == mention.number)
    elif mention.plural:
        yield Claim("count", said, len(fitting) >= 2)


def _relations(
    text: str, mentions: tuple[Mention, ...], truth: Annotation, lexicon: Lexicon
) -> Iterator[Claim]:
    listed = triples(truth)
    thing: Mention | None = None
    related = False
    for before, second in pairwise(mentions):
        between = text[before.end : second.start]
        # "A dog on the grass in front of a car": the dog is in front, not the grass. "A dog left of
        # a cat, in front of a car": the dog again, which the comma goes back to.
        back = related and between.lstrip().startswith(",")
        thing = before if before.kind != "stuff" and not back else thing
        words = _BETWEEN.match(between)
        related = words is not None
        if words is None or thing is None or "." in text[thing.end : second.start]:
            continue
        first = thing
        subjects = referents(first, truth.objects, lexicon)
        targets = referents(second, truth.objects, lexicon)
        ends = [(s, t) for s in subjects for t in targets if s.id != t.id]
        predicate = words.group(1).lower()
        true = any(
            normal(s.id, predicate, t.id) in listed
            or (_beside(s, t, truth, listed) if predicate in _BESIDE else _holds(s, predicate, t))
            for s, t in ends
        )
        yield Claim("relation", text[first.start : second.end], true)


def _beside(
    first: PublishedObject, second: PublishedObject, truth: Annotation, listed: set[Triple]
) -> bool:
    """Whether two objects are neighbours."""
    if any({first.id, second.id} == {s, t} for s, _, t in listed):
        return True
    a, b = first.box, second.box
    gap_x = max(a[0], b[0]) - min(a[2], b[2])
    gap_y = max(a[1], b[1]) - min(a[3], b[3])
    return gap_x <= CLOSE * (truth.width or 0) and gap_y <= CLOSE * (truth.height or 0)


def _holds(subject: PublishedObject, predicate: str, target: PublishedObject) -> bool:
    """Whether centres or depths say so, for the predicates that mean an order."""
    first, plain, _ = normal(subject.id, predicate, target.id)
    a, b = (subject, target) if first == subject.id else (target, subject)
    if "stuff" in (a.kind, b.kind):
        return False
    if plain == "left of":
        return a.box[0] + a.box[2] < b.box[0] + b.box[2]
    if plain == "above":
        return a.box[1] + a.box[3] < b.box[1] + b.box[3]
    if plain == "in front of" and a.depth is not None and b.depth is not None:
        return a.depth > b.depth
    return False
