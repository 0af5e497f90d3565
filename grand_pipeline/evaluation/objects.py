"""Objects and their colours: average precision, precision and recall, votes of each source."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from grand_pipeline.columns import PublishedObject
from grand_pipeline.evaluation.lexicon import Lexicon
from grand_pipeline.evaluation.pairing import (
    MATCH_IOU,
    ImagePair,
    Match,
    color_of,
    f1,
    mean,
    score_of,
    share,
)
from grand_pipeline.evaluation.precision import Sample, Scored, Target, average_precision
from grand_pipeline.geometry import as_boxes, iou

Key = Callable[[PublishedObject], Hashable]
"""The class of an object for one metric; None leaves the object out."""

Scores = dict[str, float | None]


def object_scores(pairs: Sequence[ImagePair], lexicon: Lexicon) -> Scores:
    """Everything about boxes and labels of objects."""

    def hypernym(thing: PublishedObject) -> Hashable:
        general = thing.label in lexicon.hypernyms.values()
        return thing.label if general else lexicon.hypernyms.get(thing.label)

    def phrase(thing: PublishedObject, *, held_out: bool) -> Hashable:
        name = (thing.label, color_of(thing, lexicon))
        return name if name[1] and (name in lexicon.held_out) == held_out else None

    curve = average_precision([_sample(p, _label, "thing") for p in pairs])
    scores: Scores = {
        "objects.ap50": None if curve is None else float(curve[0]),
        "objects.ap": None if curve is None else float(curve.mean()),
        "objects.ap50_heldout": _ap50(pairs, lambda o: phrase(o, held_out=True)),
        "objects.ap50_seen_phrases": _ap50(pairs, lambda o: phrase(o, held_out=False)),
        "objects.ap50_hypernyms": _ap50(pairs, hypernym),
        "objects.ap50_stuff": _ap50(pairs, _label, "stuff"),
        "objects.ap50_with_floating": _ap50(pairs, _label, statuses=("object", "floating")),
    }
    scores |= _precision_recall(
        sum(len(p.matched_things) for p in pairs),
        sum(len(p.voted_things) for p in pairs),
        sum(len(p.true_things) for p in pairs),
    )
    return scores | vote_scores(pairs, lexicon)


def _label(thing: PublishedObject) -> Hashable:
    return thing.label


def _ap50(
    pairs: Sequence[ImagePair],
    key: Key,
    kind: str = "thing",
    statuses: Sequence[str] = ("object",),
) -> float | None:
    samples = [_sample(p, key, kind, statuses) for p in pairs]
    curve = average_precision(samples, np.array([MATCH_IOU]))
    return None if curve is None else float(curve[0])


def _sample(pair: ImagePair, key: Key, kind: str, statuses: Sequence[str] = ("object",)) -> Sample:
    """One image as the average precision wants it."""
    ours = [o for o in pair.predicted.objects if o.kind == kind and o.status in statuses]
    true = [o for o in pair.truth.objects if o.kind == kind]
    return Sample(
        tuple(Scored(key(o), o.box, score_of(o)) for o in ours if key(o) is not None),
        tuple(Target(key(o), o.box) for o in true if key(o) is not None),
    )


def _precision_recall(hits: int, predicted: int, truths: int, source: str = "") -> Scores:
    precision, recall = share(hits, predicted), share(hits, truths)
    return {
        f"objects.precision{source}": precision,
        f"objects.recall{source}": recall,
        f"objects.f1{source}": f1(precision, recall),
    }


def vote_scores(pairs: Sequence[ImagePair], lexicon: Lexicon) -> Scores:
    """Precision and recall at IoU 0.5 of each source alone, whatever the vote made of its word.

    A source is judged by the objects (of any status) that it voted for, with its own label and
    score, at the box that is published for it. Phrase grounders vote too and are listed too.
    """
    things = [o for p in pairs for o in p.predicted.objects if o.kind == "thing"]
    scores: Scores = {}
    for source in sorted({vote.source for o in things for vote in o.votes}):
        samples = [_voted_sample(p, source, lexicon) for p in pairs]
        hits = sum(hit_count(sample) for sample in samples)
        predicted = sum(len(sample.predicted) for sample in samples)
        truths = sum(len(sample.truth) for sample in samples)
        scores |= _precision_recall(hits, predicted, truths, f".{source}")
        curve = average_precision(samples, np.array([MATCH_IOU]))
        scores[f"objects.ap50.{source}"] = None if curve is None else float(curve[0])
    return scores


def _voted_sample(pair: ImagePair, source: str, lexicon: Lexicon) -> Sample:
    found: list[Scored] = []
    for thing in pair.predicted.objects:
        votes = [v for v in thing.votes if v.source == source]
        if votes and thing.kind == "thing":
            best = max(votes, key=lambda v: v.score or 0.0)
            found.append(Scored(lexicon.canonical(best.label), thing.box, best.score or 0.0))
    return Sample(tuple(found), tuple(Target(o.label, o.box) for o in pair.true_things))


def hit_count(sample: Sample) -> int:
    """True boxes found at IoU 0.5 by a box of their class: one to one, best score first."""
    overlap = iou(
        as_boxes([p.box for p in sample.predicted]), as_boxes([t.box for t in sample.truth])
    )
    free = set(range(len(sample.truth)))
    hits = 0
    for i in sorted(range(len(sample.predicted)), key=lambda i: -sample.predicted[i].score):
        same = [j for j in free if sample.truth[j].key == sample.predicted[i].key]
        best = max(same, key=lambda j: float(overlap[i, j]), default=None)
        if best is not None and overlap[i, best] >= MATCH_IOU:
            free.remove(best)
            hits += 1
    return hits


def color_scores(pairs: Sequence[ImagePair], lexicon: Lexicon) -> Scores:
    """Colour of matched things whose true colour is known; an object without colour is wrong."""

    def right(match: Match) -> bool:
        return color_of(match.predicted, lexicon) == color_of(match.truth, lexicon)

    known = [m for p in pairs for m in p.matched_things if color_of(m.truth, lexicon)]
    named = [m for m in known if color_of(m.predicted, lexicon)]
    return {
        "attributes.color_accuracy": mean(right(m) for m in known),
        "attributes.color_coverage": share(len(named), len(known)),
    }
