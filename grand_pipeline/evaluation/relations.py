"""Relations as (subject, predicate, object) triples in true ids."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from grand_pipeline.columns import Annotation
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.pairing import ImagePair, f1, share
from grand_pipeline.statements import Triple, normal

__all__ = ["Triple", "normal", "relation_scores", "triples"]


def triples(row: Annotation) -> set[Triple]:
    """The distinct relations of a row, whatever their source."""
    return {normal(r.subject, r.predicate, r.object) for r in row.relations}


def relation_scores(pairs: Sequence[ImagePair]) -> Scores:
    """F1 on matched objects, things and stuff: relations with an unmatched end are left out on
    both sides. The keys with `_all` count every relation; there an unmatched end is a mistake.
    """
    hits = predicted = truths = every_predicted = every_truth = 0
    for pair in pairs:
        names = {m.predicted.id: m.truth.id for m in pair.matches}
        ours, true = triples(pair.predicted), triples(pair.truth)
        every_predicted += len(ours)
        every_truth += len(true)
        ours = {normal(names[s], p, names[o]) for s, p, o in _between(ours, names)}
        true = _between(true, names.values())
        hits += len(ours & true)
        predicted += len(ours)
        truths += len(true)
    precision, recall = share(hits, predicted), share(hits, truths)
    return {
        "relations.f1": f1(precision, recall),
        "relations.precision": precision,
        "relations.recall": recall,
        "relations.f1_all": f1(share(hits, every_predicted), share(hits, every_truth)),
    }


def _between(found: Collection[Triple], ids: Collection[int]) -> set[Triple]:
    """The triples with both ends among `ids`."""
    known = set(ids)
    return {triple for triple in found if triple[0] in known and triple[2] in known}
