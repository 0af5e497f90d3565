"""Boxes with texts meet objects: what describes a place confirms it without naming it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.labels import Lexicon
from grand_pipeline.types import Attribute, Detection, Instance, Size

Told = Mapping[str, Sequence[Detection]]
"""Describer -> its boxes; the label of each is a text."""


@dataclass(frozen=True)
class Rule:
    """From which IoU on a text speaks of an object, and how many sources make an object."""

    least: float
    min_votes: int
    lexicon: Lexicon


@dataclass(frozen=True)
class Described:
    """Objects, voted ones first, with ids by their place, and texts about them by describer."""

    instances: tuple[Instance, ...]
    attributes: Mapping[str, tuple[Attribute, ...]]


def usable(found: Sequence[Detection], threshold: float, size: Size) -> list[Detection]:
    """Texts of at least `threshold` with a box inside an image of `size` (height, width), best
    first."""
    boxes = geometry.clip(geometry.as_boxes([one.box for one in found]), size)
    whole: list[bool] = np.all(boxes[:, 2:] > boxes[:, :2], axis=1).tolist()
    kept = [
        replace(one, box=geometry.as_box(box))
        for one, box, inside in zip(found, boxes, whole, strict=True)
        if inside and math.isfinite(one.score) and one.score >= threshold and one.label.strip()
    ]
    return sorted(kept, key=lambda one: (-one.score, one.label, one.box))


def confirm(fused: Sequence[Instance], told: Told, rule: Rule) -> Described:
    """Floating objects become objects where describers confirm them; texts go to objects.

    A text belongs to the object that its box fits best, the first of equal ones, or to none. Its
    describer counts beside the sources that gave the object its label.
    """
    meant = {source: list(_meant(fused, found, rule.least)) for source, found in told.items()}
    witnesses: dict[int, set[str]] = {}
    for source, pairs in meant.items():
        for place, _ in pairs:
            witnesses.setdefault(place, set()).add(source)

    def rank(place: int) -> int:
        if fused[place].status == "object":
            return 0
        confirmed = len(witnesses.get(place, ())) + _voters(fused[place], rule.lexicon)
        return 1 if place in witnesses and confirmed >= rule.min_votes else 2

    ranks = [rank(place) for place in range(len(fused))]
    order = sorted(range(len(fused)), key=ranks.__getitem__)
    ids = {place: number for number, place in enumerate(order)}
    instances = tuple(
        replace(fused[p], id=ids[p], status="object" if ranks[p] < 2 else "floating") for p in order
    )
    attributes = {
        source: tuple(dict.fromkeys(Attribute(ids[place], source, text) for place, text in pairs))
        for source, pairs in meant.items()
    }
    return Described(instances, attributes)


def _meant(
    fused: Sequence[Instance], found: Sequence[Detection], least: float
) -> Iterator[tuple[int, str]]:
    """(place of the object, text) of every text that speaks of one."""
    if not fused or not found:
        return
    overlap = geometry.iou(
        geometry.as_boxes([one.box for one in found]),
        geometry.as_boxes([instance.box for instance in fused]),
    )
    for one, row, best in zip(found, overlap, overlap.argmax(axis=1).tolist(), strict=True):
        if row[best] >= least:
            yield best, one.label


def _voters(instance: Instance, lexicon: Lexicon) -> int:
    """Sources whose word for the object is its label or a kind of it."""
    return len({v.source for v in instance.votes if lexicon.agree(v.label, instance.label)})
