"""GranD's depth of objects: the median inside the box, layers, groups around seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from grand_pipeline import layers
from grand_pipeline.columns import ATTRIBUTES, DEPTH_MAP, INSTANCES, PLACEMENTS
from grand_pipeline.grand_v1 import graph, placement
from grand_pipeline.record import Record
from grand_pipeline.stage import Reads, Row, Stage, Writes
from grand_pipeline.types import Attribute, DepthMap, Instance, Placement, Size


@dataclass(frozen=True, kw_only=True)
class GrandV1Placement(Stage[None]):
    """Depth, depth layer and group of every object.

    The nodes of the scene graph set the range of depths and are grouped; all others are put into
    the outer layers where they exceed it, and have groups of their own.
    """

    level: ClassVar[int] = 3

    cuts: tuple[float, float, float] = (0.1, 0.6, 0.85)
    """Upper ends of the first three layers, from 0 (nearest object) to 1 (farthest object)."""

    group_distance: float = 200.0
    """Objects of a layer are one group if their centres are closer to that of the first; pixels."""

    decimals: int = 2
    """Digits behind the point of a depth."""

    max_nodes: int = 100
    """Nodes of the scene graph, as for `grand_v1_scene_graph`."""

    defects: tuple[Literal["D13c", "D19"], ...] = ()
    """Published faults to repeat; see docs/grand_v1.md."""

    def __post_init__(self) -> None:
        if list(self.cuts) != sorted(self.cuts):
            raise ValueError(f"cuts must rise from near to far, not {self.cuts}")

    @property
    def reads(self) -> Reads:
        return (INSTANCES, ATTRIBUTES, DEPTH_MAP)

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
            {
                PLACEMENTS: self.place(
                    record[INSTANCES],
                    [a for found in record.members(ATTRIBUTES).values() for a in found],
                    record[DEPTH_MAP],
                    record.size,
                )
            }
            for record in records
        ]

    def place(
        self,
        instances: tuple[Instance, ...],
        attributes: Sequence[Attribute],
        depth_map: DepthMap,
        size: Size,
    ) -> tuple[Placement, ...]:
        """Placements in the order of the instances; `size` is (height, width).

        D13c: floating objects have none where there are objects.
        """
        told = graph.described(attributes)
        nodes = {i.id for i in graph.chosen(instances, told, self.max_nodes, self.defects)}
        rough = "D13c" in self.defects
        if rough and any(instance.status == "object" for instance in instances):
            instances = tuple(i for i in instances if i.status == "object")
        grid = depth_map.array()
        depth = placement.depth_image(grid, size, eight_bit=rough)
        values = [placement.depth_in(instance.box, depth) for instance in instances]
        # GranD writes NaN for a box without any depth in it.
        depths = [
            round(d if math.isfinite(d) else layers.depth_at(i.box, grid, size), self.decimals)
            for i, d in zip(instances, values, strict=True)
        ]
        inside = [instance.id in nodes for instance in instances]
        names = [layers.layer_of(t, self.cuts) for t in layers.coordinates(depths, inside)]
        numbers = self._groups(instances, names, inside)
        return tuple(
            Placement(i.id, value, layer, group)
            for i, value, layer, group in zip(instances, depths, names, numbers, strict=True)
        )

    def _groups(
        self, instances: Sequence[Instance], names: Sequence[str], inside: Sequence[bool]
    ) -> list[int]:
        """Groups of the nodes, then of the others."""
        numbers = [0] * len(instances)
        start = 0
        for wanted in (True, False):
            rows = [n for n, is_node in enumerate(inside) if is_node == wanted]
            found = placement.groups(
                [instances[n].box for n in rows], [names[n] for n in rows], self.group_distance
            )
            for n, group in zip(rows, found, strict=True):
                numbers[n] = start + group
            start += max(found, default=-1) + 1
        return numbers
