"""The story of an image: stages, scene, objects, and what stayed floating or unused."""

from __future__ import annotations

from collections import Counter

from grand_pipeline.columns import (
    ATTRIBUTES,
    CAPTIONS,
    CONTEXT,
    DENSE_CAPTION,
    FUSED,
    GROUNDED_CAPTIONS,
    INSTANCES,
    LANDMARK,
    MASKS,
    PLACEMENTS,
    TAGS,
)
from grand_pipeline.explain.aspect import Aspect, Decider, aligned, decided, number, unmade
from grand_pipeline.explain.evidence import Evidence
from grand_pipeline.explain.fates import MEANINGS, fates
from grand_pipeline.explain.origin import instances, reason
from grand_pipeline.explain.words import label_of, referred
from grand_pipeline.types import Instance, Span


def stages(evidence: Evidence) -> Aspect:
    """Every stage, what became of it here and why."""
    made = evidence.stages.values()
    rows = [(m.key, m.condition, ", ".join(m.models), m.note) for m in made]
    data = {
        m.key: {
            "condition": m.condition,
            "note": m.note,
            "models": list(m.models),
            "options": dict(m.options or {}),
        }
        for m in made
    }
    return Aspect("stages", aligned(rows) if rows else ("none yet",), data)


def tags(evidence: Evidence) -> Aspect:
    """Image-level labels, source by source."""
    found = evidence.members(TAGS)
    lines = tuple(
        f"{source}: {', '.join(f'{tag.name} {number(tag.score)}' for tag in given) or 'none'}"
        for source, given in found.items()
    )
    data = {s: [{"name": t.name, "score": t.score} for t in given] for s, given in found.items()}
    return Aspect("tags", lines or ("none",), data)


def landmark(evidence: Evidence) -> Aspect:
    """The scene category."""
    found = evidence.value(LANDMARK)
    if found is None:
        return unmade(evidence, "landmark", LANDMARK, "landmark")
    line = f"{found.category}: {found.fine_category}"
    data = {"category": found.category, "fine_category": found.fine_category}
    return Aspect("landmark", (line,), data, decided(evidence, LANDMARK))


def objects(evidence: Evidence) -> Aspect:
    """Every voted object in one line."""
    column = INSTANCES if evidence.value(INSTANCES) is not None else FUSED
    if evidence.value(column) is None:
        return unmade(evidence, "objects", column, "fusion")
    voted = [i for i in instances(evidence) if i.status == "object"]
    rows = [(*_heading(evidence, i), *_where(evidence, i)) for i in voted]
    data = [{"id": i.id, "label": label_of(evidence, i), "score": i.score} for i in voted]
    whole = evidence.imported(INSTANCES) is not None
    by = decided(evidence, INSTANCES if whole else FUSED, "min_votes", "single_vote_score")
    return Aspect("objects", aligned(rows) if rows else ("none",), data, by)


def floating(evidence: Evidence) -> Aspect | None:
    """Every candidate that stayed floating, with the reason; None without any."""
    left = [i for i in instances(evidence) if i.status == "floating"]
    if not left:
        return None
    rows = [(*_heading(evidence, i), reason(evidence, i)) for i in left]
    data = [
        {"id": i.id, "label": label_of(evidence, i), "score": i.score, "why": reason(evidence, i)}
        for i in left
    ]
    return Aspect("floating", aligned(rows), data)


def _heading(evidence: Evidence, instance: Instance) -> tuple[str, str, str]:
    about = [
        a.text
        for found in evidence.members(ATTRIBUTES).values()
        for a in found
        if a.object_id == instance.id
    ]
    name = label_of(evidence, instance)
    described = f"{name} ({', '.join(about)})" if about else name
    return f"#{instance.id}", described, number(instance.score)


def _where(evidence: Evidence, instance: Instance) -> tuple[str, str, str]:
    masks = {m.object_id: m for m in evidence.value(MASKS) or ()}
    places = {p.object_id: p for p in evidence.value(PLACEMENTS) or ()}
    mask, place = masks.get(instance.id), places.get(instance.id)
    voters = "+".join(sorted({vote.source for vote in instance.votes}))
    return (
        f"votes of {voters}" if voters else "no votes",
        f"mask: {mask.source} {number(mask.score)}" if mask else "no mask",
        f"{place.layer}, group {place.group}" if place else "no place",
    )


def detections(evidence: Evidence) -> Aspect | None:
    """How many detections of each source went where; None before fusion."""
    seen = fates(evidence)
    if not seen:
        return None
    counts = Counter((one.source, one.fate) for one in seen)
    rows = [
        (source, str(counts[source, fate]), meaning)
        for source in sorted({one.source for one in seen})
        for fate, meaning in MEANINGS.items()
        if counts[source, fate]
    ]
    data = [
        {
            "source": s.source,
            "label": s.detection.label,
            "score": s.detection.score,
            "box": s.detection.box,
            "fate": s.fate,
            "object": s.object_id,
            "why": s.why,
        }
        for s in seen
    ]
    by = decided(evidence, FUSED, "threshold", "thresholds", "nms_iou", "max_floating")
    return Aspect("detections", aligned(rows), data, by)


def texts(evidence: Evidence) -> list[Aspect]:
    """Captions, dense caption and context with what they point at."""
    short = evidence.value(GROUNDED_CAPTIONS)
    told: list[Aspect] = []
    imported = {c.source: c.text for c in short or () if evidence.imported(GROUNDED_CAPTIONS)}
    for source, bare in {**imported, **evidence.members(CAPTIONS)}.items():
        grounded = next((c for c in short or () if c.source == source), None)
        text, marks = (grounded.text, grounded.spans) if grounded else (bare, ())
        by = decided(evidence, GROUNDED_CAPTIONS if source in imported else CAPTIONS.of(source))
        told.append(Aspect(f"caption {source}", (text, *_marks(text, marks)), text, by))
    dense = evidence.value(DENSE_CAPTION)
    if dense is None:
        told.append(unmade(evidence, "dense caption", DENSE_CAPTION, "dense_grounding"))
    else:
        checked = "verified" if dense.verified else "not verified"
        lines = (dense.text, *_marks(dense.text, dense.spans), f"{checked}, {dense.finish_reason}")
        by = decided(evidence, DENSE_CAPTION, "match")
        if evidence.imported(DENSE_CAPTION) is None:
            by = Decider(f"{by.text()}; text by {dense.source}")
        told.append(Aspect("dense caption", lines, dense.text, by))
    context = evidence.value(CONTEXT)
    if context is None:
        told.append(unmade(evidence, "context", CONTEXT, "context"))
    else:
        by = decided(evidence, CONTEXT)
        told.append(Aspect("context", (context.answer.strip(),), context.answer, by))
    return told


def _marks(text: str, spans: tuple[Span, ...]) -> tuple[str, ...]:
    rows = [(f'"{text[s.start : s.end]}"', referred(s.object_ids)) for s in spans]
    return aligned(rows) if rows else ()


def duplicates(evidence: Evidence) -> Aspect | None:
    """Other paths of the same content; None without any."""
    found = evidence.image.duplicates
    return Aspect("duplicates", found, list(found)) if found else None
