"""Boxes and masks in numpy. Boxes are (n, 4) float32 `xyxy` half-open pixels throughout."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from grand_pipeline.types import BoolArray, Box, FloatArray, Instance, ObjectMask, Rle, Size

Spans = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
"""Pixels of an image as pieces of its columns, from left to right: the number of the column and the
first row of each, and the row after its last, (n,) each; none of them empty."""


def as_boxes(boxes: Sequence[Box] | NDArray[np.floating]) -> FloatArray:
    """Any sequence of boxes as a (n, 4) float32 array; (0, 4) when empty."""
    if isinstance(boxes, np.ndarray):
        return np.asarray(boxes, np.float32).reshape(-1, 4)
    # Half the time of np.asarray, which has to find out the shape first.
    flat = np.fromiter(itertools.chain.from_iterable(boxes), np.float32, 4 * len(boxes))
    return flat.reshape(-1, 4)


def as_box(row: NDArray[np.floating]) -> Box:
    """One (4,) row as a tuple of Python floats."""
    x1, y1, x2, y2 = map(float, row)
    return x1, y1, x2, y2


def box_tuples(boxes: NDArray[np.floating]) -> list[Box]:
    """Boxes (n, 4) as tuples of Python floats."""
    x1, y1, x2, y2 = boxes.T.tolist()
    return list(zip(x1, y1, x2, y2, strict=True))


def clip(boxes: FloatArray, size: Size) -> FloatArray:
    """Boxes (n, 4) cut to an image of `size` (height, width)."""
    height, width = size
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, 0, limit).astype(np.float32)


def area(boxes: FloatArray) -> FloatArray:
    """Areas (n,) in square pixels; 0 for inverted boxes."""
    sides = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return np.asarray(sides[:, 0] * sides[:, 1], np.float32)


def intersection(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection areas (n, m) of boxes a (n, 4) and b (m, 4)."""
    x1, y1, x2, y2 = np.ascontiguousarray(b.T)[:, None, :]
    u1, v1, u2, v2 = np.ascontiguousarray(a.T)[:, :, None]
    width = np.minimum(u2, x2) - np.maximum(u1, x1)
    height = np.minimum(v2, y2) - np.maximum(v1, y1)
    return np.asarray(np.maximum(width, 0) * np.maximum(height, 0), np.float32)


def iou(a: FloatArray, b: FloatArray) -> FloatArray:
    """Intersection over union (n, m); 0 where both boxes are empty."""
    inter = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - inter
    return np.asarray(np.divide(inter, union, out=np.zeros_like(inter), where=union > 0))


def nms(boxes: FloatArray, scores: FloatArray, threshold: float) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: indices kept, best score first.

    A box is dropped when its IoU with a kept one is > `threshold`; equal scores keep input order.
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    overlap = iou(boxes, boxes)
    alive = np.ones(len(boxes), bool)
    kept: list[int] = []
    for index in order:
        if alive[index]:
            kept.append(int(index))
            alive &= overlap[index] <= threshold
            alive[index] = False
    return np.array(kept, np.int64)


def rle_encode(mask: BoolArray) -> Rle:
    """COCO compressed RLE of a (h, w) boolean mask."""
    coded = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    height, width = coded["size"]
    return Rle((int(height), int(width)), coded["counts"].decode("ascii"))


def rle_decode(rle: Rle) -> BoolArray:
    """The (h, w) boolean mask. Raises ValueError when the runs do not fill the size."""
    height, width = rle.size
    runs = _runs(rle.counts)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(width, height).T


def rle_spans(rle: Rle) -> Spans:
    """The pixels of the mask, without making it, which takes a large image ten times as long.

    Raises ValueError when the runs do not fill the size.
    """
    height, width = rle.size
    runs = _runs(rle.counts)
    ends = runs.cumsum()
    if not len(runs) or runs.min() < 0 or ends[-1] != height * width:
        raise ValueError(f"the runs of the mask do not fill its {height} x {width} pixels")
    starts, stops = ends[:-1:2], ends[1::2]
    starts = starts[: len(stops)]
    held = stops > starts
    starts, stops = starts[held], stops[held]
    columns = starts // height
    crossed = (stops - 1) // height - columns
    if crossed.any():
        runs, columns = (
            np.repeat(np.arange(len(columns)), crossed + 1),
            np.repeat(columns, crossed + 1),
        )
        columns += np.arange(len(runs)) - np.searchsorted(runs, runs)
        starts = np.maximum(starts[runs], columns * height)
        stops = np.minimum(stops[runs], (columns + 1) * height)
    above = columns * height
    return columns, starts - above, stops - above


def box_spans(box: Box, size: Size) -> Spans:
    """The pixels inside a box whose sides are rounded, of an image of `size` (height, width)."""
    height, width = size
    x1, y1, x2, y2 = (max(0, round(value)) for value in box)
    columns = np.arange(x1, min(x2, width) if y1 < min(y2, height) else x1)
    return columns, np.full(len(columns), y1), np.full(len(columns), min(y2, height))


def rle_fills(rle: Rle) -> bool:
    """Whether the runs of a mask of unknown origin are well formed and fill its size."""
    codes = np.frombuffer(rle.counts.encode("ascii", "replace"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 0x20:
        return False
    runs = _runs(rle.counts)
    return bool(runs.min() >= 0 and runs.sum() == rle.size[0] * rle.size[1])


def rle_of_runs(runs: Sequence[object], size: Size) -> Rle | None:
    """The mask of uncompressed run lengths, the first of zeros; None if they do not fill `size`."""
    whole = [run for run in runs if type(run) is int and run >= 0]
    if len(whole) != len(runs) or sum(whole) != size[0] * size[1]:
        return None
    coded = coco_mask.frPyObjects({"size": list(size), "counts": whole}, *size)
    return Rle(size, coded["counts"].decode("ascii"))


def rle_area(rle: Rle) -> int:
    """Number of pixels of the mask."""
    return int(coco_mask.area(_coco(rle)))


def rle_box(rle: Rle) -> Box:
    """Tight `xyxy` box of the mask; zeros when the mask is empty."""
    x, y, width, height = (float(value) for value in coco_mask.toBbox(_coco(rle)))
    return x, y, x + width, y + height


def rle_iou(a: Sequence[Rle], b: Sequence[Rle]) -> FloatArray:
    """Mask IoU (n, m) of masks of one image size."""
    if not a or not b:
        return np.zeros((len(a), len(b)), np.float32)
    coded = coco_mask.iou([_coco(x) for x in a], [_coco(y) for y in b], [0] * len(b))
    return np.asarray(coded, np.float32).reshape(len(a), len(b))


def settled(instances: tuple[Instance, ...], masks: tuple[ObjectMask, ...]) -> tuple[Instance, ...]:
    """The objects with the boxes that are published: a mask's `box`, where it has one.

    What is derived from boxes once there are masks has to go by these, or a row contradicts itself.
    """
    boxes = {mask.object_id: mask.box for mask in masks if mask.box is not None}
    return tuple(replace(i, box=boxes[i.id]) if i.id in boxes else i for i in instances)


def _runs(counts: str) -> NDArray[np.int64]:
    """Run lengths of a COCO counts string, the first of zeros.

    Each character holds five bits, low ones first, and a mark that more follow; the last one's
    fifth bit is the sign. From the fourth on, a run is stored as the difference to the one two
    before. Decoded here because pycocotools' own decoder trusts the runs to fill the image, and
    numpy warns about how it returns arrays.
    """
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - 48
    lasts = ((codes & 0x20) == 0).nonzero()[0]
    if len(codes) and (not len(lasts) or lasts[-1] != len(codes) - 1):
        raise ValueError("the last run of the mask is cut off")
    starts = np.zeros_like(lasts)
    starts[1:] = lasts[:-1] + 1
    shift = 5 * (np.arange(len(codes)) - starts.repeat(lasts - starts + 1))
    runs = np.add.reduceat((codes & 0x1F) << shift, starts)
    # Twice the sign's bit is one more than the highest that the run's own bits can make.
    runs -= ((codes[lasts] & 0x10) << 1) << shift[lasts]
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs


def _coco(rle: Rle) -> dict[str, object]:
    return {"size": list(rle.size), "counts": rle.counts.encode("ascii")}
