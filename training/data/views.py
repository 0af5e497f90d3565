"""What a recipe takes of a row: small pure functions from a row to a tuple of values.

Boxes are xyxy pixels of the row's view, `text[start:end]` is what a span promises. `NEEDS` says
which contents of a run each view can not do without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from grand_pipeline import geometry
from grand_pipeline.types import BoolArray, Box, FloatArray, Span
from training.data.rows import Object, Row
from training.data.source import Exclude, Rows, open_rows

View = Callable[[Row], tuple[Any, ...]]


@dataclass(frozen=True)
class ImageText:
    """A text about the whole picture; `source` is who wrote it."""

    text: str
    source: str


@dataclass(frozen=True)
class Region:
    """A text about a box: the name of an object, a phrase, or a relation with both its ends."""

    box: Box
    text: str
    kind: Literal["object", "phrase", "relation"]
    object_ids: tuple[int, ...]


@dataclass(frozen=True)
class Referring:
    """A text and the boxes it means, float32 (n, 4), at least one."""

    text: str
    object_ids: tuple[int, ...]
    boxes: FloatArray

    @property
    def box(self) -> Box:
        """The box around all of them."""
        return _around(geometry.box_tuples(self.boxes))


@dataclass(frozen=True)
class GroundedText:
    """A text with spans, at least one; each names objects in the picture."""

    text: str
    spans: tuple[Span, ...]
    source: str


@dataclass(frozen=True)
class Labeled:
    """An object with a label, as detectors learn it."""

    box: Box
    label: str
    kind: str | None
    score: float | None


@dataclass(frozen=True)
class Masked:
    """An object with a label and its pixels (h, w) in the view, at least one."""

    object_id: int
    label: str
    kind: str | None
    mask: BoolArray


@dataclass(frozen=True)
class WordPlace:
    """A word of a text and where it is in the picture; `box` is null for words without a place."""

    start: int
    end: int
    box: Box | None


@dataclass(frozen=True)
class LocatedText:
    """A text, and the place of every word of it in order; words are cut at white space."""

    text: str
    words: tuple[WordPlace, ...]
    source: str


def require(run: Path | str, *views: View, exclude: Exclude | None = None) -> Rows:
    """The rows of a run, with all that these views take of them.

    Raises RunError, before any training, when the run lacks something that a view needs; otherwise
    as `source.open_rows`, which also says what `exclude` does.
    """
    needs = [name for view in views for name in NEEDS[view]]
    uses = [f"{name}?" for view in views for name in USES.get(view, ())]
    return open_rows(run, [*needs, *uses], exclude)


def image_caption(row: Row) -> tuple[ImageText, ...]:
    """The captions of the picture, in the order of the row."""
    return tuple(ImageText(c.text, c.source) for c in row.captions if c.text.strip())


def dense_caption(row: Row) -> tuple[ImageText, ...]:
    """The dense caption as a text about the whole picture."""
    found = row.dense_caption
    return (ImageText(found.text, found.source),) if found and found.text.strip() else ()


def region_text(row: Row) -> tuple[Region, ...]:
    """Texts about boxes: objects with their attributes, grounded phrases, relations.

    An object's text is its label with its first attribute before it, or that attribute alone if
    the label is among its words. A phrase that means several objects has the box around them, a
    relation that around its two objects.
    """
    objects = [Region(o.box, named(o), "object", (o.id,)) for o in row.objects]
    phrases = [
        Region(_around([row.by_id[i].box for i in ids]), text, "phrase", ids)
        for text, ids in _phrases(row)
    ]
    relations = [
        Region(
            _around([row.by_id[r.subject].box, row.by_id[r.object].box]),
            f"{row.by_id[r.subject].label} {r.predicate} {row.by_id[r.object].label}",
            "relation",
            (r.subject, r.object),
        )
        for r in (row.relations if "relations" in row.reads else ())
    ]
    return (*objects, *phrases, *relations)


def referring(row: Row) -> tuple[Referring, ...]:
    """Phrases of the captions with the boxes they mean; equal phrases with equal boxes once."""
    return tuple(
        Referring(text, ids, geometry.as_boxes([row.by_id[i].box for i in ids]))
        for text, ids in _phrases(row)
    )


def grounded_caption(row: Row) -> tuple[GroundedText, ...]:
    """Captions and the dense caption with their spans, those without any left out."""
    texts = [GroundedText(c.text, c.spans, c.source) for c in row.captions]
    dense = row.dense_caption if "dense_caption" in row.reads else None
    if dense is not None:
        texts.append(GroundedText(dense.text, dense.spans, dense.source))
    return tuple(text for text in texts if text.spans)


def detection(row: Row) -> tuple[Labeled, ...]:
    """Objects with labels."""
    return tuple(Labeled(o.box, o.label, o.kind, o.score) for o in row.objects)


def segmentation(row: Row) -> tuple[Masked, ...]:
    """Objects with masks of which a pixel is in the view."""
    pairs = ((thing, row.mask(thing)) for thing in row.objects)
    return tuple(
        Masked(thing.id, thing.label, thing.kind, mask)
        for thing, mask in pairs
        if mask is not None and mask.any()
    )


def word_locations(row: Row) -> tuple[LocatedText, ...]:
    """Grounded texts with a place for every word: the box around the objects of its span."""
    return tuple(
        LocatedText(text.text, tuple(_words(row, text)), text.source)
        for text in grounded_caption(row)
    )


def named(thing: Object) -> str:
    """The label of an object with its first attribute."""
    first = thing.attributes[0] if thing.attributes else ""
    if not first:
        return thing.label
    held = thing.label.lower() in first.lower()
    return first if held else f"{first} {thing.label}"


NEEDS: dict[View, tuple[str, ...]] = {
    image_caption: ("captions",),
    dense_caption: ("dense_caption",),
    region_text: ("objects",),
    referring: ("objects", "phrases"),
    grounded_caption: ("objects", "captions.spans"),
    detection: ("objects",),
    segmentation: ("objects", "objects.mask"),
    word_locations: ("objects", "captions.spans"),
}
"""View -> contents that the run must have."""

USES: dict[View, tuple[str, ...]] = {
    region_text: ("phrases", "relations"),
    grounded_caption: ("dense_caption",),
    word_locations: ("dense_caption",),
}
"""View -> columns that are read as well, and may be empty in the whole run."""


def _phrases(row: Row) -> Iterable[tuple[str, tuple[int, ...]]]:
    """Phrases with the objects they mean, each pair once, in the order of the row."""
    links = row.phrases if "phrases" in row.reads else ()
    return dict.fromkeys((link.text, link.object_ids) for link in links)


def _around(boxes: Sequence[Box]) -> Box:
    # A tenth of the time of the same in numpy, for the one or two boxes there are.
    left, top, right, bottom = zip(*boxes, strict=True)
    return min(left), min(top), max(right), max(bottom)


def _words(row: Row, text: GroundedText) -> list[WordPlace]:
    words: list[WordPlace] = []
    start = 0
    for word in text.text.split():
        start = text.text.index(word, start)
        end = start + len(word)
        ids = [i for s in text.spans if s.start < end and start < s.end for i in s.object_ids]
        words.append(
            WordPlace(start, end, _around([row.by_id[i].box for i in ids]) if ids else None)
        )
        start = end
    return words
