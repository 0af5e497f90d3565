"""Which mask made earlier belongs to which object."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from grand_pipeline.grand_v1 import boxes
from grand_pipeline.types import Box


def match(
    objects: Sequence[Box], masks: Sequence[Box], least: float, defects: Collection[str] = ()
) -> dict[int, int]:
    """Object -> mask, where the IoU of their boxes is at least `least`.

    Each object gets the mask that fits best; the best fits choose first and a mask serves one
    object. D9: one mask may serve many. A Dice score of 0.75, which GranD asks for too, is implied
    (D12).
    """
    if not objects or not masks:
        return {}
    overlap = boxes.iou(objects, masks)
    if "D9" in defects:
        best = overlap.argmax(axis=1).tolist()
        return {row: mask for row, mask in enumerate(best) if overlap[row, mask] >= least}
    pairs = np.argwhere(overlap >= least)
    order = np.argsort(-overlap[pairs[:, 0], pairs[:, 1]], kind="stable")
    found: dict[int, int] = {}
    taken: set[int] = set()
    for row, mask in pairs[order].tolist():
        if row not in found and mask not in taken:
            found[row] = mask
            taken.add(mask)
    return found


def prompt(box: Box, defects: Collection[str] = ()) -> Box:
    """The box put to the segmenter. D2: its far corner is taken for a width and a height."""
    x1, y1, x2, y2 = box
    return (x1, y1, x1 + x2, y1 + y2) if "D2" in defects else box
