"""Spatial relations between the objects of an image, from boxes, depths and labels alone.

One definition for predictions and for truth: pure numpy, no model. A relation of two things
depends on these two (and on the lower border of sky or wall) only, so a missed or invented
object elsewhere in the image changes no other relation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PREDICATES: tuple[str, ...] = ("left of", "in front of", "above", "on", "in")

CLOSE = 0.12  # two boxes with larger gaps (fraction of the image side) are not related
SHARE = 0.3  # boxes side by side or stacked share this much of the smaller extent
DEPTH_STEP = 0.04  # depth difference from which one thing is clearly nearer
ALOFT_MARGIN = 0.02  # a thing in the air ends this far (fraction of the height) above the ground

_GROUND = frozenset(("grass", "sand", "water", "road", "floor"))
_UPRIGHT = frozenset(("sky", "wall"))


@dataclass(frozen=True)
class RelationTriple:
    """`subject predicate object`; the ends are positions in the arrays given."""

    subject: int
    predicate: str
    object: int


def spatial_relations(
    boxes: npt.NDArray[np.floating],
    depths: npt.NDArray[np.floating],
    kinds: Sequence[str | None],
    labels: Sequence[str],
    image_size: tuple[int, int],
) -> tuple[RelationTriple, ...]:
    """The relations of an image.

    Args:
        boxes: (n, 4) xyxy in pixels.
        depths: (n,) relative inverse depth, larger = nearer.
        kinds: "thing", "stuff" or None (taken as a thing) of each object.
        labels: class names; only the names of stuff matter.
        image_size: (height, width).

    Definition. A thing is *aloft* when its box ends clearly above the lowest border of sky and
    wall, else it is *grounded*. Two things are *close* when the horizontal and vertical gaps of
    their boxes are both small. For every close pair, at most one of:

    * `above`: stacked (they share columns), the upper one aloft and the lower one grounded, or
      both aloft and sharing few rows;
    * `in front of`: sharing columns otherwise, and one clearly nearer (the subject);
    * `left of`: sharing rows but few columns; the subject is the left one. "right of" and
      "behind" are the same facts read backwards and are not listed twice.

    For every thing, at most one place: grounded things are `on` the ground stuff under the
    middle of their lower edge (`in` it where that is water); things aloft are `in` the sky
    behind their centre, or, where the image has no sky, `on` the wall.

    Returns triples sorted by (subject, object).
    """
    boxes = np.array(boxes, np.float64).reshape(-1, 4)
    size = (float(image_size[0]), float(image_size[1]))
    stuff = [i for i, kind in enumerate(kinds) if kind == "stuff"]
    things = [i for i, kind in enumerate(kinds) if kind != "stuff"]
    borders = [boxes[i, 3] for i in stuff if labels[i] in _UPRIGHT]
    ground_row = (max(borders) if borders else 0.0) - ALOFT_MARGIN * size[0]
    aloft = boxes[:, 3] < ground_row
    found = [
        _pair(i, j, boxes, np.asarray(depths, np.float64), aloft, size)
        for n, i in enumerate(things)
        for j in things[n + 1 :]
    ]
    boxes[:, 1::2] = np.clip(boxes[:, 1::2], 0.0, size[0])
    regions = [(s, labels[s]) for s in stuff]
    found += [_place(i, bool(aloft[i]), boxes, regions) for i in things]
    triples = [triple for triple in found if triple is not None]
    return tuple(sorted(triples, key=lambda t: (t.subject, t.object)))


def _shared(first: npt.NDArray[np.float64], second: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Gap (0 where they touch) and shared part of the smaller of two intervals (lo, hi)."""
    overlap = float(min(first[1], second[1]) - max(first[0], second[0]))
    smaller = max(1e-6, float(min(first[1] - first[0], second[1] - second[0])))
    return max(0.0, -overlap), max(0.0, overlap) / smaller


def _pair(
    i: int,
    j: int,
    boxes: npt.NDArray[np.float64],
    depths: npt.NDArray[np.float64],
    aloft: npt.NDArray[np.bool_],
    size: tuple[float, float],
) -> RelationTriple | None:
    """The relation of two things, or None."""
    gap_x, columns = _shared(boxes[i, 0::2], boxes[j, 0::2])
    gap_y, rows = _shared(boxes[i, 1::2], boxes[j, 1::2])
    if gap_x > CLOSE * size[1] or gap_y > CLOSE * size[0]:
        return None
    if columns >= SHARE:
        upper, lower = (i, j) if boxes[i, 1::2].sum() <= boxes[j, 1::2].sum() else (j, i)
        if aloft[upper] and (not aloft[lower] or rows < SHARE):
            return RelationTriple(upper, "above", lower)
        if abs(depths[i] - depths[j]) >= DEPTH_STEP:
            near, far = (i, j) if depths[i] > depths[j] else (j, i)
            return RelationTriple(near, "in front of", far)
    if rows >= SHARE and columns < 2 * SHARE:
        left, right = (i, j) if boxes[i, 0::2].sum() <= boxes[j, 0::2].sum() else (j, i)
        return RelationTriple(left, "left of", right)
    return None


def _place(
    i: int, aloft: bool, boxes: npt.NDArray[np.float64], stuff: list[tuple[int, str]]
) -> RelationTriple | None:
    """The stuff that a thing is on or in, or None."""
    x1, y1, x2, y2 = boxes[i]
    row = (y1 + y2) / 2 if aloft else y2 - 1
    behind = [s for s in stuff if _contains(boxes[s[0]], (x1 + x2) / 2, row)]
    if not aloft:
        under = [s for s in behind if s[1] in _GROUND]
        if not under:
            return None
        # Boxes of neighbouring regions overlap a little: the one that begins lower is in front.
        index, label = max(under, key=lambda s: boxes[s[0], 1])
        return RelationTriple(i, "in" if label == "water" else "on", index)
    if any(label == "sky" for _, label in stuff):
        return next((RelationTriple(i, "in", s) for s, label in behind if label == "sky"), None)
    return next((RelationTriple(i, "on", s) for s, label in behind if label == "wall"), None)


def _contains(box: npt.NDArray[np.float64], x: float, y: float) -> bool:
    return bool(box[0] <= x < box[2] and box[1] <= y < box[3])
