"""Short captions: what they mention, whether phrases point at the right objects, spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from grand_pipeline.columns import Annotation, PublishedObject
from grand_pipeline.evaluation.lexicon import Lexicon, Mention
from grand_pipeline.evaluation.objects import Scores
from grand_pipeline.evaluation.pairing import (
    MATCH_IOU,
    ImagePair,
    Objects,
    color_of,
    mean,
)
from grand_pipeline.geometry import area, as_boxes, iou, rle_area
from grand_pipeline.types import Caption, Span

LARGEST = 3
"""A caption is expected to mention this many things, the largest ones."""


def referents(mention: Mention, objects: Objects, lexicon: Lexicon) -> Objects:
    """Objects that fit a mention: its class (or hypernym) and, where it says one, its colour."""

    def fits(thing: PublishedObject) -> bool:
        name = lexicon.hypernyms.get(thing.label) if mention.kind == "hypernym" else thing.label
        return name == mention.name and mention.color in (None, color_of(thing, lexicon))

    return tuple(o for o in objects if fits(o))


def mention_scores(pairs: Sequence[ImagePair], lexicon: Lexicon) -> Scores:
    """Classes named in captions.

    Precision: share of the thing classes (or hypernyms) that a caption names which are in the
    image. Recall: share of the three largest true things whose class some caption of the image
    names; images without caption count with nothing named. `mention_recall_truth` is what one
    true caption alone reaches: more can not be expected of a captioner that learned from them.
    """
    precise: list[float] = []
    stuff: list[float] = []
    recalled: list[float] = []
    reachable: list[float] = []
    for pair in pairs:
        largest = sorted(pair.true_things, key=_extent, reverse=True)[:LARGEST]
        words: set[str] = set()
        for caption in pair.predicted.captions:
            named = {(m.name, m.kind) for m in lexicon.mentions(caption.text)}
            words |= {name for name, _ in named}
            for name, kind in named:
                present = any(name in (o.label, _general(o, lexicon)) for o in pair.truth.objects)
                (stuff if kind == "stuff" else precise).append(float(present))
        recalled += [float(thing.label in words) for thing in largest]
        for caption in pair.truth.captions[:1]:
            known = {m.name for m in lexicon.mentions(caption.text)}
            reachable += [float(thing.label in known) for thing in largest]
    return {
        "captions.mention_precision": mean(precise),
        "captions.mention_recall": mean(recalled),
        "captions.mention_recall_truth": mean(reachable),
        "captions.stuff_precision": mean(stuff),
        "captions.coverage": mean(float(bool(p.predicted.captions)) for p in pairs),
    }


def _general(thing: PublishedObject, lexicon: Lexicon) -> str | None:
    return lexicon.hypernyms.get(thing.label)


def _extent(thing: PublishedObject) -> float:
    """Area in pixels: of the mask, or of the box without one."""
    return float(rle_area(thing.mask) if thing.mask else area(as_boxes([thing.box]))[0])


def phrase_scores(pairs: Sequence[ImagePair], lexicon: Lexicon) -> Scores:
    """Whether caption phrases are tied to the right objects.

    The true objects of a phrase follow from its words and the truth (`referents`). A phrase is
    right when it is linked and each of its objects overlaps one of them with IoU >= 0.5. A phrase
    without link is wrong where some predicted object overlaps one of them, and left out
    ("undetected") where none does. Phrases that fit no true object are "unanswerable". Phrases
    about stuff count apart.
    """
    verdicts: dict[str, list[float]] = {"thing": [], "stuff": []}
    unanswerable = undetected = 0
    for pair in pairs:
        for mention, ids in phrases(pair.predicted, lexicon):
            fitting = referents(mention, pair.truth.objects, lexicon) if mention else ()
            if mention is None or not fitting:
                unanswerable += 1
                continue
            right = _pointed_right(pair.predicted.objects, ids, fitting)
            if right is None:
                undetected += 1
            else:
                verdicts["stuff" if mention.kind == "stuff" else "thing"].append(float(right))
    return {
        "phrases.accuracy": mean(verdicts["thing"]),
        "phrases.accuracy_stuff": mean(verdicts["stuff"]),
        "phrases.counted": float(len(verdicts["thing"])),
        "phrases.unanswerable": float(unanswerable),
        "phrases.undetected": float(undetected),
    }


def _pointed_right(objects: Objects, ids: Sequence[int], fitting: Objects) -> bool | None:
    """The verdict on one phrase; None where there was nothing to point at."""
    overlap = iou(as_boxes([o.box for o in objects]), as_boxes([o.box for o in fitting]))
    good = {o.id for o, row in zip(objects, overlap, strict=True) if row.max() >= MATCH_IOU}
    if not ids:
        return False if good else None
    return all(i in good for i in ids)


def phrases(row: Annotation, lexicon: Lexicon) -> Iterator[tuple[Mention | None, tuple[int, ...]]]:
    """What each phrase of the captions is about, and the objects it is tied to.

    Spans of the captions, then named classes that no span covers; those take the objects of a
    published phrase of the same caption with the same words, if there is one.
    """
    for caption in row.captions:
        for span in caption.spans:
            yield lexicon.head(caption.text[span.start : span.end]), span.object_ids
        for mention in lexicon.mentions(caption.text):
            if not any(s.start < mention.end and mention.start < s.end for s in caption.spans):
                yield mention, _linked(row, caption, mention)


def _linked(row: Annotation, caption: Caption, mention: Mention) -> tuple[int, ...]:
    words = caption.text[mention.start : mention.end].lower()
    for link in row.phrases:
        if link.source == caption.source and words in link.text.lower():
            return link.object_ids
    return ()


def span_scores(pairs: Sequence[ImagePair]) -> Scores:
    """Share of spans and published phrases that are formally right.

    A span lies inside its text, cuts no word and names existing objects; in a caption of a row
    with published phrases it is one of them. A published phrase names existing objects and, where
    a caption of its source is published, stands in it as whole words.
    """
    verdicts = [ok for pair in pairs for ok in _checks(pair.predicted)]
    return {"spans.valid": mean(verdicts), "spans.counted": float(len(verdicts))}


def _checks(row: Annotation) -> Iterator[bool]:
    ids = {o.id for o in row.objects}
    listed = {link.text for link in row.phrases}
    for caption in row.captions:
        for span in caption.spans:
            said = caption.text[span.start : span.end]
            known = not listed or said in listed
            yield known and _whole(caption.text, span) and _exist(span.object_ids, ids)
    if row.dense_caption is not None:
        for span in row.dense_caption.spans:
            yield _whole(row.dense_caption.text, span) and _exist(span.object_ids, ids)
    for link in row.phrases:
        texts = [c.text for c in row.captions if c.source == link.source]
        present = not texts or any(_stands_in(link.text, text) for text in texts)
        yield present and _exist(link.object_ids, ids)


def _exist(wanted: Sequence[int], ids: set[int]) -> bool:
    return all(i in ids for i in wanted)


def _whole(text: str, span: Span) -> bool:
    """Whether a span lies in its text, is not empty and cuts no word in two."""
    if not 0 <= span.start < span.end <= len(text):
        return False
    before, after = text[span.start - 1 : span.start], text[span.end : span.end + 1]
    first, last = text[span.start], text[span.end - 1]
    cut_start = bool(before) and before.isalnum() and first.isalnum()
    cut_end = bool(after) and after.isalnum() and last.isalnum()
    return not cut_start and not cut_end


def _stands_in(phrase: str, text: str) -> bool:
    start = text.find(phrase)
    while phrase and start >= 0:
        if _whole(text, Span(start, start + len(phrase), ())):
            return True
        start = text.find(phrase, start + 1)
    return False
