"""Why an object is one: its status, its votes, and the detections near it that gave none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from grand_pipeline import geometry
from grand_pipeline.columns import ATTRIBUTES, DETECTIONS, FUSED, INSTANCES, PHRASE_BOXES
from grand_pipeline.explain.aspect import (
    Aspect,
    Decider,
    aligned,
    decided,
    number,
    pixels,
    writer,
)
from grand_pipeline.explain.evidence import Evidence
from grand_pipeline.explain.fates import Seen, fates, lexicon_of, named, overlaps, same_score
from grand_pipeline.types import Box, Instance, Vote

NEAR = 0.3
"""Least IoU of a detection that is worth a word about an object."""
_MOST_NEAR = 8
_FUSION = ("min_votes", "single_vote_score")
_PERSONS = ("thresholds", "person_thresholds", "single_person")
"""What decides in GranD's rules about a box that one source alone has seen."""


def instances(evidence: Evidence) -> tuple[Instance, ...]:
    """The image's objects: the final ones, or the fused ones before captions are linked."""
    found = evidence.value(INSTANCES)
    return found if found is not None else evidence.value(FUSED) or ()


def before_captions(evidence: Evidence, instance: Instance) -> Instance | None:
    """The object as fusion left it; None for one that a caption brought."""
    fused = evidence.value(FUSED) or ()
    return next((one for one in fused if one.id == instance.id), None)


def status(evidence: Evidence, instance: Instance) -> Aspect:
    """Why the object counts, or why it floats."""
    lines, by = _verdict(evidence, instance)
    data = {"status": instance.status, "sources": sorted({v.source for v in instance.votes})}
    return Aspect("status", (f"{instance.status}: {lines[0]}", *lines[1:]), data, by)


def reason(evidence: Evidence, instance: Instance) -> str:
    """The verdict on an object in one line."""
    return _verdict(evidence, instance)[0][0]


def _verdict(evidence: Evidence, instance: Instance) -> tuple[tuple[str, ...], Decider]:
    if evidence.imported(INSTANCES) is not None:
        return ("as it was imported",), decided(evidence, INSTANCES)
    before = before_captions(evidence, instance)
    alone = len({vote.source for vote in instance.votes}) == 1
    granted = alone and evidence.option(FUSED, "min_votes") is None
    fusion = decided(evidence, FUSED, *(_PERSONS if granted else _FUSION))
    linking = decided(evidence, INSTANCES, "min_votes", "new_score")
    if before is None:
        return _caption_born(instance, linking)
    if instance.status == "object" and before.status == "floating":
        extra = instance.votes[len(before.votes) :]
        who = ", ".join(f"{v.source} ({v.label} {number(v.score)})" for v in extra)
        return (f"promoted: a caption's phrase confirms it, {who}",), linking
    describers = evidence.option(FUSED, "describers") or ()
    telling = [
        source
        for source in describers
        if any(a.object_id == before.id for a in evidence.value(ATTRIBUTES.of(source)) or ())
    ]
    return _counted(before, telling, fusion)


def _caption_born(instance: Instance, by: Decider) -> tuple[tuple[str, ...], Decider]:
    said = ", ".join(f"{v.source} ({v.label} {number(v.score)})" for v in instance.votes)
    return (f"only a caption knows it: box of {said or 'unknown source'}",), by


def _counted(
    instance: Instance, telling: Sequence[str], by: Decider
) -> tuple[tuple[str, ...], Decider]:
    """`telling` are the sources that confirm the place with a text."""
    sources = sorted({vote.source for vote in instance.votes})
    count = f"{len(sources)} source{'s' * (len(sources) != 1)} ({', '.join(sources)})"
    needed, sure = by.options.get("min_votes"), by.options.get("single_vote_score")
    if needed is None or instance.score is None:
        return (count,), by
    if instance.status == "object":
        if telling:
            count += f", confirmed by texts of {', '.join(telling)}"
        if len(sources) + len(telling) >= needed:
            return (f"{count}, {needed} needed",), by
        return (f"{count}, sure enough alone: score {number(instance.score)}",), by
    lines = f"{count}, {needed} needed"
    if sure is not None and instance.kind == "stuff":
        lines += "; a region never counts on its score alone"
    elif sure is not None and instance.score < sure:
        lines += f"; score {number(instance.score)} below {sure}"
    return (lines,), by


def votes(evidence: Evidence, instance: Instance) -> Aspect:
    """Each vote with the box that it comes from."""
    before = before_captions(evidence, instance)
    fused = len(before.votes) if before else 0
    rows: list[tuple[str, ...]] = []
    data: list[dict[str, Any]] = []
    for index, vote in enumerate(instance.votes):
        box, column = _box_of(evidence, instance, vote, index < fused)
        overlap = None if box is None else _iou(box, instance.box)
        made = evidence.stages.get(evidence.writers.get(column, ""))
        whole = evidence.imported(INSTANCES) is not None
        rows.append(
            (
                vote.source,
                vote.label,
                number(vote.score),
                f"IoU {number(overlap)}",
                f"box {pixels(box)}" if box else "box unknown",
                writer(made) or ("imported with the object" if whole else column),
            )
        )
        data.append(
            {
                "source": vote.source,
                "label": vote.label,
                "score": vote.score,
                "box": box,
                "iou": overlap,
                "column": column,
                "stage": made.key if made else None,
            }
        )
    column_of = FUSED if evidence.imported(INSTANCES) is None else INSTANCES
    by = decided(evidence, column_of, "agreeing_iou", "group_iou", "conflict_iou")
    return Aspect("votes", aligned(rows) if rows else ("none",), data, by)


def _box_of(
    evidence: Evidence, instance: Instance, vote: Vote, fused: bool
) -> tuple[Box | None, str]:
    """The box behind a vote, and the column it stands in."""
    if fused:
        column = DETECTIONS.of(vote.source)
        made = evidence.maker(FUSED)
        options = (made.options if made else None) or {}
        boxes = [
            d.box
            for d in evidence.value(column) or ()
            if d.label == vote.label and same_score(vote, d, options)
        ]
        return _nearest(boxes, instance.box), column.name
    phrases = PHRASE_BOXES.of(vote.source)
    found = [b.box for b in evidence.value(phrases) or () if b.score == vote.score]
    return _nearest(found, instance.box), phrases.name


def _nearest(boxes: Sequence[Box], around: Box) -> Box | None:
    return max(boxes, key=lambda box: _iou(box, around), default=None)


def _iou(a: Box, b: Box) -> float:
    return float(geometry.iou(geometry.as_boxes([a]), geometry.as_boxes([b]))[0, 0])


def near(evidence: Evidence, instance: Instance) -> Aspect | None:
    """Detections that overlap the object and give it no vote, and why; None without any."""
    options = decided(evidence, FUSED, "agreeing_iou", "group_iou", "conflict_iou").options
    found = [
        (float(overlaps(seen.detection, [instance])[0]), seen)
        for seen in fates(evidence)
        if not (seen.fate == "vote" and seen.object_id == instance.id)
    ]
    close = sorted(((o, s) for o, s in found if o >= NEAR), key=lambda pair: -pair[0])
    if not close:
        return None
    told = [(o, s, _apart(evidence, instance, o, s, options)) for o, s in close[:_MOST_NEAR]]
    rows = [
        (s.source, s.detection.label, number(s.detection.score), f"IoU {number(o)}", why)
        for o, s, why in told
    ]
    more = (f"and {len(close) - _MOST_NEAR} more",) if len(close) > _MOST_NEAR else ()
    data = [
        {
            "source": s.source,
            "label": s.detection.label,
            "score": s.detection.score,
            "box": s.detection.box,
            "iou": o,
            "fate": s.fate,
            "why": why,
        }
        for o, s, why in told
    ]
    return Aspect("near it", (*aligned(rows), *more), data)


def _apart(evidence: Evidence, instance: Instance, overlap: float, seen: Seen, options: Any) -> str:
    """Why a detection of another object gives this one no vote, or simply its fate."""
    if seen.fate != "vote":
        return seen.why
    made = evidence.maker(FUSED)
    stage = made.key if made else "fusion"
    lexicon = lexicon_of(made.options if made else None)
    same = lexicon.agree(seen.detection.label, instance.label)
    name = "agreeing_iou" if same and "agreeing_iou" in options else "group_iou"
    limit = options.get(name)
    if limit is not None and overlap < limit:
        return f"{seen.why}: IoU below {stage}.{name}={limit}"
    if before := before_captions(evidence, instance):
        theirs = next(i for i in evidence.value(FUSED) or () if i.id == seen.object_id)
        conflict = options.get("conflict_iou")
        both = before.status == theirs.status == "object"
        if both and conflict is not None and overlap < conflict:
            return f"{seen.why}: both have enough votes, IoU below {stage}.conflict_iou={conflict}"
        if theirs.id != before.id:
            return f"{seen.why}, where it fits better than {named(before)}"
    return seen.why
