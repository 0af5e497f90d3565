"""How well a tower classifies boxes, masks of things and masks of stuff, as the paper measures it.

A region is what its patches say on average, its class the category it is most like. Boxes and
masks are taken for the truth. What an object is, is the category "red ball" if there is one, its
first attribute and its label, or else the category of its label.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from grand_pipeline import geometry, labels
from grand_pipeline.types import BoolArray, FloatArray
from training.data import views
from training.data.rows import Object, Row
from training.metrics.classification import Classes, mean_accuracy
from training.models.densevlm.batches import fitted, pictures
from training.models.densevlm.export import Trained
from training.models.densevlm.regions import pool_boxes, pool_masks

AREAS = (8.0**2, 1024.0**2)
"""Smallest and largest area in pixels of boxes that count."""
MOST = 100
"""Objects of a picture that count."""
TOPS = (1, 5)
_AT_ONCE = 16


@dataclass(frozen=True)
class Guesses:
    """Cosines (N, C) of regions with all categories, and the categories (N,) they truly are."""

    likeness: FloatArray
    target: Classes


@dataclass(frozen=True)
class Seen:
    """Boxes of things, masks of things, masks of stuff; objects without a category."""

    boxes: Guesses
    things: Guesses
    stuff: Guesses
    unknown: int


def scores(trained: Trained, seen: Seen) -> dict[str, float]:
    """Fractions of 1 and counts.

    `<regions>.top1` and `.top5` of boxes, masks_t (things) and masks_s (stuff): mean accuracy over
    the classes that there are. `masks_s.called_things` and `masks_t.called_stuff`: shares of masks
    whose class is on the wrong side, what the paper calls foreground bias and its reverse.
    """
    found: dict[str, float] = {}
    parts = {"boxes": seen.boxes, "masks_t": seen.things, "masks_s": seen.stuff}
    for name, part in parts.items():
        for top in TOPS:
            found[f"{name}.top{top}"] = mean_accuracy(part.likeness, part.target, top)
        found[f"{name}.count"] = float(len(part.target))
    things = len(trained.things)
    found["masks_s.called_things"] = _share(_best(seen.stuff) < things)
    found["masks_t.called_stuff"] = _share(_best(seen.things) >= things)
    return found | {"unknown": float(seen.unknown)}


@torch.no_grad()
def look(trained: Trained, rows: Sequence[Row]) -> Seen:
    """What the tower says of all objects of rows, `MOST` of a picture."""
    number = {labels.normalize(name): at for at, name in enumerate(trained.names)}
    made: list[list[tuple[FloatArray, int]]] = [[], [], []]
    unknown = 0
    for start in range(0, len(rows), _AT_ONCE):
        part = rows[start : start + _AT_ONCE]
        maps = see(trained, part)
        for place, row in enumerate(part):
            objects = row.objects[:MOST]
            targets = [_category(number, o) for o in objects]
            unknown += targets.count(-1)
            boxes, masks = _of_row(trained, maps[place], row)
            areas = geometry.area(row.boxes)
            for n, target in enumerate(targets):
                if target < 0:
                    continue
                thing = target < len(trained.things)
                if thing and AREAS[0] <= areas[n] <= AREAS[1]:
                    made[0].append((boxes[n], target))
                if n in masks:
                    made[1 if thing else 2].append((masks[n], target))
    width = len(trained.names)
    boxes_of, things, stuff = (_stacked(some, width) for some in made)
    return Seen(boxes_of, things, stuff, unknown)


@torch.no_grad()
def see(trained: Trained, rows: Sequence[Row]) -> Tensor:
    """Unit features (n, h, w, P) of patches of rows."""
    # Opened anew, so that no row keeps its picture.
    return trained.tower.dense(pictures(rows, trained.side).to(trained.device))


def _of_row(
    trained: Trained, patches: Tensor, row: Row
) -> tuple[FloatArray, dict[int, FloatArray]]:
    """Cosines (n, C) of the boxes of a row's objects, and of those masks that show, by number."""
    shown, _ = fitted(row, trained.side)
    # Fitting never drops an object, so both orders are the same.
    objects = shown.objects[:MOST]
    masks = {n: mask for n, o in enumerate(objects) if (mask := shown.mask(o)) is not None}
    masks = {n: mask for n, mask in masks.items() if mask.any()}
    boxes = torch.from_numpy(shown.boxes[:MOST] / trained.side)[None].to(patches)
    found = _likeness(trained, pool_boxes(patches[None], boxes)[0])
    if not masks:
        return found, {}
    stack = torch.from_numpy(np.stack(list(masks.values())))[None].to(patches)
    weights = F.interpolate(stack, tuple(patches.shape[:2]), mode="area")
    like = _likeness(trained, pool_masks(patches[None], weights)[0])
    return found, dict(zip(masks, like, strict=True))


def _category(number: Mapping[str, int], thing: Object) -> int:
    """The number of an object's category, -1 for none."""
    label = number.get(labels.normalize(thing.label), -1)
    return number.get(labels.normalize(views.named(thing)), label)


def _likeness(trained: Trained, regions: Tensor) -> FloatArray:
    found = F.normalize(regions, dim=1) @ trained.texts.to(regions).T
    return np.asarray(found.float().cpu().numpy(), np.float32)


def _stacked(some: Sequence[tuple[FloatArray, int]], width: int) -> Guesses:
    likeness = np.array([like for like, _ in some], np.float32).reshape(-1, width)
    return Guesses(likeness, np.array([target for _, target in some], np.int64))


def _best(guesses: Guesses) -> Classes:
    return np.asarray(guesses.likeness.argmax(1))


def _share(which: BoolArray) -> float:
    return float(which.mean()) if len(which) else 0.0
