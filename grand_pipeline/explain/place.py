"""Where an object's mask, depth, layer and group came from."""

from __future__ import annotations

from typing import Any

import numpy as np

from grand_pipeline import geometry
from grand_pipeline.columns import (
    ATTRIBUTES,
    DEPTH_MAP,
    DETECTIONS,
    MASKS,
    PLACEMENTS,
    SEGMENTS,
)
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
from grand_pipeline.grand_v1 import graph
from grand_pipeline.types import Instance, ObjectMask, Placement

_MASKS = ("prefer", "match_iou", "box_margin")
_TIGHT = ("boxes", "box_iou")
"""What decides whether a mask's tight box is published as the object's."""


def mask(evidence: Evidence, instance: Instance) -> Aspect:
    """The mask's source, quality and size, and how the ready-made masks fit the object."""
    found = evidence.value(MASKS)
    if found is None:
        return unmade(evidence, "mask", MASKS, "masks")
    own = next((m for m in found if m.object_id == instance.id), None)
    if own is None:
        unfilled = evidence.option(MASKS, "fill") is False
        line = "none: no mask that others made fits it" if unfilled else "none"
        return Aspect("mask", (line,), None, decided(evidence, MASKS, "match_iou", "fill"))
    by = decided(evidence, MASKS, *_MASKS, *(_TIGHT if _box_decided(own) else ()))
    covered = geometry.rle_area(own.mask)
    share = covered / max(1e-6, float(geometry.area(geometry.as_boxes([instance.box]))[0]))
    first = f"{_origin(evidence, own)}, {covered} px, {share:.0%} of the box's area"
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
    elif _box_decided(own) and evidence.option(MASKS, "boxes") == "mask":
        limit = evidence.option(MASKS, "box_iou")
        lines.append(
            f"the object keeps its own box: IoU {number(_tight_iou(own, instance))} of the mask's "
            f"is below {by.stage}.box_iou={limit}"
        )
    return Aspect("mask", tuple(lines), data, by)


def _box_decided(own: ObjectMask) -> bool:
    """Whether the mask's tight box was looked at: that of a filled box never is."""
    return not (own.source == "box" and own.score == 0)


def _tight_iou(own: ObjectMask, instance: Instance) -> float:
    tight = geometry.as_boxes([geometry.rle_box(own.mask)])
    return float(geometry.iou(tight, geometry.as_boxes([instance.box]))[0, 0])


def _origin(evidence: Evidence, own: ObjectMask) -> str:
    quality = f", quality {number(own.score)}" if own.score is not None else ""
    if own.source == "given" and evidence.imported(MASKS) is not None:
        return f"a mask that was imported{quality}"
    if own.source == "box" and own.score == 0:
        if evidence.option(MASKS, "model") == "":
            return "the filled box: no mask fits it, and no model makes one"
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
    if evidence.imported(PLACEMENTS) is not None:
        said, source = "as it was imported", decided(evidence, PLACEMENTS)
    else:
        maker = evidence.maker(DEPTH_MAP) or evidence.stages.get("depth")
        said, source = _statistic(evidence, own), Decider()
        source = Decider(maker.key, maker.models) if maker else source
    return [
        Aspect("depth", (f"{own.depth:.3f}: {said} (larger = nearer)",), own.depth, source),
        _layer(evidence, own, placements),
        _group(evidence, own, placements),
    ]


def _by_grand(evidence: Evidence) -> bool:
    """Whether depths, layers and groups follow GranD's rules."""
    made = evidence.maker(PLACEMENTS)
    return made is not None and made.key.startswith("grand_v1_")


def _statistic(evidence: Evidence, own: Placement) -> str:
    if _by_grand(evidence):
        return "the median inside the box, of the map at the image's size"
    masked = any(m.object_id == own.object_id for m in evidence.value(MASKS) or ())
    return f"the median inside the {'mask' if masked else 'box, since there is no mask'}"


def _scale(evidence: Evidence, placements: tuple[Placement, ...]) -> tuple[set[int], str]:
    """Ids of the objects whose depths are the range of the layers, and what they are."""
    every = instances(evidence)
    if not _by_grand(evidence):
        return {i.id for i in every if i.status == "object"}, "objects"
    most = evidence.option(PLACEMENTS, "max_nodes")
    given = [a for found in evidence.members(ATTRIBUTES).values() for a in found]
    defects = evidence.option(PLACEMENTS, "defects") or ()
    nodes = graph.chosen(every, graph.described(given), most or len(every), defects)
    return {node.id for node in nodes}, "nodes of the scene graph"


def _layer(evidence: Evidence, own: Placement, placements: tuple[Placement, ...]) -> Aspect:
    inside, who = _scale(evidence, placements)
    scale = [p for p in placements if p.object_id in inside] or list(placements)
    nearest = max(scale, key=lambda p: p.depth)
    farthest = min(scale, key=lambda p: p.depth)
    span = nearest.depth - farthest.depth
    place = 0.5 if span <= 0 else float(np.clip((nearest.depth - own.depth) / span, 0, 1))
    ends = " to ".join(
        f"{_name(evidence, p.object_id)} ({p.depth:.3f})" for p in (nearest, farthest)
    )
    line = f"{own.layer}: at {place:.2f} of the way from {ends}, the range of the {who}"
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
        rule = "from that of the first" if _by_grand(evidence) else "apart"
        line += f" (centres of a layer less than {step:.0f} px {rule})"
    return Aspect("group", (line,), {"group": own.group, "with": mates}, by)


def _name(evidence: Evidence, object_id: int) -> str:
    label = next((i.label for i in instances(evidence) if i.id == object_id), "?")
    return f"{label} #{object_id}"
