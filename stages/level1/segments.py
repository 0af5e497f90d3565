"""Class-agnostic automatic masks: a Segment Anything model asked at a grid of points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import gcd
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.columns import SEGMENTS
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import BoolArray, FloatArray, Segment
from stages import hub, sam
from stages.sam import Embedded, Sam

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Candidates:
    """Masks before they have the image's size: logits (n, m, m), boxes (n, 4) on the model's
    grid, the model's quality estimate (n,) and stability (n,)."""

    logits: Tensor
    boxes: FloatArray
    quality: FloatArray
    stability: FloatArray

    def pick(self, indices: np.ndarray) -> Candidates:
        """Those at `indices`, in that order."""
        import torch

        return Candidates(
            self.logits[torch.as_tensor(indices, device=self.logits.device)],
            self.boxes[indices],
            self.quality[indices],
            self.stability[indices],
        )


@dataclass(frozen=True, kw_only=True)
class Segments(Stage[Sam]):
    """Automatic masks of everything, best first."""

    level: ClassVar[int] = 1

    batch_size: int = 2
    model: str = "facebook/sam-vit-base"
    """Hub id, folder or `embedded:` name of a SAM, SAM-HQ or SAM 2 checkpoint, or a `.pth` file of
    the original package."""
    dtype: hub.Dtype = "float32"
    """Number format of the image encoder: float32, bfloat16 or float16."""
    points_per_side: int = 32
    """The grid has this many points along each side."""
    points_per_batch: int = 64
    """Points decoded at a time: bounds memory."""
    skip_covered: float | None = None
    """Leave out points on a mask of an earlier batch that has at least this quality. Several times
    faster with small batches; parts of objects (a wheel of a car) are then mostly not found."""
    predicted_iou: float = 0.88
    """Least quality by the model's own estimate."""
    stability: float = 0.95
    """Least stability: IoU of the masks cut at `stability_offset` above and below the border."""
    stability_offset: float = 1.0
    """Logits by which the border is moved to measure stability."""
    nms: float = 0.7
    """A mask goes when its box's IoU with that of a better one exceeds this."""
    min_area: float = 0.0005
    """Least area as a share of the image."""
    max_segments: int = 200
    """Most masks of an image."""

    @property
    def reads(self) -> Reads:
        """Only the image."""
        return ()

    @property
    def writes(self) -> Writes:
        """Segments."""
        return (SEGMENTS,)

    @property
    def extras(self) -> tuple[str, ...]:
        """That of the original SAM, if its checkpoint is named."""
        return sam.extras(self.model)

    def load(self, device: str) -> Sam:
        """The segmenter."""
        return sam.load(self.model, device, self.dtype)

    def annotate(self, model: Sam, records: Sequence[Record]) -> list[Row]:
        """Segments of every image."""
        embedded = model.embed([r.image for r in records], [r.size for r in records])
        return [{SEGMENTS: self._segments(model, image)} for image in embedded]

    def _segments(self, model: Sam, image: Embedded) -> tuple[Segment, ...]:
        found = _join(list(self._parts(model, image)))
        kept = geometry.nms(found.boxes, found.quality, self.nms)
        best = found.pick(kept[: self.max_segments])
        masks = model.full(image, best.logits)
        return tuple(
            _segment(mask, float(quality), float(stability))
            for mask, quality, stability in zip(masks, best.quality, best.stability, strict=True)
            if mask.any()
        )

    def _parts(self, model: Sam, image: Embedded) -> Iterator[Candidates]:
        """Candidates of the grid's points, batch by batch."""
        height, width = image.size
        left = scattered(grid(self.points_per_side))
        while len(left):
            batch, left = left[: self.points_per_batch], left[self.points_per_batch :]
            found = self._candidates(model, image, batch * np.array([width, height], np.float32))
            yield found
            if self.skip_covered is not None:
                sure = found.pick(np.flatnonzero(found.quality >= self.skip_covered))
                covered = (model.cut(image, sure.logits) > 0).any(dim=0).cpu().numpy()
                places = (left * covered.shape[::-1]).astype(np.int64)
                left = left[~covered[places[:, 1], places[:, 0]]]

    def _candidates(self, model: Sam, image: Embedded, points: FloatArray) -> Candidates:
        """Good masks of some points. Judged on the model's grid, where a mask is small."""
        import torch

        logits, quality = model.by_points(image, points)
        logits, quality = logits.flatten(0, 1), quality.reshape(-1)
        shown = model.cut(image, logits)
        inside = (shown > self.stability_offset).sum((-1, -2)).float()
        outside = (shown > -self.stability_offset).sum((-1, -2)).float()
        stability = (inside / outside.clamp(min=1)).cpu().numpy()
        area = (shown > 0).float().mean((-1, -2)).cpu().numpy()
        good = np.flatnonzero(
            (quality >= self.predicted_iou)
            & (stability >= self.stability)
            & (area >= self.min_area)
            & (area > 0)
        )
        kept = torch.as_tensor(good, device=logits.device)
        boxes = boxes_of((shown[kept] > 0).cpu().numpy())
        return Candidates(logits[kept], boxes, quality[good], stability[good])


def grid(per_side: int) -> FloatArray:
    """Centres (n * n, 2) of an even grid over the unit square, row by row."""
    at = (np.arange(per_side, dtype=np.float32) + 0.5) / per_side
    return np.stack(np.meshgrid(at, at), axis=-1).reshape(-1, 2).astype(np.float32)


def scattered(points: FloatArray) -> FloatArray:
    """The points (n, 2) in an order whose every stretch is spread over all of them."""
    count = len(points)
    stride = next(s for s in range(max(1, round(0.618 * count)), 2 * count) if gcd(s, count) == 1)
    return points[np.arange(count) * stride % count]


def boxes_of(masks: BoolArray) -> FloatArray:
    """Tight boxes (n, 4) of non-empty masks (n, h, w)."""
    columns, rows = np.any(masks, axis=1), np.any(masks, axis=2)
    width, height = masks.shape[2], masks.shape[1]
    low = [columns.argmax(axis=1), rows.argmax(axis=1)]
    high = [width - columns[:, ::-1].argmax(axis=1), height - rows[:, ::-1].argmax(axis=1)]
    return np.stack([*low, *high], axis=1).astype(np.float32)


def _join(parts: Sequence[Candidates]) -> Candidates:
    import torch

    return Candidates(
        torch.cat([part.logits for part in parts]),
        np.concatenate([part.boxes for part in parts]),
        np.concatenate([part.quality for part in parts]),
        np.concatenate([part.stability for part in parts]),
    )


def _segment(mask: BoolArray, quality: float, stability: float) -> Segment:
    coded = geometry.rle_encode(mask)
    return Segment(geometry.rle_box(coded), coded, quality, stability)
