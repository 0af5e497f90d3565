"""Where an object's mask, depth, layer and group came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.columns import DEPTH_MAP, DETECTIONS, MASKS, PLACEMENTS, SEGMENTS
from grand_pipeline.explain.aspect import (
    Aspect,
    Decider,
    aligned,
    decided,
    number,
    pixels,
    unmade,
)
from grand_pipeline.explain.evidence import Evidence
from grand_pipeline.explain.origin import instances
from grand_pipeline.types import Instance, ObjectMask, Placement

_MASKS = ("prefer", "match_iou", "box_margin")


def mask(evidence: Evidence, instance: Instance) -> Aspect:
    """The mask's source, quality and size, and how the ready-made masks fit the object."""
    found = evidence.value(MASKS)
    if found is None:
        return unmade(evidence, "mask", MASKS, "masks")
    by = decided(evidence, MASKS, *_MASKS)
    own = next((m for m in found if m.object_id == instance.id), None)
    if own is None:
        return Aspect("mask", ("none",), None, by)
    covered = geometry.rle_area(own.mask)
    share = covered / max(1e-6, float(geometry.area(geometry.as_boxes([instance.box]))[0]))
    first = f"{_origin(own)}, {covered} px, {share:.0%} of the box's area"
    ready = [*_segments(evidence, instance, own), *_detected(evidence, instance, own)]
    rows = [
        (what, f"IoU {number(overlap)}", f"quality {number(q)}", use)
        for what, overlap, q, use in ready
    ]
    data = {
        "source": own.source,
        "score": own.score,
        "pixels": covered,
        "ready": [
            {"what": what, "box_iou": overlap, "quality": quality, "used": use == "taken"}
            for what, overlap, quality, use in ready
        ],
    }
    lines = [first, *(aligned(rows) if rows else ())]
    if own.box is not None:
        lines.append(f"the mask's box is published in place of the object's: {pixels(own.box)}")
    return Aspect("mask", tuple(lines), data, by)


def _origin(own: ObjectMask) -> str:
    quality = f", quality {number(own.score)}" if own.score is not None else ""
    if own.source == "box" and own.score == 0:
        return "the filled box: every mask came out empty"
    names = {"auto": "an automatic mask", "box": "a box prompt", "detector": "a detector's mask"}
    return names.get(own.source, own.source) + quality


Ready = tuple[str, float, float | None, str]
"""What a ready-made mask is, box IoU with the object, quality, what became of it."""


def _segments(evidence: Evidence, instance: Instance, own: ObjectMask) -> list[Ready]:
    """The automatic mask that is used, or the one whose box fits best."""
    segments = evidence.value(SEGMENTS) or ()
    if not segments:
        return []
    boxes = geometry.as_boxes([s.box for s in segments])
    overlap = geometry.iou(geometry.as_boxes([instance.box]), boxes)[0]
    used = [n for n, s in enumerate(segments) if own.source == "auto" and s.mask == own.mask]
    best = used[0] if used else int(overlap.argmax())
    name = f"{'' if used else 'best fitting '}automatic mask {best} of {len(segments)}"
    taken = own.source == "auto"
    chosen = segments[best]
    why = "taken" if taken else _unused(evidence, float(overlap[best]), "masks of other objects")
    return [(name, float(overlap[best]), chosen.predicted_iou, why)]


def _detected(evidence: Evidence, instance: Instance, own: ObjectMask) -> list[Ready]:
    """The detector's mask that is used, or the one whose box fits best."""
    pool = [
        (source, detection)
        for source, found in evidence.members(DETECTIONS).items()
        for detection in found
        if detection.mask is not None
    ]
    if not pool:
        return []
    boxes = geometry.as_boxes([d.box for _, d in pool])
    overlap = geometry.iou(geometry.as_boxes([instance.box]), boxes)[0]
    used = [n for n, (_, d) in enumerate(pool) if own.source == "detector" and d.mask == own.mask]
    best = used[0] if used else int(overlap.argmax())
    source, detection = pool[best]
    name = f"{'' if used else 'best fitting '}mask of {source} ({detection.label})"
    why = "taken" if used else _unused(evidence, float(overlap[best]), "other masks")
    return [(name, float(overlap[best]), detection.score, why)]


def _unused(evidence: Evidence, overlap: float, rivals: str) -> str:
    stage, limit = decided(evidence, MASKS).stage, evidence.option(MASKS, "match_iou")
    if evidence.option(MASKS, "prefer") == "prompt":
        return f"not asked for ({stage}.prefer=prompt)"
    if limit is not None and overlap < limit:
        return f"below {stage}.match_iou={limit}"
    return f"not taken: {rivals} went first"


def depth(evidence: Evidence, instance: Instance) -> list[Aspect]:
    """Depth, layer and group."""
    placements = evidence.value(PLACEMENTS)
    if placements is None:
        return [unmade(evidence, "depth", PLACEMENTS, "placement")]
    own = next((p for p in placements if p.object_id == instance.id), None)
    if own is None:
        return [Aspect("depth", ("none",), None, decided(evidence, PLACEMENTS))]
    maker = evidence.maker(DEPTH_MAP) or evidence.stages.get("depth")
    source = Decider(maker.key, maker.models) if maker else Decider()
    said = f"{own.depth:.3f}: the median inside the mask (larger = nearer)"
    return [
        Aspect("depth", (said,), own.depth, source),
        _layer(evidence, own, placements),
        _group(evidence, own, placements),
    ]


def _layer(evidence: Evidence, own: Placement, placements: tuple[Placement, ...]) -> Aspect:
    voted = {i.id for i in instances(evidence) if i.status == "object"}
    scale = [p for p in placements if p.object_id in voted] or list(placements)
    nearest = max(scale, key=lambda p: p.depth)
    farthest = min(scale, key=lambda p: p.depth)
    span = nearest.depth - farthest.depth
    place = 0.5 if span <= 0 else float(np.clip((nearest.depth - own.depth) / span, 0, 1))
    ends = " to ".join(
        f"{_name(evidence, p.object_id)} ({p.depth:.3f})" for p in (nearest, farthest)
    )
    line = f"{own.layer}: at {place:.2f} of the way from {ends}"
    return Aspect("layer", (line,), {"layer": own.layer, "place": place},
                  decided(evidence, PLACEMENTS, "cuts"))  # fmt: skip


def _group(evidence: Evidence, own: Placement, placements: tuple[Placement, ...]) -> Aspect:
    mates = [p.object_id for p in placements if p.group == own.group and p != own]
    names = ", ".join(_name(evidence, i) for i in mates)
    line = f"{own.group}, with {names}" if mates else f"{own.group}, alone"
    by = decided(evidence, PLACEMENTS, "group_distance")
    distance: Any = by.options.get("group_distance")
    if isinstance(distance, float):
        longer = max(evidence.image.width or 0, evidence.image.height or 0)
        step = distance * longer if distance <= 1 else distance
        line += f" (centres of a layer less than {step:.0f} px apart)"
    return Aspect("group", (line,), {"group": own.group, "with": mates}, by)


def _name(evidence: Evidence, object_id: int) -> str:
    label = next((i.label for i in instances(evidence) if i.id == object_id), "?")
    return f"{label} #{object_id}"
