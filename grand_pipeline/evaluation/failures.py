"""What went wrong, kind by kind: every failure of a run against a truth, with its image.

Each true thing fails in at most one of the first four ways, each voted thing in at most one of the
next two; the others are counted claim by claim.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from grand_pipeline.evaluation.claims import claims
from grand_pipeline.evaluation.lexicon import Lexicon, picturebook_lexicon
from grand_pipeline.evaluation.pairing import MATCH_IOU, ImagePair, Objects, color_of, join
from grand_pipeline.evaluation.relations import normal, triples
from grand_pipeline.geometry import as_boxes, iou, rle_iou
from grand_pipeline.store import Run
from grand_pipeline.types import FloatArray

NEAR_IOU = 0.1
"""From this box IoU on, two boxes are about the same place."""
POOR_MASK_IOU = 0.7
"""A matched thing's mask below this IoU counts as a failure."""

KINDS = {
    "wrong class": "a voted thing lies on the true one, with another class",
    "floating": "the right box is there with too few votes",
    "loose box": "a voted thing of the right class overlaps it, IoU below 0.5",
    "missed": "nothing of its class is near",
    "double": "a voted thing lies on a true one that another voted thing has found",
    "invented": "a voted thing lies on no true one (IoU below 0.5)",
    "poor mask": "a thing is found, its mask has IoU below 0.7",
    "wrong color": "a thing is found, its colour is another",
    "wrong relation": "a relation between found things that the truth does not hold",
    "missed relation": "a true relation between found things that is not said",
    "caption class": "a short caption names a class that is not there",
    "dense claim": "a class, colour, count or relation of the dense caption is false",
}
"""Kinds of failure and what they mean."""


@dataclass(frozen=True)
class Failure:
    """One failure: its kind (of `KINDS`), the image, and what was there and said."""

    kind: str
    image_id: str
    detail: str


def failures(pairs: Sequence[ImagePair], lexicon: Lexicon) -> tuple[Failure, ...]:
    """Every failure of the images, image by image."""
    return tuple(
        Failure(kind, pair.image_id, detail)
        for pair in pairs
        for kind, detail in (
            *_objects(pair),
            *_parts(pair, lexicon),
            *_relations(pair),
            *_texts(pair, lexicon),
        )
    )


def of_runs(run: Run, truth: Run) -> tuple[tuple[Failure, ...], tuple[ImagePair, ...]]:
    """The failures of a run directory against a truth run, and the images they share.

    Raises RunError when they share none.
    """
    lexicon = picturebook_lexicon()
    pairs = join(run.annotations(), truth.annotations(), lexicon).pairs
    return failures(pairs, lexicon), pairs


def text(found: Sequence[Failure], pairs: Sequence[ImagePair], examples: int = 2) -> str:
    """The failures by kind: how many, in how many images, the commonest, some images."""
    files = _files(pairs)
    lines = [f"{len(pairs)} images", f"{'kind':<16} {'count':>6} {'in images':>10}"]
    for kind, meaning in KINDS.items():
        mine = [f for f in found if f.kind == kind]
        where = list(dict.fromkeys(f.image_id for f in mine))
        lines.append(f"{kind:<16} {len(mine):>6} {len(where):>10}  {meaning}")
        if mine:
            often = Counter(f.detail for f in mine).most_common(3)
            shown = ", ".join(Path(files[image_id]).name for image_id in where[:examples])
            lines.append(f"{'':<35} {', '.join(f'{d} ({n})' for d, n in often)}; see {shown}")
    return "\n".join(lines)


def rows(found: Sequence[Failure], pairs: Sequence[ImagePair]) -> list[dict[str, str]]:
    """The failures as flat rows for programs, with the file of each image."""
    files = _files(pairs)
    return [
        {"kind": f.kind, "image_id": f.image_id, "uri": files[f.image_id], "detail": f.detail}
        for f in found
    ]


def _files(pairs: Sequence[ImagePair]) -> dict[str, str]:
    return {pair.image_id: pair.predicted.uri for pair in pairs}


def _objects(pair: ImagePair) -> Iterator[tuple[str, str]]:
    """Things not found, and voted things that are none."""
    done = {m.truth.id for m in pair.matched_things}
    used = {m.predicted.id for m in pair.matched_things}
    voted, floating = pair.voted_things, _floating(pair)
    true = pair.true_things
    on_voted, on_floating = _overlap(true, voted), _overlap(true, floating)
    replaced: set[int] = set()
    for row, thing in enumerate(true):
        if thing.id in done:
            continue
        same = np.array([o.label == thing.label for o in voted], bool)
        there = [
            column
            for column in np.flatnonzero(on_voted[row] >= MATCH_IOU)
            if not same[column] and voted[column].id not in used
        ]
        if there:
            best = max(there, key=lambda c: on_voted[row, c])
            replaced.add(voted[best].id)
            yield "wrong class", f"{thing.label} as {voted[best].label}"
        elif any(
            o.label == thing.label and on_floating[row, c] >= MATCH_IOU
            for c, o in enumerate(floating)
        ):
            yield "floating", thing.label
        elif (same & (on_voted[row] >= NEAR_IOU)).any():
            yield "loose box", thing.label
        else:
            yield "missed", thing.label
    for column, thing in enumerate(voted):
        if thing.id not in used | replaced:
            over = on_voted[:, column].max(initial=0.0) >= MATCH_IOU
            yield "double" if over else "invented", thing.label


def _floating(pair: ImagePair) -> Objects:
    return tuple(o for o in pair.predicted.objects if o.kind == "thing" and o.status == "floating")


def _overlap(first: Objects, second: Objects) -> FloatArray:
    return iou(as_boxes([o.box for o in first]), as_boxes([o.box for o in second]))


def _parts(pair: ImagePair, lexicon: Lexicon) -> Iterator[tuple[str, str]]:
    """Masks and colours of the things that were found."""
    for match in pair.matched_things:
        ours, true = match.predicted.mask, match.truth.mask
        if true is not None and (
            ours is None or ours.size != true.size or rle_iou([ours], [true])[0, 0] < POOR_MASK_IOU
        ):
            yield "poor mask", match.truth.label
        said, is_ = color_of(match.predicted, lexicon), color_of(match.truth, lexicon)
        if is_ is not None and said != is_:
            yield "wrong color", f"{is_} as {said or 'nothing'}"


def _relations(pair: ImagePair) -> Iterator[tuple[str, str]]:
    """Relations between things and stuff that were found."""
    names = {m.predicted.id: m.truth.id for m in pair.matches}
    ours = {
        normal(names[s], p, names[o])
        for s, p, o in triples(pair.predicted)
        if s in names and o in names
    }
    known = set(names.values())
    true = {t for t in triples(pair.truth) if t[0] in known and t[2] in known}
    for _, predicate, _ in sorted(ours - true):
        yield "wrong relation", predicate
    for _, predicate, _ in sorted(true - ours):
        yield "missed relation", predicate


def _texts(pair: ImagePair, lexicon: Lexicon) -> Iterator[tuple[str, str]]:
    """False claims of the captions; of the short ones classes only."""
    for caption in pair.predicted.captions:
        for claim in claims(caption.text, pair.truth, lexicon):
            if claim.kind == "class" and not claim.true:
                yield "caption class", _bare(claim.text)
    dense = pair.predicted.dense_caption
    for claim in claims(dense.text, pair.truth, lexicon) if dense else ():
        if claim.kind != "stuff" and not claim.true:
            yield "dense claim", claim.kind


def _bare(said: str) -> str:
    return said.split()[-1]
