"""Level 2: phrases meet objects, floating objects are promoted, large ones too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grand_pipeline.grand_v1 import boxes
from grand_pipeline.types import Box, Instance, Phrase, PhraseBox, Size, Vote


@dataclass(frozen=True)
class Located:
    """A phrase with its head noun and the box that the grounder `source` gives to it."""

    phrase: str
    head: str
    source: str
    box: Box
    score: float | None


@dataclass(frozen=True)
class Linked:
    """Objects after the phrases, and the object ids of each phrase."""

    instances: tuple[Instance, ...]
    ids: Mapping[str, tuple[int, ...]]


def folded(phrase: str) -> str:
    """A phrase for look-up: lower case, single blanks."""
    return " ".join(phrase.lower().split())


def located(
    phrases: Sequence[Phrase],
    found: Mapping[str, Sequence[PhraseBox]],
    least: float,
    defects: Collection[str] = (),
) -> list[Located]:
    """Every distinct phrase with its head and its best box of a score above `least`.

    `found` holds the boxes of each grounder; one that gives no score is believed. D10: equal
    phrases are one while their heads are not, so that the heads of all later ones are shifted.
    """
    texts = list(dict.fromkeys(phrase.text for phrase in phrases))
    heads = {phrase.text: phrase.head for phrase in reversed(phrases)}
    if "D10" in defects:
        heads = dict(zip(texts, (phrase.head for phrase in phrases), strict=False))
    result: list[Located] = []
    for source in sorted(found):
        best: dict[str, PhraseBox] = {}
        for given in found[source]:
            known = best.get(given.text)
            if _sure(given) > least and (known is None or _sure(given) > _sure(known)):
                best[given.text] = given
        result += [
            Located(text, heads[text] or text, source, best[text].box, best[text].score)
            for text in texts
            if text in best
        ]
    return result


def _sure(box: PhraseBox) -> float:
    return 1.0 if box.score is None else box.score


def link(
    fused: Sequence[Instance],
    phrases: Iterable[Located],
    least: float,
    defects: Collection[str] = (),
) -> Linked:
    """Tie phrases to objects under their boxes, then promote what has more than one label.

    A box belongs to the object, else to the floating object, that it overlaps most with an IoU
    above `least`; otherwise it becomes a floating object without score, labelled with the phrase.
    A floating object gains the head noun as a label. D13e: the first object that overlaps enough,
    and beside it the first floating object. D24: the first new id leaves a gap of one.
    """
    pool = list(fused)
    fresh = max((i.id for i in pool), default=-1) + (2 if "D24" in defects else 1)
    ids: dict[str, list[int]] = {}
    for phrase in phrases:
        places = _under(phrase.box, pool, least, defects)
        for place in places:
            if pool[place].status == "floating":
                vote = Vote(phrase.source, phrase.head, phrase.score)
                pool[place] = replace(pool[place], votes=(*pool[place].votes, vote))
        if not places:
            name = folded(phrase.phrase)
            vote = Vote(phrase.source, name, phrase.score)
            pool.append(Instance(fresh, "floating", None, phrase.box, None, name, (vote,)))
            places, fresh = [len(pool) - 1], fresh + 1
        ids.setdefault(folded(phrase.phrase), []).extend(pool[place].id for place in places)
    unique = {phrase: tuple(dict.fromkeys(found)) for phrase, found in ids.items()}
    return Linked(tuple(_promoted(instance, defects) for instance in pool), unique)


def promote_large(
    instances: Sequence[Instance], size: Size, share: float, defects: Collection[str] = ()
) -> tuple[Instance, ...]:
    """Floating objects larger than `share` of the image and than every object become objects.

    `size` is (height, width). Of each label the one with the best score, if no object has the
    label or none with as good a score. The others keep floating. D11: the others are deleted, and
    one candidate without score (born from a caption) makes the whole step do nothing.
    """
    largest = max((boxes.area(i.box) for i in instances if i.status == "object"), default=0.0)
    limit = max(share * size[0] * size[1], largest)
    large = [i for i in instances if i.status == "floating" and boxes.area(i.box) > limit]
    scored = [i for i in large if i.score is not None]
    if "D11" in defects and len(scored) < len(large):
        return tuple(instances)
    best: dict[str, Instance] = {}
    for one in scored:
        if one.label not in best or (one.score or 0.0) > (best[one.label].score or 0.0):
            best[one.label] = one
    chosen = {one.id for one in best.values() if _beats(one, instances)}
    gone = {one.id for one in large} - chosen if "D11" in defects else set()
    return tuple(
        replace(i, status="object") if i.id in chosen else i for i in instances if i.id not in gone
    )


def _under(box: Box, pool: Sequence[Instance], least: float, defects: Collection[str]) -> list[int]:
    """Positions of the instances that a phrase's box belongs to."""
    overlap = boxes.iou([box], [instance.box for instance in pool])[0]
    found: list[int] = []
    for status in ("object", "floating"):
        usable = [n for n, one in enumerate(pool) if one.status == status and overlap[n] > least]
        if usable and "D13e" in defects:
            found.append(usable[0])
        elif usable and not found:
            found.append(usable[int(np.argmax(overlap[usable]))])
    return found


def _promoted(instance: Instance, defects: Collection[str]) -> Instance:
    """An object if it has more than one label. D13: the same word of one source counts again."""
    labels = [(vote.source, folded(vote.label)) for vote in instance.votes]
    count = len(labels) if "D13" in defects else len(set(labels))
    promoted = instance.status == "floating" and count > 1
    return replace(instance, status="object") if promoted else instance


def _beats(candidate: Instance, instances: Sequence[Instance]) -> bool:
    """Whether no object with the candidate's label has a score as good."""
    rivals = [
        i.score or 0.0
        for i in instances
        if i.status == "object" and candidate.label in {i.label, *(v.label for v in i.votes)}
    ]
    return not rivals or (candidate.score or 0.0) > max(rivals)
