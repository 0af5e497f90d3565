"""Dense captions: nothing invented, facts true, masks of grounded phrases."""

from __future__ import annotations

from collections.abc import Sequence

from grand_pipeline.evaluation.claims import claims
from grand_pipeline.evaluation.lexicon import Lexicon
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.pairing import ImagePair, Objects, color_of, mean, share
from grand_pipeline.evaluation.similarity import TextSimilarity
from grand_pipeline.geometry import rle_iou
from grand_pipeline.types import Rle

RECALL_IOU = 0.5
RECALL_SIMILARITY = 0.5
_FACTS = ("class", "color", "count", "relation")


def dense_scores(pairs: Sequence[ImagePair], lexicon: Lexicon) -> Scores:
    """Scores of dense captions; the first two over the images that have one."""
    written = [(p, p.predicted.dense_caption.text) for p in pairs if p.predicted.dense_caption]
    checked = [c for p, text in written for c in claims(text, p.truth, lexicon)]
    facts = [c for c in checked if c.kind in _FACTS]
    by_kind: Scores = {
        f"dense_caption.{kind}_true": mean(c.true for c in checked if c.kind == kind)
        for kind in (*_FACTS, "stuff")
    }
    return {
        "dense_caption.coverage": share(len(written), len(pairs)),
        "dense_caption.no_invented_class": mean(
            not invented(text, p.predicted.objects, lexicon) for p, text in written
        ),
        "dense_caption.no_invented_class_truth": mean(
            not invented(text, p.truth.objects, lexicon) for p, text in written
        ),
        "dense_caption.facts_true": mean(c.true for c in facts),
        **by_kind,
        "dense_caption.facts": float(len(facts)),
        "dense_caption.mask_recall": mask_recall(pairs, lexicon),
    }


def invented(text: str, objects: Objects, lexicon: Lexicon) -> set[str]:
    """Thing classes (and hypernyms) that a text names and no object has."""
    labels = {o.label for o in objects}
    general = {lexicon.hypernyms[label] for label in labels & lexicon.hypernyms.keys()}
    named = {m.name for m in lexicon.mentions(text) if m.kind != "stuff"}
    return named - labels - general


def mask_recall(pairs: Sequence[ImagePair], lexicon: Lexicon) -> float | None:
    """Share of true things that a grounded phrase of the dense caption describes and covers.

    As in grounded conversation generation: the true phrase of a thing is "a {colour} {class}"; a
    predicted one is a span with the mask of one of its objects. Pairs are taken greedily by mask
    IoU, each phrase and each thing once, and accepted with IoU >= 0.5 and text similarity >= 0.5
    (cosine of character n-grams weighted by rarity, after `Lexicon.plain`, so that plurals,
    synonyms and articles do not count as differences). A pair that fails does not end the search.
    Images without a dense caption count with nothing found.
    """
    true = [_true_phrases(pair, lexicon) for pair in pairs]
    similarity = TextSimilarity.fit([text for phrases in true for text, _ in phrases])
    found = sum(
        _found(_grounded_phrases(pair, lexicon), phrases, similarity)
        for pair, phrases in zip(pairs, true, strict=True)
    )
    return share(found, sum(len(phrases) for phrases in true))


def _true_phrases(pair: ImagePair, lexicon: Lexicon) -> list[tuple[str, Rle]]:
    named = ((o, color_of(o, lexicon), o.mask) for o in pair.true_things)
    return [(f"{c} {o.label}" if c else o.label, m) for o, c, m in named if m is not None]


def _grounded_phrases(pair: ImagePair, lexicon: Lexicon) -> list[tuple[str, Rle]]:
    """(phrase, mask) for every object of every span, repeated mentions once."""
    dense = pair.predicted.dense_caption
    masks = {o.id: o.mask for o in pair.predicted.objects if o.mask is not None}
    spans = dense.spans if dense else ()
    text = dense.text if dense else ""
    found = {(lexicon.plain(text[s.start : s.end]), i) for s in spans for i in s.object_ids}
    return [(phrase, masks[i]) for phrase, i in sorted(found) if i in masks]


def _found(
    ours: list[tuple[str, Rle]], true: list[tuple[str, Rle]], similarity: TextSimilarity
) -> int:
    """Number of true phrases found, one to one."""
    same_size = [(text, mask) for text, mask in ours if true and mask.size == true[0][1].size]
    overlap = rle_iou([mask for _, mask in same_size], [mask for _, mask in true])
    candidates = [
        (-float(overlap[i, j]), i, j)
        for i, (said, _) in enumerate(same_size)
        for j, (wanted, _) in enumerate(true)
        if overlap[i, j] >= RECALL_IOU and similarity(said, wanted) >= RECALL_SIMILARITY
    ]
    used: set[int] = set()
    done: set[int] = set()
    for _, i, j in sorted(candidates):
        if i not in used and j not in done:
            used.add(i)
            done.add(j)
    return len(done)
