"""Counts and distributions of a run: what was annotated, how, and what was dropped."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from grand_pipeline.columns import Annotation, ImageRow, PublishedObject
from grand_pipeline.terminal import one_line

TOP = 20
_LETTERS = 80


@dataclass
class _Tally:
    """Running counts, so that a run of any size is read once and never held."""

    images: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    mask_sources: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    attributes: Counter[str] = field(default_factory=Counter)
    layers: Counter[str] = field(default_factory=Counter)
    landmarks: Counter[str] = field(default_factory=Counter)
    tags: Counter[str] = field(default_factory=Counter)
    predicates: Counter[str] = field(default_factory=Counter)
    voters: Counter[str] = field(default_factory=Counter)
    per_image: Counter[int] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    errors: Counter[str] = field(default_factory=Counter)


def stats(annotations: Iterable[Annotation], images: Iterable[ImageRow]) -> dict[str, Any]:
    """A nested, JSON-ready report; both inputs are read once."""
    tally = _Tally()
    for row in annotations:
        _count(tally, row)
    rows = list(_dropped(images))
    total = sum(tally.statuses.values())
    return {
        "images": {
            "distinct": len(rows),
            "annotated": tally.images,
            "duplicates": sum(duplicates for duplicates, _ in rows),
            "dropped": dict(Counter(reason for _, reason in rows if reason).most_common()),
        },
        "objects": {
            "total": total,
            "per_image": _spread(list(tally.per_image.elements())),
            "status": dict(tally.statuses.most_common()),
            "kind": dict(tally.kinds.most_common()),
            "labels": dict(tally.labels.most_common(TOP)),
            "distinct_labels": len(tally.labels),
            "attributes": dict(tally.attributes.most_common(TOP)),
            "layers": dict(tally.layers.most_common()),
        },
        "masks": {
            "share": _share(sum(tally.mask_sources.values()), total),
            "source": dict(tally.mask_sources.most_common()),
        },
        "votes": _agreement(tally, total),
        "texts": {name: _spread(words) for name, words in sorted(tally.lengths.items())},
        "grounding": dict(sorted(tally.totals.items())),
        "relations": {
            "total": sum(tally.predicates.values()),
            "predicates": dict(tally.predicates.most_common(TOP)),
        },
        "scenes": {
            "tags": dict(tally.tags.most_common(TOP)),
            "landmarks": dict(tally.landmarks.most_common(TOP)),
        },
        "errors": {"by_stage": dict(tally.errors.most_common())},
    }


def _count(tally: _Tally, row: Annotation) -> None:
    tally.images += 1
    tally.per_image[len(row.objects)] += 1
    for thing in row.objects:
        _count_object(tally, thing)
    tally.tags.update(tag.name for tag in row.tags)
    tally.predicates.update(relation.predicate for relation in row.relations)
    tally.errors.update(error.stage for error in row.errors)
    if row.landmark is not None:
        tally.landmarks[f"{row.landmark.category}: {row.landmark.fine_category}"] += 1
    texts = [(f"caption ({c.source})", c.text) for c in row.captions]
    if row.dense_caption is not None:
        texts.append(("dense caption", row.dense_caption.text))
        tally.totals["dense_caption_spans"] += len(row.dense_caption.spans)
    if row.context is not None:
        texts.append(("context", row.context.text))
    for name, text in texts:
        tally.lengths.setdefault(name, []).append(len(text.split()))
    tally.totals["caption_spans"] += sum(len(c.spans) for c in row.captions)
    tally.totals["phrases"] += len(row.phrases)
    tally.totals["phrases_linked"] += sum(bool(link.object_ids) for link in row.phrases)


def _count_object(tally: _Tally, thing: PublishedObject) -> None:
    tally.statuses[thing.status] += 1
    tally.kinds[thing.kind or "unknown"] += 1
    tally.labels[thing.label] += 1
    tally.attributes.update(attribute.text for attribute in thing.attributes)
    if thing.mask is not None:
        tally.mask_sources[thing.mask_source or "unknown"] += 1
    if thing.layer is not None:
        tally.layers[thing.layer] += 1
    voters = sorted({vote.source for vote in thing.votes})
    tally.voters[" + ".join(voters) or "none"] += 1
    if len(voters) > 1:
        tally.totals["agreed_labels"] += len({vote.label for vote in thing.votes}) == 1


def _agreement(tally: _Tally, total: int) -> dict[str, Any]:
    """Which sources voted together, and how often those who did said the same word."""
    several = sum(n for voters, n in tally.voters.items() if " + " in voters)
    return {
        "by_sources": dict(tally.voters.most_common()),
        "by_several_share": _share(several, total),
        "same_label_share": _share(tally.totals.pop("agreed_labels", 0), several),
    }


def _dropped(images: Iterable[ImageRow]) -> Iterable[tuple[int, str]]:
    """(number of duplicates, short reason why it is not annotated or "") of each image."""
    for row in images:
        yield len(row.duplicates), _reason(row.error) if row.error else ""


def _reason(error: str) -> str:
    """The kind of an error: without the numbers and quotations that make each one different."""
    plain = re.sub(r"'[^']*'|b'.*'", "...", error.splitlines()[0] if error else "")
    return re.sub(r"\d+", "N", plain).split(": ")[0][:80]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _spread(values: list[int]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    return {
        "mean": sum(ordered) / len(ordered),
        "min": ordered[0],
        "median": ordered[len(ordered) // 2],
        "max": ordered[-1],
    }


def text(report: Mapping[str, Any]) -> str:
    """The report as a short aligned table; empty parts are left out."""
    blocks: list[str] = []
    for group, entries in report.items():
        body = [line for name, value in entries.items() for line in _entry(name, value)]
        if body:
            blocks.append("\n".join([group, *body]))
    return "\n\n".join(blocks)


def _entry(name: str, value: object) -> list[str]:
    if value is None or value == {}:
        return []
    title = f"  {_name(name.replace('_', ' ')):<22}"
    if isinstance(value, dict):
        parts = [f"{_name(key)} {_number(number)}" for key, number in value.items()]
        return _wrapped(title, parts)
    return [f"{title}{_number(value)}"]


def _name(key: object) -> str:
    """A label or a source, of which the data may have any, in its place."""
    line = one_line(str(key)[:_LETTERS])
    return line if len(str(key)) <= _LETTERS else f"{line}..."


def _wrapped(title: str, parts: list[str], width: int = 100) -> list[str]:
    """Comma-separated parts in lines under a hanging title."""
    lines, current = [], title
    for number, part in enumerate(parts):
        piece = part + ("," if number + 1 < len(parts) else "")
        if len(current) + len(piece) + 1 > width and current.strip() != title.strip():
            lines.append(current.rstrip())
            current = " " * len(title)
        current += piece + " "
    return [*lines, current.rstrip()]


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 1 else f"{value:.1f}"
    return str(value)
