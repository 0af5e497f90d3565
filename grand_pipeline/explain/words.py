"""What is said of an object: label, attributes, phrases, relations, spans, scene graph."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from grand_pipeline import geometry, spans, structured
from grand_pipeline.columns import (
    AFFORDANCES,
    ASSIGNED,
    ATTRIBUTES,
    DENSE_CAPTION,
    DENSE_DRAFT,
    GROUNDED_CAPTIONS,
    LINKS,
    PHRASE_BOXES,
    RELATIONS,
    SCENE_GRAPH,
)
from grand_pipeline.explain.aspect import (
    Aspect,
    Decider,
    aligned,
    decided,
    number,
    unmade,
    writer,
)
from grand_pipeline.explain.evidence import Evidence
from grand_pipeline.explain.origin import instances
from grand_pipeline.labels import normalize
from grand_pipeline.types import Instance, PhraseBox, Span


def label_of(evidence: Evidence, instance: Instance) -> str:
    """The published label: the one assigned, else the object's own."""
    assigned = {a.object_id: a.label for a in evidence.value(ASSIGNED) or ()}
    return assigned.get(instance.id, instance.label)


def label(evidence: Evidence, instance: Instance) -> Aspect:
    """The label and what it was chosen among."""
    assigned = evidence.value(ASSIGNED)
    if assigned is None:
        return unmade(evidence, "label", ASSIGNED, "labels")
    own = next((a for a in assigned if a.object_id == instance.id), None)
    support: dict[str, float] = {}
    for vote in instance.votes:
        name = normalize(vote.label)
        support[name] = support.get(name, 0.0) + (1.0 if vote.score is None else vote.score)
    by = decided(evidence, ASSIGNED, "vote_weight", "template")
    if own is None:
        source = "" if evidence.imported(ASSIGNED) else ", from fusion"
        return Aspect("label", (f"{instance.label}{source}: none was assigned",), None, by)
    if evidence.imported(ASSIGNED) is not None:
        data = {"label": own.label, "score": own.score, "votes": support, "fused": instance.label}
        return Aspect("label", (own.label,), data, by)
    among = ", ".join(f"{name} (votes {score:.2f})" for name, score in support.items())
    if len(support) > 1:
        line = f"{own.label}, chosen with {number(own.score)} among {among}"
    else:
        line = f"{own.label}, the only word among the votes"
        by = Decider(by.stage)
    lines = [line]
    if normalize(own.label) != normalize(instance.label):
        lines.append(f"fusion had called it {instance.label}")
    data = {"label": own.label, "score": own.score, "votes": support, "fused": instance.label}
    return Aspect("label", tuple(lines), data, by)


def attributes(evidence: Evidence, instance: Instance) -> Aspect:
    """Texts of every source about the object."""
    rows: list[tuple[str, str, str]] = []
    for source, found in evidence.members(ATTRIBUTES).items():
        made = evidence.maker(ATTRIBUTES.of(source))
        who = writer(made) or source
        rows += [(a.text, source, who) for a in found if a.object_id == instance.id]
    if not rows and not evidence.members(ATTRIBUTES):
        return Aspect("attributes", (_absent(evidence, "attributes"),))
    data = [{"text": text, "source": source} for text, source, _ in rows]
    lines = aligned([(text, who) for text, _, who in rows]) if rows else ("none",)
    return Aspect("attributes", lines, data)


def affordances(evidence: Evidence, instance: Instance) -> Aspect | None:
    """What the object is good for, with the words that say so; None where nobody has looked."""
    found = evidence.value(AFFORDANCES)
    if found is None:
        return None
    mine = [use for use in found if instance.id in use.object_ids]
    lines = tuple(f"{use.category} ({', '.join(use.labels)})" for use in mine)
    by = decided(evidence, AFFORDANCES, "words", "table", "defects")
    return Aspect("affordances", lines or ("none in the table",), [u.category for u in mine], by)


def _absent(evidence: Evidence, family: str) -> str:
    stages = [s for key, s in evidence.stages.items() if key.startswith(f"{family}.")]
    told = ", ".join(f"{s.key} {s.condition}{': ' * bool(s.note)}{s.note}" for s in stages)
    return told or f"the run has no stage '{family}'"


def phrases(evidence: Evidence, instance: Instance) -> Aspect:
    """Caption phrases that mean the object, with the grounders' boxes behind them."""
    links = evidence.value(LINKS)
    if links is None:
        return unmade(evidence, "phrases", LINKS, "linking")
    boxes = evidence.members(PHRASE_BOXES)
    rows: list[tuple[str, ...]] = []
    data = []
    for link in links:
        if instance.id not in link.object_ids:
            continue
        best = _best_box(boxes, link.text, instance)
        if evidence.imported(LINKS) is not None:
            how = "as it was imported"
        elif best is None:
            how = "by its label: no grounder gave it a box here"
        else:
            source, score, overlap = best
            how = f"box of {source} {number(score)}, IoU {number(overlap)}"
        also = [f"#{i}" for i in link.object_ids if i != instance.id]
        rows.append(
            (
                f'"{link.text}"',
                f"caption {link.source}",
                how + (f", with {' '.join(also)}" if also else ""),
            )
        )
        data.append({"text": link.text, "source": link.source, "how": how})
    names = ("agreeing_iou", "any_iou", "min_score", "by_label")
    by = decided(evidence, LINKS, *names) if rows else Decider()
    return Aspect("phrases", aligned(rows) if rows else ("none",), data, by)


def _best_box(
    boxes: Mapping[str, tuple[PhraseBox, ...]], text: str, instance: Instance
) -> tuple[str, float | None, float] | None:
    around = geometry.as_boxes([instance.box])
    found = [
        (source, box.score, float(geometry.iou(geometry.as_boxes([box.box]), around)[0, 0]))
        for source, given in boxes.items()
        for box in given
        if _fold(box.text) == _fold(text)
    ]
    close = [one for one in found if one[2] > 0]
    return max(close, key=lambda one: one[2], default=None)


def _fold(text: str) -> str:
    return " ".join(spans.nfc(text).lower().split())


def relations(evidence: Evidence, instance: Instance) -> Aspect:
    """Relations that the object takes part in."""
    found = evidence.value(RELATIONS)
    if found is None:
        return unmade(evidence, "relations", RELATIONS, "relations")
    names = {i.id: f"{label_of(evidence, i)} #{i.id}" for i in instances(evidence)}
    mine = [r for r in found if instance.id in (r.subject, r.object)]
    rows = [
        (
            names.get(r.subject, f"#{r.subject}"),
            r.predicate,
            names.get(r.object, f"#{r.object}"),
            r.source,
        )
        for r in mine
    ]
    data = [
        {"subject": r.subject, "predicate": r.predicate, "object": r.object, "source": r.source}
        for r in mine
    ]
    by = decided(evidence, RELATIONS, "normalize_depth") if rows else Decider()
    return Aspect("relations", aligned(rows) if rows else ("none",), data, by)


def captions(evidence: Evidence, instance: Instance) -> Aspect | None:
    """Spans of the short captions; None before linking, which `phrases` explains."""
    found = evidence.value(GROUNDED_CAPTIONS)
    if found is None:
        return None
    rows = [
        (caption.source, *_quoted(caption.text, span))
        for caption in found
        for span in caption.spans
        if instance.id in span.object_ids
    ]
    return Aspect(
        "captions", aligned(rows) if rows else ("not mentioned",), [list(r) for r in rows]
    )


def dense_caption(evidence: Evidence, instance: Instance) -> Aspect:
    """Spans of the dense caption, and whether the language model pointed there itself."""
    dense = evidence.value(DENSE_CAPTION)
    if dense is None:
        return unmade(evidence, "dense caption", DENSE_CAPTION, "dense_grounding")
    by = decided(evidence, DENSE_CAPTION, "match")
    # GranD's rules read no references, whatever the model wrote.
    draft = evidence.value(DENSE_DRAFT) if "match" in by.options else None
    marked = structured.read(draft.answer).marked if draft else ()
    own = {_fold(piece.text) for piece in marked if instance.id in (piece.ids or ())}
    rows: list[tuple[str, str, str]] = []
    data = []
    for span in dense.spans:
        if instance.id in span.object_ids:
            said = dense.text[span.start : span.end]
            how = "the model's own reference" if _fold(said) in own else "matched by its words"
            how = "as it was imported" if evidence.imported(DENSE_CAPTION) else how
            rows.append((*_quoted(dense.text, span), how))
            data.append({"text": said, "start": span.start, "end": span.end, "how": how})
    drafted = writer(evidence.maker(DENSE_DRAFT))
    lines = aligned(rows) if rows else ("not mentioned",)
    if drafted:
        lines = (*lines, drafted if drafted.startswith("imported") else f"written by {drafted}")
    return Aspect("dense caption", lines, data, by)


def _quoted(text: str, span: Span) -> tuple[str, str]:
    return f'"{text[span.start : span.end]}"', f"[{span.start}, {span.end})"


def scene_graph(evidence: Evidence, instance: Instance) -> Aspect:
    """The object's entry in the text that language models read, or why there is none."""
    text = evidence.value(SCENE_GRAPH)
    if text is None:
        return unmade(evidence, "scene graph", SCENE_GRAPH, "scene_graph")
    names = ("min_score", "max_nodes", "stuff", "floating", "relations", "max_relations")
    by = decided(evidence, SCENE_GRAPH, *names)
    entry = _entry(text, instance.id)
    if entry is not None:
        return Aspect("scene graph", (entry,), entry, Decider(by.stage))
    return Aspect("scene graph", (f"left out{_left_out(instance, by)}",), None, by)


def _entry(text: str, object_id: int) -> str | None:
    """The entry whose leading references hold the object."""
    for piece in re.split(r"\n|; ", text):
        entry = re.sub(r"^- (?:group \d+: )?", "", piece.strip())
        head = re.match(r"(?:\[\d+\])+", entry)
        if head and f"[{object_id}]" in head[0]:
            return entry
    return None


def _left_out(instance: Instance, by: Decider) -> str:
    least = by.options.get("min_score")
    if instance.status == "floating":
        return ": it floats"
    if least is not None and instance.score is not None and instance.score < least:
        return f": score {number(instance.score)} below {least}"
    if instance.kind == "stuff" and by.options.get("stuff") is False:
        return ": a region"
    return ""


def referred(ids: Sequence[int]) -> str:
    """`#1 #2`."""
    return " ".join(f"#{i}" for i in ids)
