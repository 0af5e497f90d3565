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

from collections.abc import Iterator
from dataclasses import dataclass

from grand_pipeline.columns import Annotation, PublishedObject
from grand_pipeline.evaluation.captions import referents
from grand_pipeline.evaluation.lexicon import Lexicon, Mention
from grand_pipeline.evaluation.relations import Triple, normal, triples
from grand_pipeline.statements import BESIDE, in_order, near, related


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
    for first, predicate, second in related(text, mentions):
        subjects = referents(first, truth.objects, lexicon)
        targets = referents(second, truth.objects, lexicon)
        ends = [(s, t) for s in subjects for t in targets if s.id != t.id]
        true = any(
            normal(s.id, predicate, t.id) in listed
            or (_beside(s, t, truth, listed) if predicate in BESIDE else _holds(s, predicate, t))
            for s, t in ends
        )
        yield Claim("relation", text[first.start : second.end], true)


def _beside(
    first: PublishedObject, second: PublishedObject, truth: Annotation, listed: set[Triple]
) -> bool:
    """Whether two objects are neighbours."""
    if any({first.id, second.id} == {s, t} for s, _, t in listed):
        return True
    return near(first.box, second.box, (truth.height or 0, truth.width or 0))


def _holds(subject: PublishedObject, predicate: str, target: PublishedObject) -> bool:
    """Whether centres or depths say so, for the predicates that mean an order."""
    if "stuff" in (subject.kind, target.kind):
        return False
    places = (subject.box, subject.depth), (target.box, target.depth)
    return bool(in_order(predicate, *places))
