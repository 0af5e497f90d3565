"""Where objects stand in depth: the median inside each mask, its layer, and groups of near ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from grand_pipeline import geometry, layers
from grand_pipeline.columns import DEPTH_MAP, INSTANCES, MASKS, PLACEMENTS
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import DepthMap, FloatArray, Instance, ObjectMask, Rle, Size
from grand_pipeline.types import Placement as Place


@dataclass(frozen=True, kw_only=True)
class Placement(Stage[None]):
    """Depth, depth layer and group of every object, floating ones too."""

    version: ClassVar[int] = 2
    level: ClassVar[int] = 3

    cuts: tuple[float, float, float] = layers.CUTS
    """Upper ends of the first three layers, from 0 (nearest object) to 1 (farthest object)."""

    group_distance: float = 0.2
    """Objects of a layer whose centres are closer are one group; fraction of the longer side."""

    def __post_init__(self) -> None:
        if list(self.cuts) != sorted(self.cuts):
            raise ValueError(f"cuts must rise from near to far, not {self.cuts}")

    @property
    def reads(self) -> Reads:
        return (INSTANCES, MASKS, DEPTH_MAP)

    @property
    def writes(self) -> Writes:
        return (PLACEMENTS,)

    @property
    def needs_image(self) -> bool:
        return False

    def load(self, device: str) -> None:
        """Nothing to load."""

    def annotate(self, model: None, records: Sequence[Record]) -> list[Row]:
        return [
            {PLACEMENTS: self.place(r[INSTANCES], r[MASKS], r[DEPTH_MAP], r.size)} for r in records
        ]

    def place(
        self,
        instances: tuple[Instance, ...],
        masks: tuple[ObjectMask, ...],
        depth_map: DepthMap,
        size: Size,
    ) -> tuple[Place, ...]:
        """One placement per instance, in order; `size` is (height, width).

        The range of depths is that of the voted objects; floating ones beyond it are put into the
        outer layers. An object without mask, or with an empty one, has the depth of its box.
        """
        depths = self.depths(instances, masks, depth_map, size)
        return self.arrange(geometry.settled(instances, masks), depths, size)

    def depths(
        self,
        instances: tuple[Instance, ...],
        masks: tuple[ObjectMask, ...],
        depth_map: DepthMap,
        size: Size,
    ) -> list[float]:
        """The depth of each instance, in order."""
        depth = depth_map.array()
        rles = {mask.object_id: mask.mask for mask in masks}
        return [_depth(instance, rles.get(instance.id), depth, size) for instance in instances]

    def arrange(
        self, instances: tuple[Instance, ...], depths: Sequence[float], size: Size
    ) -> tuple[Place, ...]:
        """Layers and groups of instances whose depths are known, in order."""
        voted = [instance.status == "object" for instance in instances]
        names = layers.layers_of(layers.coordinates(depths, voted), self.cuts)
        boxes = geometry.as_boxes([instance.box for instance in instances])
        numbers = layers.groups(
            (boxes[:, :2] + boxes[:, 2:]) / 2,
            names,
            [instance.kind == "stuff" for instance in instances],
            self.group_distance * max(size),
        )
        return tuple(map(Place, [instance.id for instance in instances], depths, names, numbers))


def _depth(instance: Instance, rle: Rle | None, depth: FloatArray, size: Size) -> float:
    if rle is not None:
        inside = layers.depth_inside(geometry.rle_spans(rle), depth, rle.size)
        if math.isfinite(inside):
            return inside
    inside = layers.depth_inside(geometry.box_spans(instance.box, size), depth, size)
    return inside if math.isfinite(inside) else layers.depth_at(instance.box, depth, size)
